"""Lists and exported rows of files that are split already, where users have several test items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finished_lists import Finished
from given_layouts import LAYOUTS, NAMES, PLAIN, UNISREC, WANTED, Lines, T

from recbole_ext.api import run
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.lists.evaluate import Evaluation, evaluate
from recbole_ext.lists.export import export_split
from recbole_ext.lists.recommend import recommend
from recbole_ext.report import write_report
from recbole_ext.survey.keys import OF_A_MODEL

SMALL = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
GIVEN = {"theirs": {"benchmark_filename": NAMES}}
FIRSTS = [("u1", "a", ""), ("u2", "c", ""), ("u4", "f", "")]


def given_benchmark(described: Callable[..., Path], folder: Path, files: dict[str, Lines], **keys: Any) -> Path:
    """A benchmark on these files as a dataset ``own``."""
    (folder / "data" / "own").mkdir(parents=True)
    for suffix, lines in {**files, "item": ["item_id:token\ttitle:token_seq", "e\tnew"]}.items():
        (folder / "data" / "own" / f"own.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {"epochs": 2, "topk": [1, 3], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@3", "use_gpu": False}
    made = {"datasets": ["own"], "data_path": str(folder / "data"), "protocols": GIVEN, "config": config}
    return described(folder, **made, **keys)


def exported(file: Path, folder: Path, **keys: Any) -> dict[str, pd.DataFrame]:
    found = export_split(file, folder, **keys)
    return {part: pd.read_csv(folder / f"{part}.csv", keep_default_na=False) for part in found.rows}


def samples(parts: dict[str, pd.DataFrame], part: str) -> list[tuple[str, str, str]]:
    """User, item and history of a part's rows; without a column of it, the history is the user's rows before."""
    rows = parts[part]
    if "history" not in rows:
        whole = pd.concat([parts[name] for name in ("train", "valid", "test")]).sort_values("position")
        before = [
            whole[(whole.user == row.user) & (whole.position < row.position)]["item"] for row in rows.itertuples()
        ]
        rows = rows.assign(history=[" ".join(items) for items in before])
    assert list(rows["position"]) == [len(history.split()) for history in rows["history"]]
    return sorted(rows[["user", "item", "history"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("length", [5, 1])
@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_exported_rows_are_the_samples_with_their_whole_histories(
    described: Callable[..., Path], tmp_path: Path, files: dict[str, Lines], length: int
) -> None:
    file = given_benchmark(described, tmp_path, files)
    parts = exported(file, tmp_path / "split", overrides={"MAX_ITEM_LIST_LENGTH": length})
    assert samples(parts, "train") == sorted([*WANTED[0], *FIRSTS])
    assert [samples(parts, part) for part in ("valid", "test")] == WANTED[1:]
    assert sorted(parts["items"]["item"]) == list("abcdefg")


def test_exported_times_of_plain_files_are_exact(described: Callable[..., Path], tmp_path: Path) -> None:
    parts = exported(given_benchmark(described, tmp_path, PLAIN), tmp_path / "split")
    times = {
        part: dict(zip(rows.user + rows.item, rows.timestamp - T, strict=True))
        for part, rows in parts.items()
        if part != "items"
    }
    assert times["train"] == {"u1a": 1, "u1b": 2, "u1c": 3, "u2c": 0, "u2d": 3, "u4f": 1, "u4g": 2}
    assert times["valid"] == {"u1d": 9, "u2a": 8} and times["test"] == {"u1a": 11, "u1e": 12, "u2b": 12}


@pytest.mark.parametrize("model", ["DIEN", "GRU4RecKG", "brought.OwnModel"])
def test_models_with_a_dataset_class_of_their_own_export_what_others_do(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (tmp_path / "brought.py").write_text(
        "from recbole.data.dataset import SequentialDataset\n"
        "from recbole.model.sequential_recommender import SASRec\n"
        "class OwnModel(SASRec): pass\n"
        "class OwnModelDataset(SequentialDataset): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    is_users = model == "brought.OwnModel"
    cut = {"MAX_ITEM_LIST_LENGTH": 50 if is_users else 3}  # RecBole's own lose nothing where lists are cut
    usual = exported(described(tmp_path, datasets=["rich"]), tmp_path / "usual", overrides=cut)
    file = described(tmp_path, datasets=["rich"], models={model: OF_A_MODEL[model] if model == "GRU4RecKG" else {}})
    theirs = exported(file, tmp_path / "theirs", overrides=cut)
    for part in ("train", "valid", "test"):
        assert samples(theirs, part) == samples(usual, part), part
    assert ("history" in theirs["train"]) == is_users


# --- evaluate ---

ONE_EACH = pd.DataFrame({"user": ["u1", "u2"], "item": ["a", "b"], "rank": [1, 1]})
BOTH = {"models": {"SASRec": SMALL, "BPR": {"embedding_size": 16}}}


def said(found: Evaluation) -> tuple[dict[str, float], list[str]]:
    (record,) = found.records
    assert record.lists is not None
    return record.lists.test, record.lists.remarks


@pytest.mark.parametrize("files", [PLAIN, UNISREC], ids=["plain", "UniSRec's"])
def test_each_test_item_counts_by_itself_as_sequential_models_are_tested(
    described: Callable[..., Path], tmp_path: Path, files: dict[str, Lines]
) -> None:
    metrics, remarks = said(evaluate(ONE_EACH, given_benchmark(described, tmp_path, files, **BOTH), "other"))
    assert metrics["recall@1"] == pytest.approx(2 / 3, abs=1e-4)
    assert "3 test items of 2 users, found each by itself in the user's one list" in remarks


def test_ties_count_in_expectation_for_each_test_item_by_itself(described: Callable[..., Path], tmp_path: Path) -> None:
    tied = pd.DataFrame({"user": ["u1", "u1", "u2"], "item": ["a", "e", "b"], "score": [1.0, 1.0, 1.0]})
    (record,) = evaluate(tied, given_benchmark(described, tmp_path, PLAIN), "other").records
    assert record.lists is not None and record.lists.tied == 2
    assert record.lists.test["recall@1"] == pytest.approx((0.5 + 0.5 + 1) / 3, abs=1e-4)


def test_test_items_of_a_user_count_together_beside_a_general_model(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    again = {**PLAIN, "test.inter": [*PLAIN["test.inter"], f"u1\te\t{T + 13}"]}  # RecBole counts an item once
    file = given_benchmark(described, tmp_path, again, **BOTH)
    metrics, remarks = said(evaluate(ONE_EACH, file, "other", baseline=("BPR", "random")))
    assert metrics["recall@1"] == pytest.approx((1 / 2 + 1 + 0) / 3, abs=1e-4)  # u3 has no list
    assert "4 test items of 3 users, found together, ties in the order of the list" in remarks


def test_items_that_a_user_has_seen_twice_are_counted_once(described: Callable[..., Path], tmp_path: Path) -> None:
    file = given_benchmark(described, tmp_path, UNISREC)
    (record,) = evaluate(ONE_EACH, file, "other", overrides={"rank_seen_items": False}).records
    assert record.lists is not None and record.lists.seen == 1  # before e, u1 has had a, in two places


# --- recommend, and there and back ---


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, described: Callable[..., Path]) -> Finished:
    folder = tmp_path_factory.mktemp("plain")
    outcome = run(given_benchmark(described, folder, PLAIN, keep_checkpoints=True, **BOTH))
    assert outcome.failed == []
    return Finished(folder / "benchmark.yaml", outcome.folder, folder)


def test_lists_of_a_general_model_have_its_metrics_where_users_have_several_test_items(plain: Finished) -> None:
    lists = recommend(plain.run("BPR"), topk=3).to_pandas()
    metrics, _ = said(evaluate(lists, plain.file, "other", baseline=("BPR", "random")))
    assert metrics == plain.record("BPR").done.test


def test_the_report_says_how_lists_were_tested(plain: Finished) -> None:
    evaluate(ONE_EACH, plain.file, "one-each")
    (line,) = write_report(plain.folder).to_pandas().query("model == 'one-each'").to_dict("records")
    assert "3 test items of 2 users, found each by itself" in line["remarks"]


def test_sequential_runs_have_no_one_list_where_users_have_several_test_items(plain: Finished) -> None:
    with pytest.raises(ConfigurationError, match="gives users several such items.*Take --target next"):
        recommend(plain.run())


def test_what_is_next_follows_all_files(plain: Finished) -> None:
    histories = {"u1": "abcdae", "u2": "cdab", "u3": "a", "u4": "fg"}
    table = pd.DataFrame(
        [(user, item) for user, items in histories.items() for item in items], columns=["user", "item"]
    )
    found, wanted = (
        recommend(plain.run(), topk=7, **asked).to_pandas().sort_values(["user", "item"]).reset_index(drop=True)
        for asked in ({"target": "next"}, {"histories": table})
    )
    assert list(found["item"]) == list(wanted["item"]) and set(found["user"]) == set(histories)
    assert np.allclose(found["score"], wanted["score"], atol=1e-5)


def test_lists_for_the_validation_item_have_the_validation_s_metrics(plain: Finished) -> None:
    lists = recommend(plain.run(), topk=3, target="valid").to_pandas()
    wanted = {"u1": "d", "u2": "a"}
    assert set(lists["user"]) == set(wanted)
    hits = [wanted[line["user"]] == line["item"] for line in lists[lists["rank"] == 1].to_dict("records")]
    assert np.mean(hits) == pytest.approx(plain.record().done.validation["recall@1"])


@pytest.mark.parametrize(("model", "target"), [("SASRec", "valid"), ("BPR", "valid"), ("BPR", "test")])
def test_a_named_user_without_such_an_item_is_told(plain: Finished, model: str, target: Any) -> None:
    with pytest.raises(SourceDataError, match=f"u4: no {target} item under this protocol"):
        recommend(plain.run(model), users=["u1", "u4"], target=target)


def test_rows_with_histories_leave_no_way_to_what_is_next(described: Callable[..., Path], tmp_path: Path) -> None:
    file = given_benchmark(described, tmp_path, UNISREC, models={"SASRec": SMALL}, keep_checkpoints=True)
    (record,) = (run(file).folder / "runs").glob("[!.]*.json")
    with pytest.raises(ConfigurationError, match="Take a run of a general model, or of another protocol"):
        recommend(record)
    with pytest.raises(ConfigurationError, match="samples that were cut before training"):
        recommend(record, target="next")
    assert set(recommend(record, target="valid").to_pandas()["user"]) == {"u1", "u2"}
