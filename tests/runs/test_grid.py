"""All runs of a benchmark: what is run, what is not run again, what is asked for and what a failure leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from replaced_runs import Instead

from recbole_ext.benchmark import Resolved, RunSpec
from recbole_ext.errors import AttachError, ConfigurationError, StoreError
from recbole_ext.records import Grid, RunRecord, history, read_records
from recbole_ext.runs import grid
from recbole_ext.runs.recording import read_record
from recbole_ext.runs.stores import make_stores

Resolve = Callable[..., Resolved]
Recorded = Callable[..., tuple[Resolved, list[RunSpec]]]

ITEMS = [f"i{item}" for item in range(60)]
CONFIG = {"train_batch_size": 256, "topk": [1, 5, 10], "use_gpu": False}
DROPOUTS = {"space": {"hidden_dropout_prob": [0.1, 0.3, 0.5]}}


# --- real runs ---


@pytest.fixture(scope="session")
def finished(
    described: Callable[..., Path],
    store_of: Callable[..., Path],
    resolve_file: Resolve,
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """A grid that ran to its end: two initialisations, two trials each, two seeds."""
    folder = tmp_path_factory.mktemp("finished")
    path = described(
        folder,
        initialisations={"random": {}, "vectors": {"store": str(store_of(ITEMS, folder / "store")), "mode": "bounded"}},
        search={"space": {"hidden_dropout_prob": [0.1, 0.8]}},
        seeds=[1, 2],
        parallel_runs=2,
    )
    resolved = resolve_file(path)
    failed = grid.run_benchmark(resolved)
    home = resolved.benchmark.folder
    records = [RunRecord.read(path) for path in sorted((home / "runs").glob("*.json"))]
    return SimpleNamespace(resolved=resolved, failed=failed, records=records, folder=folder, home=home)


def test_the_first_seed_searches_and_the_others_run_what_validation_chose(finished: SimpleNamespace) -> None:
    assert finished.failed == []
    for variant in ("random", "vectors"):
        of_variant = [record for record in finished.records if record.variant == variant]
        (other,) = [record for record in of_variant if record.seed == 2]
        validation = {str(r.trial): r.done.validation["ndcg@10"] for r in of_variant if r.seed == 1}
        assert len(validation) == 2
        assert validation[str(other.trial)] == max(validation.values())


def test_the_grid_says_which_runs_answer_each_row(finished: SimpleNamespace) -> None:
    found = Grid.read(finished.home)
    assert (found.benchmark, found.command, found.metric) == ("trial", "the command", "ndcg@10")
    assert [(row.variant, row.mode, row.baseline) for row in found.rows] == [
        ("random", "-", None),
        ("vectors", "bounded", "random"),
    ]
    for row in found.rows:
        records = read_records(finished.home, [*row.trials, *row.runs])
        assert [records[name].seed for name in row.trials] == [1, 1]
        assert [records[name].seed for name in row.runs] == [1, 2]
        assert row.chosen is not None and row.runs[0] == row.trials[row.chosen]
    assert history(finished.home, found) == []


def test_a_record_holds_all_that_the_result_stands_on(finished: SimpleNamespace) -> None:
    lines = (Path(finished.records[0].done.config["data_path"]) / "tiny.inter").read_text().splitlines()
    for record in finished.records:
        made = record.done
        assert (record.benchmark, record.status, record.command) == ("trial", "done", "the command")
        assert (record.dataset, record.model, record.protocol) == ("tiny", "SASRec", "full")
        assert record.mode == {"random": "-", "vectors": "bounded"}[record.variant]
        assert made.config["hidden_dropout_prob"] == record.trial["hidden_dropout_prob"]
        assert made.config["seed"] == record.seed
        assert made.statistics.model_dump() == {"users": 40, "items": 60, "interactions": len(lines) - 1}
        assert record.fingerprints.run.startswith(record.run.rpartition("-")[2])
        assert (record.fingerprints.vectors is None) is (record.variant == "random")
        assert {"python", "recbole-ext", "recbole", "torch", "numpy"} <= set(made.versions)
        assert made.device.startswith("cpu (")
        assert 0 < made.parameters.item_embedding < made.parameters.trainable <= made.parameters.total
        assert min(made.seconds.training, made.seconds.test or 0, made.seconds.per_epoch) > 0
        assert made.peak_memory_mb > 50 and made.flops and made.flops > 0
        assert made.training_samples == "user"
        covered = made.coverage.model_dump() if made.coverage else None
        assert covered == (None if record.variant == "random" else {"items": 60, "covered": 60, "missing": 0})
        metrics = {f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in (1, 5, 10)}
        assert set(made.validation) == set(made.test) == metrics
        assert (made.valid_metric, made.epoch_limit, made.stopped_early) == ("ndcg@10", 2, False)


def test_the_curve_leads_to_the_best_epoch(finished: SimpleNamespace) -> None:
    for record in finished.records:
        curve = record.done.curve
        assert [epoch.epoch for epoch in curve] == [0, 1]
        best = max(reversed(curve), key=lambda epoch: epoch.valid or 0)  # of equal ones RecBole takes the last
        assert best.epoch == record.done.best_epoch
        assert best.valid == pytest.approx(record.done.validation["ndcg@10"], abs=1e-6)


def test_the_ranks_beside_a_record_give_its_test_metrics(finished: SimpleNamespace) -> None:
    for record in finished.records:
        ranks = np.load(finished.home / "runs" / f"{record.run}.ranks.npy")
        assert ranks.shape == (40,)
        hits = ranks > 0
        assert hits.mean() == pytest.approx(record.done.test["recall@10"])
        gain = np.where(hits, 1 / np.log2(np.maximum(ranks, 1) + 1.0), 0)
        assert gain.mean() == pytest.approx(record.done.test["ndcg@10"], abs=1e-6)


def test_a_second_call_runs_nothing_and_asks_for_the_same(
    finished: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(spec: RunSpec) -> dict[str, Any]:
        raise AssertionError(f"{spec.name} was run again")

    before = Grid.read(finished.home)
    monkeypatch.setattr(grid, "executor_of", lambda benchmark: Instead(outcome))
    assert grid.run_benchmark(finished.resolved) == []
    assert Grid.read(finished.home) == before


def test_runs_leave_nothing_but_results_and_stores(finished: SimpleNamespace) -> None:
    assert [path for path in finished.folder.rglob("*") if path.suffix in {".pth", ".tmp", ".lock"}] == []
    assert not list(finished.folder.rglob(".*progress*"))


def test_a_failed_run_is_recorded_and_the_others_go_on(
    resolved: Resolve, store_of: Callable[..., Path], tmp_path: Path
) -> None:
    wild = {"store": str(store_of(ITEMS, tmp_path / "store")), "config": {"learning_rate": 1e30}}
    found = resolved(initialisations={"wild": wild, "random": {}}, config={**CONFIG, "epochs": 1})
    (failed,) = grid.run_benchmark(found)
    assert failed.variant == "wild"
    record, done = (read_record(spec) for spec in found.specs())
    assert record and done and (record.status, done.status) == ("failed", "done")
    assert "nan" in str(record.error).lower()
    rows = Grid.read(found.benchmark.folder).rows
    assert [(row.variant, row.chosen, row.trials) for row in rows] == [
        ("wild", None, [record.run]),
        ("random", 0, [done.run]),
    ]


@pytest.mark.parametrize(
    ("send", "by"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["Ctrl-C", "kill"]
)
def test_a_stopped_grid_ends_its_runs_and_the_next_call_goes_on_from_what_is_finished(
    described: Callable[..., Path], resolve_file: Resolve, tmp_path: Path, send: Callable[[int, int], None], by: int
) -> None:
    search = {"space": {"hidden_dropout_prob": [0.1, 0.2, 0.3]}}
    endless = {**CONFIG, "epochs": 100_000, "stopping_step": 100_000}
    path = described(tmp_path, search=search, config=endless)
    process = subprocess.Popen(
        [sys.executable, "-m", "recbole_ext", "run", str(path), "--parallel_runs=2"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell starts background jobs with Ctrl-C ignored, and so the tests where they are one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    runs = tmp_path / "results" / "trial" / "runs"
    deadline = time.monotonic() + 240
    while len(under_way(runs)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    told = under_way(runs)
    send(process.pid, by)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the next call goes on" in errors and "Traceback" not in errors
    assert len(told) == 2 and not any("test" in progress for progress in told)
    assert not list(runs.glob("*.json"))
    with pytest.raises(ProcessLookupError):
        time.sleep(2)
        os.killpg(process.pid, 0)

    short = resolve_file(described(tmp_path, search=search, config={**CONFIG, "epochs": 1}))
    assert grid.run_benchmark(short) == []
    assert [path for path in runs.iterdir() if path.suffix not in (".json", ".npy")] == []


def under_way(runs: Path) -> list[dict[str, Any]]:
    """What the runs under way tell, once they have an epoch behind them."""
    told = []
    for path in runs.glob(".*.progress.json"):
        try:
            told.append(json.loads(path.read_text()))
        except (OSError, ValueError):  # just ended, or just written
            continue
    return [progress for progress in told if progress["epoch"]]


# --- what has changed since it was resolved ---


def test_files_that_change_in_the_middle_of_a_benchmark_are_refused(resolved: Resolve, own_data: Path) -> None:
    found = resolved(data_path=str(own_data))
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.write("u0\ti3\t99\n")
    (failed,) = grid.run_benchmark(found)
    record = read_record(failed)
    assert record and "its files have changed since this benchmark began" in str(record.error)
    # Asked for again, it is another run: the failed one is history.
    again = resolved(data_path=str(own_data))
    assert grid.run_benchmark(again) == []
    (earlier,) = history(again.benchmark.folder, Grid.read(again.benchmark.folder))
    assert earlier.run == failed.name


def test_vectors_that_change_in_the_middle_of_a_benchmark_are_refused(
    resolved: Resolve, store_of: Callable[..., Path], tmp_path: Path
) -> None:
    path = store_of(ITEMS, tmp_path / "vectors")
    found = resolved(initialisations={"given": {"store": str(path)}})
    store_of(ITEMS, path, seed=1)
    (failed,) = grid.run_benchmark(found)
    record = read_record(failed)
    assert record and "the vectors that this run starts from have changed" in str(record.error)


def test_stores_are_named_by_their_request_and_never_made_again_over_each_other(
    resolved: Resolve, tiny_encoders: dict[str, Path]
) -> None:
    encoder, small = str(tiny_encoders["bert"]), {"transform": [{"pca": 16}]}
    first = resolved(initialisations={"bert": {"encoder": encoder, "pooling": "mean", **small}})
    (mean,) = first.stores
    make_stores(first, list(first.specs()))
    assert mean.path
    written = {path: path.stat().st_mtime_ns for path in mean.path.iterdir()}
    both = resolved(
        initialisations={
            "cls": {"encoder": encoder, "pooling": "cls", **small},
            "again": {"encoder": encoder, "pooling": "mean", "mode": "frozen", **small},
        }
    )
    make_stores(both, list(both.specs()))
    assert {store.path for store in both.stores} > {mean.path} and len(both.stores) == 2
    assert {path: path.stat().st_mtime_ns for path in mean.path.iterdir()} == written


def test_a_store_that_can_not_be_made_ends_the_benchmark_before_a_run(
    recorded: Recorded, tiny_encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: Any) -> Any:
        raise StoreError("no room")

    monkeypatch.setattr("recbole_ext.vectors.encoder.Encoder.make_once", make)
    with pytest.raises(StoreError, match="no room"):
        recorded(
            lambda spec: pytest.fail(f"{spec.name} was run"),
            initialisations={"bert": {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}},
        )


def nothing_runs(spec: RunSpec) -> dict[str, Any]:
    raise AssertionError(f"{spec.name} was run")


def test_where_all_runs_are_done_no_store_is_made_again(recorded: Recorded, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"initialisations": {"random": {}, "words": {"lexical": "tfidf", "dim": 16}}}
    found, ran = recorded(lambda spec: {}, **keys)
    (store,) = found.stores
    assert store.path and store.path.is_dir() and len(ran) == 2
    shutil.rmtree(tmp_path / "artifacts")
    assert recorded(nothing_runs, **keys)[1] == []
    assert not (tmp_path / "artifacts").exists()
    ran[1].record_path.unlink()
    assert [spec.variant for spec in recorded(lambda spec: {}, **keys)[1]] == ["words"]
    assert store.path.is_dir()


@pytest.mark.parametrize(
    ("items", "policy", "refused"),
    [
        (ITEMS, "error", None),
        (ITEMS[2:], "error", "2 of 60 items are not in the store .*, the first i[01], i[01]"),
        (ITEMS[2:], "mean", None),
        (["of", "another", "dataset"], "error", "none of the dataset's 60 items is in the store"),
        (["of", "another", "dataset"], "mean", "none of the dataset's 60 items is in the store"),
    ],
)
def test_a_store_that_lacks_items_is_refused_before_the_first_run_unless_something_is_said_about_them(
    recorded: Recorded,
    store_of: Callable[..., Path],
    tmp_path: Path,
    items: list[str],
    policy: str,
    refused: str | None,
) -> None:
    given = {"store": str(store_of(items, tmp_path / "store")), "missing": policy}
    keys: dict[str, Any] = {"initialisations": {"random": {}, "given": given}}
    if refused is None:
        assert len(recorded(lambda spec: {}, **keys)[1]) == 2
        return
    with pytest.raises(AttachError, match=refused):
        recorded(nothing_runs, **keys)


def test_items_that_filters_leave_out_need_no_vector(
    recorded: Recorded, store_of: Callable[..., Path], own_data: Path, tmp_path: Path
) -> None:
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.write("u0\trare\t-1\n")
    given = {"given": {"store": str(store_of(ITEMS, tmp_path / "store"))}}
    keys: dict[str, Any] = {"data_path": str(own_data), "initialisations": given}
    with pytest.raises(AttachError, match="1 of 61 items are not in the store .*, the first rare"):
        recorded(nothing_runs, **keys)
    filtered = {**CONFIG, "item_inter_num_interval": "[2,inf)"}
    assert len(recorded(lambda spec: {}, **keys, config=filtered)[1]) == 1


def test_a_width_that_only_making_the_vectors_tells_is_refused_before_the_first_run(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_ext.vectors.lexical.Lexical.width", lambda source, dataset: None)
    with pytest.raises(ConfigurationError, match="tiny, SASRec, words: the vectors are 8 wide, the model's items 16"):
        recorded(nothing_runs, initialisations={"random": {}, "words": {"lexical": "tfidf", "dim": 8}})


def test_what_is_missing_is_told_in_one_message(described: Callable[..., Path], tmp_path: Path) -> None:
    from recbole_ext.benchmark import load_benchmark, resolve

    path = described(tmp_path, datasets=["nowhere"], initialisations={"given": {"store": "no/where"}})
    found = resolve(*load_benchmark(path), "the command", path.name, fetch=False)
    with pytest.raises(ConfigurationError, match=r"not on this machine:\n  - .*nowhere.*\n  - no/where"):
        grid.run_benchmark(found)
    assert not (tmp_path / "results").exists()


def test_full_and_sampled_ranking_of_both_models_keep_ranks_and_popularity(resolved: Resolve) -> None:
    small = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
    found = resolved(
        models={"SASRec": small, "BERT4Rec": small},
        protocols={"full": {}, "uni20": {"eval_args": {"mode": "uni20"}}},
        parallel_runs=2,
    )
    assert grid.run_benchmark(found) == []
    records = {(spec.model, spec.protocol): read_record(spec) for spec in found.specs()}
    assert len(records) == 4
    for (model, protocol), record in records.items():
        other = records[model, "full" if protocol != "full" else "uni20"]
        assert record and other
        ranks = np.load(found.benchmark.folder / "runs" / f"{record.run}.ranks.npy")
        assert (ranks > 0).mean() == pytest.approx(record.done.test["recall@10"])
        assert record.done.training_samples == "user"
        # Of 21 candidates a model finds one in the top ten about half the time, of 60 items about a sixth.
        assert (record.done.test["recall@10"] > other.done.test["recall@10"]) is (protocol == "uni20")
    (shared,) = {record.done.popularity.file for record in records.values() if record and record.done.popularity}
    assert [path.name for path in (found.benchmark.folder / "popularity").iterdir()] == [Path(shared).name]
