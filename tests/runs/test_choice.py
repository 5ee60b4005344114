"""Which runs a grid makes, and what it chooses by them; the runs themselves are replaced."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from replaced_runs import record_of

from recbole_ext.benchmark import Resolved, RunSpec
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, history
from recbole_ext.report.results import finished_results
from recbole_ext.runs import grid
from recbole_ext.runs.progress import Progress, read_progress, write_progress
from recbole_ext.runs.recording import is_done

Resolve = Callable[..., Resolved]
Recorded = Callable[..., tuple[Resolved, list[RunSpec]]]

CONFIG = {"train_batch_size": 256, "topk": [1, 5, 10], "use_gpu": False}
DROPOUTS = {"space": {"hidden_dropout_prob": [0.1, 0.3, 0.5]}}


def by_dropout(validation: dict[float, float]) -> Callable[[RunSpec], dict[str, Any]]:
    """Runs whose validation depends on dropout, and whose test metric says the opposite."""

    def outcome(spec: RunSpec) -> dict[str, Any]:
        value = validation[spec.trial["hidden_dropout_prob"]]
        return {"validation": {"ndcg@10": value}, "test": {"ndcg@10": 1 - value}}

    return outcome


def dropouts(specs: list[RunSpec], seed: int) -> list[float]:
    return [spec.trial["hidden_dropout_prob"] for spec in specs if spec.seed == seed]


def test_the_choice_goes_by_validation_on_the_first_seed_alone(recorded: Recorded) -> None:
    found, ran = recorded(by_dropout({0.1: 0.2, 0.3: 0.4, 0.5: 0.3}), search=DROPOUTS, seeds=[9, 2, 3])
    assert dropouts(ran, seed=9) == [0.1, 0.3, 0.5]
    assert dropouts(ran, seed=2) == dropouts(ran, seed=3) == [0.3]
    (row,) = Grid.read(found.benchmark.folder).rows
    assert (row.chosen, len(row.trials), len(row.runs)) == (1, 3, 3)


def test_a_search_that_validates_nobody_chooses_nothing(recorded: Recorded) -> None:
    with pytest.raises(ConfigurationError, match="nobody was validated, so that no trial of the search can be chosen"):
        recorded(lambda spec: {"validation": {}}, search=DROPOUTS)
    found, _ = recorded(lambda spec: {"validation": {}}, search={})
    (row,) = Grid.read(found.benchmark.folder).rows
    assert row.chosen == 0, "nothing is to be chosen"


def test_a_repeated_run_that_fails_is_told_as_failed_though_its_record_stays(
    resolved: Resolve, recorded: Recorded
) -> None:
    recorded(lambda spec: {})  # and again by what records the same, without weights
    found = resolved("--keep_checkpoints=true")
    (failed,) = grid.run_benchmark(found)
    assert not is_done(failed)


def test_while_a_search_runs_validation_is_told_and_test_never(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="recbole_ext"):
        recorded(by_dropout({0.1: 0.2371, 0.3: 0.4123, 0.5: 0.3}), search=DROPOUTS)
    assert "validation ndcg@10 0.2371" in caplog.text and "validation ndcg@10 0.4123" in caplog.text
    assert "0.7629" not in caplog.text and "0.5877" not in caplog.text


def test_without_a_terminal_the_log_says_how_far_the_runs_are(
    resolved: Resolve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "TELLING", 0.01)
    monkeypatch.setattr(grid, "LOGGING", 0.0)
    with caplog.at_level("INFO", logger="recbole_ext"):
        assert not grid.run_benchmark(resolved(config={**CONFIG, "epochs": 30}))
    assert re.search(r"tiny SASRec random s\d+: epoch \d+ of at most 30, loss [\d.]+, validation", caplog.text)


def test_a_run_that_waits_tells_nothing_of_how_far_it_was_when_it_was_killed(
    resolved: Resolve, recorded: Recorded
) -> None:
    (spec,) = resolved().specs()
    spec.progress_path.parent.mkdir(parents=True)
    write_progress(spec.progress_path, Progress(epoch=70, epochs=300))
    recorded(lambda spec: {"error": None if read_progress(spec.progress_path) is None else "told"})
    assert is_done(spec)


def test_the_last_epoch_s_limit_is_told(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="recbole_ext"):
        recorded(lambda spec: {"stopped_early": False, "epoch_limit": 24})
    assert "ended by the epoch limit" in caplog.text


def test_what_exports_a_store_runs_first_and_only_what_starts_from_that_store_waits_for_it(
    recorded: Recorded, tiny_encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    run_all = grid.run_all

    def counted(specs: list[RunSpec], *others: Any) -> list[RunSpec]:
        together.append(len(specs))
        return run_all(specs, *others)

    monkeypatch.setattr(grid, "run_all", counted)
    monkeypatch.setattr(grid, "make_stores", lambda resolved, specs: None)
    plm = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    _, ran = recorded(
        lambda spec: {},
        models={"SASRec": {"hidden_size": 16}, "RECFORMER": {}},
        initialisations={"finetune": {"finetune": "plm", "transform": [{"pca": 16}]}, "random": {}, "plm": plm},
        grids={"RECFORMER": {"initialisations": ["plm"]}},
    )
    runs = [(spec.model, spec.variant) for spec in ran]
    assert runs == [("RECFORMER", "plm"), ("SASRec", "random"), ("SASRec", "plm"), ("SASRec", "finetune")]
    assert together == [3, 1, 0]


def test_a_failed_trial_is_not_chosen_and_the_next_call_runs_it_again(recorded: Recorded) -> None:
    outcome = by_dropout({0.1: 0.2, 0.3: 0.4, 0.5: 0.3})

    def one_fails(spec: RunSpec) -> dict[str, Any]:
        return {"error": "no"} if spec.trial["hidden_dropout_prob"] == 0.3 else outcome(spec)

    _, ran = recorded(one_fails, search=DROPOUTS, seeds=[1, 2])
    assert dropouts(ran, seed=2) == [0.5]
    found, ran = recorded(outcome, search=DROPOUTS, seeds=[1, 2])
    assert (dropouts(ran, seed=1), dropouts(ran, seed=2)) == ([0.3], [0.3])
    earlier = [entry.run for entry in history(found.benchmark.folder, Grid.read(found.benchmark.folder))]
    assert len(earlier) == 1 and "-s2-" in earlier[0], "the other choice's second seed is history"


def test_a_validation_that_is_no_finite_number_is_never_the_best(recorded: Recorded) -> None:
    found, ran = recorded(by_dropout({0.1: math.nan, 0.3: 0.2, 0.5: math.inf}), search=DROPOUTS, seeds=[1, 2])
    assert dropouts(ran, seed=2) == [0.3]
    assert [result.row.chosen for result in finished_results(found.benchmark.folder)[1]] == [1]


def test_a_row_without_a_finished_trial_runs_no_other_seed(recorded: Recorded) -> None:
    found, ran = recorded(lambda spec: {"error": "no"}, search=DROPOUTS, seeds=[1, 2])
    assert {spec.seed for spec in ran} == {1}
    (row,) = Grid.read(found.benchmark.folder).rows
    assert (row.chosen, row.runs) == (None, [])


def test_a_row_of_one_trial_needs_no_validation(recorded: Recorded) -> None:
    nothing = {"eval_step": 0, **CONFIG}
    found, ran = recorded(lambda spec: {"validation": {}}, config=nothing, seeds=[1, 2])
    assert [spec.seed for spec in ran] == [1, 2]
    (row,) = Grid.read(found.benchmark.folder).rows
    assert len(row.runs) == 2


def test_the_first_of_equal_trials_is_chosen(recorded: Recorded) -> None:
    found, _ = recorded(by_dropout({0.1: 0.2, 0.3: 0.4, 0.5: 0.4}), search=DROPOUTS)
    assert Grid.read(found.benchmark.folder).rows[0].chosen == 1


def test_runs_that_several_rows_ask_for_run_once(recorded: Recorded) -> None:
    """Two protocols may say the same of a run's configuration only under two names, so their runs differ by name."""
    found, ran = recorded(lambda spec: {}, protocols={"a": {}, "b": {}})
    assert len(ran) == len({spec.name for spec in found.specs()}) == 2
    assert len({spec.identity for spec in found.specs()}) == 1


def test_a_damaged_record_and_one_of_other_settings_under_this_name_are_run_again(recorded: Recorded) -> None:
    found, (spec,) = recorded(lambda spec: {})
    assert recorded(lambda spec: {})[1] == []
    spec.record_path.write_text('{"status": "do')
    assert recorded(lambda spec: {})[1] == [spec]
    record_of(spec, identity="0" * 64).write(spec.record_path)
    assert not is_done(spec)
    assert recorded(lambda spec: {})[1] == [spec]


def test_earlier_settings_stay_history_and_answer_nothing(recorded: Recorded) -> None:
    """After ``--epochs=1`` the original command shows its own numbers, whatever is newer."""
    _, (first,) = recorded(lambda spec: {"validation": {"ndcg@10": 0.3}})
    _, (second,) = recorded(lambda spec: {"validation": {"ndcg@10": 0.9}}, config={**CONFIG, "epochs": 1})
    found, ran = recorded(lambda spec: {})
    assert ran == [] and found.benchmark.folder == first.folder == second.folder
    asked = Grid.read(found.benchmark.folder)
    assert asked.rows[0].runs == [first.name]
    assert [entry.run for entry in history(found.benchmark.folder, asked)] == [second.name]


def test_a_part_of_the_grid_asks_for_that_part_alone(resolved: Resolve) -> None:
    keys: dict[str, Any] = {
        "models": {"SASRec": {"n_layers": 1}, "GRU4Rec": {}},
        "initialisations": {"random": {}, "scaled": {"scale": 0.3}},
    }
    whole = {spec.name for spec in resolved(**keys).specs()}
    part = [spec.name for spec in resolved("--models=[SASRec]", "--initialisations=[scaled]", **keys).specs()]
    assert len(whole) == 4 and len(part) == 1
    assert set(part) < whole, "a part's runs are those of the whole"


def test_a_benchmark_that_is_moved_takes_its_results_along(recorded: Recorded, tmp_path: Path) -> None:
    found, _ = recorded(lambda spec: {})
    shutil.move(str(tmp_path / "results"), str(tmp_path / "elsewhere"))
    assert recorded(lambda spec: {}, results=str(tmp_path / "elsewhere"))[1] == []


def test_rows_that_are_no_longer_asked_for_are_told_before_the_report_is_without_them(
    recorded: Recorded, resolved: Resolve
) -> None:
    keys: dict[str, Any] = {"models": {"SASRec": {"n_layers": 1}, "GRU4Rec": {}}}
    whole, _ = recorded(lambda spec: {}, **keys)
    assert grid.rows_left_out(whole) == []
    (sentence,) = grid.rows_left_out(resolved("--models=[SASRec]", **keys))
    assert "1 of the 2 rows" in sentence and "tiny, GRU4Rec, random, full" in sentence
