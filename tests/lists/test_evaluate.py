"""Lists of any system get the metrics that a run with the same lists has, and never better ones without a word."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finished_lists import Finished, begin_in_turn

from recbole_ext.api import run
from recbole_ext.errors import RecboleExtError, SourceDataError
from recbole_ext.lists.evaluate import evaluate
from recbole_ext.lists.export import export_split
from recbole_ext.lists.recommend import recommend
from recbole_ext.records import RunRecord
from recbole_ext.report import write_report


@pytest.fixture
def lists(finished: Finished) -> pd.DataFrame:
    return recommend(finished.run(), topk=10).to_pandas()


def tested(here: Finished, lists: Any, **keys: Any) -> dict[str, float]:
    (record,) = evaluate(lists, here.file, "other", **keys).records
    assert record.lists is not None
    return record.lists.test


# --- round trip ---


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("model", "variant"), [("SASRec", "random"), ("SASRec", "adapter"), ("BPR", "random"), ("BERT4Rec", "random")]
)
def test_lists_of_a_run_have_its_metrics_to_the_last_digit(
    here: Finished, tmp_path: Path, model: str, variant: str, suffix: str
) -> None:
    record = here.record(model, variant)
    out = tmp_path / f"lists.{suffix}"
    recommend(here.run(model, variant), topk=10, out=out)
    (found,) = evaluate(out, here.file, "other").records
    assert found.lists is not None and found.lists.test == record.done.test
    ranks, theirs = (np.load(path.with_suffix(".ranks.npy")) for path in (here.run(model, variant), _path(here, found)))
    assert ranks.dtype == theirs.dtype and (ranks == theirs).all()
    assert found.lists.popularity == record.done.popularity and found.lists.statistics == record.done.statistics


@pytest.mark.parametrize("new_items", ["rank", "leave_out"])
def test_lists_of_a_run_have_its_metrics_under_one_cut_in_time_too(
    own_data: Path, tmp_path: Path, described: Callable[..., Path], new_items: str
) -> None:
    begin_in_turn(own_data)
    temporal = {"eval_args": {"split": {"temporal": {"valid": 0.6, "test": 0.8, "new_items": new_items}}}}
    models = {"SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1}, "BPR": {"embedding_size": 16}}
    file = described(
        tmp_path, data_path=str(own_data), protocols={"temporal": temporal}, models=models, keep_checkpoints=True
    )
    outcome = run(file)
    assert outcome.failed == []
    found = Finished(file, outcome.folder, tmp_path)
    for model in models:
        lists = recommend(found.run(model), topk=10).to_pandas()
        (record,) = evaluate(lists, file, f"other-{model}").records
        assert record.lists is not None and record.lists.users > 10
        assert record.lists.test == found.record(model).done.test
    exported = export_split(file, tmp_path / "split")
    assert record.lists is not None and exported.rows["test"] == record.lists.users


def test_lists_of_a_general_model_have_its_metrics_on_the_users_of_the_row_that_they_name(
    own_data: Path, tmp_path: Path, described: Callable[..., Path]
) -> None:
    """A user of two interactions is tested by general models and not by sequential ones."""
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.writelines(f"short{user}\ti{user + place}\t{place}\n" for user in range(8) for place in (0, 1))
    models = {"SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1}, "BPR": {"embedding_size": 16}}
    file_of_all = described(tmp_path, data_path=str(own_data), models=models, keep_checkpoints=True)
    outcome = run(file_of_all)
    found = Finished(file_of_all, outcome.folder, tmp_path)
    lists = recommend(found.run("BPR"), topk=10).to_pandas()
    (record,) = evaluate(lists, file_of_all, "other", baseline=("BPR", "random")).records
    assert record.lists is not None and record.lists.users == 48
    assert record.lists.test == found.record("BPR").done.test
    (record,) = evaluate(lists, file_of_all, "other").records
    assert record.lists is not None and (record.lists.users, record.lists.not_tested) == (40, 8)
    assert any("8 users with a list have no test item in this split" in remark for remark in record.lists.remarks)


def test_ties_are_counted_in_expectation_in_lists_as_in_runs(here: Finished, tmp_path: Path) -> None:
    record = here.record("Pop")
    assert record.done.tied
    out = tmp_path / "lists.csv"
    recommend(here.run("Pop"), topk=60, out=out)
    assert tested(here, out) == record.done.test
    table = pd.read_csv(out)
    assert tested(here, table.drop(columns="rank").sample(frac=1, random_state=1).astype(str)) == record.done.test
    ranked = tested(here, table.drop(columns="score").astype(str))
    assert ranked != record.done.test  # ranks alone say nothing of ties


def _path(here: Finished, record: RunRecord) -> Path:
    return here.folder / "lists" / f"{record.run}.json"


# --- what is missing or too much never makes a number better ---


def test_a_user_left_out_is_a_miss(here: Finished, lists: pd.DataFrame) -> None:
    whole = tested(here, lists)
    hits = lists[lists["rank"] == 1]["user"]
    (record,) = evaluate(lists[lists["user"] != hits.iloc[0]], here.file, "other").records
    assert record.lists is not None and (record.lists.left_out, record.lists.users) == (1, 40)
    assert all(value <= whole[metric] for metric, value in record.lists.test.items())
    assert "1 of 40 users left out, counted as misses" in record.lists.remarks
    only = lists[lists["user"] == hits.iloc[0]]
    alone = tested(here, only)
    assert all(value <= 1 / 40 for value in alone.values())


def test_places_that_a_short_list_lacks_are_misses(here: Finished, lists: pd.DataFrame) -> None:
    whole = tested(here, lists)
    short = lists[(lists["rank"] <= 2) | (lists["user"] != "u1")]
    (record,) = evaluate(short, here.file, "other").records
    assert record.lists is not None and (record.lists.shorter, record.lists.longest) == (1, 10)
    assert all(value <= whole[metric] for metric, value in record.lists.test.items())


def test_nothing_is_reported_beyond_the_longest_list(here: Finished, lists: pd.DataFrame) -> None:
    whole = tested(here, lists)
    found = tested(here, lists[lists["rank"] <= 5])
    assert found == {metric: value for metric, value in whole.items() if not metric.endswith("@10")}
    with pytest.raises(SourceDataError, match="the longest list has 4 items, fewer than the smallest cutoff"):
        tested(here, lists[lists["rank"] <= 4], overrides={"topk": [5, 10], "valid_metric": "NDCG@10"})


def _hits(lists: pd.DataFrame, k: int, here: Finished) -> list[bool]:
    """Whether each user's test item is among the first ``k``."""
    export_split(here.file, here.folder.parent / "split")
    target = pd.read_csv(here.folder.parent / "split" / "test.csv").set_index("user")["item"]
    top = lists[lists["rank"] <= k]
    return [target[user] in set(rows["item"]) for user, rows in top.groupby("user")]


def test_a_gap_between_ranks_stays_a_gap(here: Finished, lists: pd.DataFrame) -> None:
    later = lists.assign(rank=lists["rank"] + 3)
    assert tested(here, later)["recall@1"] == 0.0
    assert tested(here, later)["recall@5"] == np.mean(_hits(lists, 2, here))


def test_seen_items_keep_the_places_that_they_take(here: Finished, lists: pd.DataFrame, atomic_folder: Path) -> None:
    table = pd.read_csv(atomic_folder / "tiny" / "tiny.inter", sep="\t").set_axis(["user", "item", "time"], axis=1)
    firsts = table.groupby("user").head(2).assign(rank=lambda rows: rows.groupby("user").cumcount() + 1)
    pushed = pd.concat(
        [firsts[["user", "item", "rank"]], lists.assign(rank=lists["rank"] + 2)[["user", "item", "rank"]]]
    )
    (record,) = evaluate(pushed, here.file, "other").records
    assert record.lists is not None and record.lists.seen == 80
    assert record.lists.test["recall@1"] == 0.0
    assert any("80 listed items already seen" in remark for remark in record.lists.remarks)
    clean = tested(here, lists)
    assert all(value <= clean[metric] for metric, value in record.lists.test.items())


def mistakes() -> dict[str, tuple[dict[str, list[Any]], str]]:
    good: dict[str, list[Any]] = {"user": ["u1", "u1", "u2"], "item": ["i1", "i2", "i3"], "rank": [1, 2, 1]}
    return {
        "unknown user": (
            {**good, "user": ["u1", "u1", "who"]},
            "row 3: 1 row with users that are not among .* 40: who",
        ),
        "unknown item": (
            {**good, "item": ["i1", "what", "i3"]},
            "row 2: 1 row with items that are not among .* 60: what",
        ),
        "internal ids": ({**good, "item": [1, 2, 3]}, "Tokens are wanted"),
        "duplicate": ({**good, "item": ["i1", "i1", "i3"], "rank": [1, 1, 1]}, "rows 1 and 2: item i1 stands twice"),
        "two ranks": ({**good, "item": ["i1", "i1", "i3"]}, "stands twice in the list of user u1 with ranks 1 and 2"),
        "one rank twice": ({**good, "rank": [1, 1, 1]}, "two items of user u1 have rank 1"),
        "rank 0": ({**good, "rank": [0, 1, 1]}, "row 1: rank 0: ranks are whole numbers from 1"),
        "rank 1.5": ({**good, "rank": [1, 1.5, 1]}, "row 2: rank 1.5"),
        "rank -1": ({**good, "rank": [1, 2, -1]}, "row 3: rank -1"),
        "rank 61": ({**good, "rank": [1, 61, 1]}, "row 2: rank 61: ranks are whole numbers from 1 to 60"),
        "rank 1e30": ({**good, "rank": [1, 1e30, 1]}, "row 2: rank 1e.30: ranks are whole numbers from 1 to 60"),
        "two users": ({**good, "user_id": ["u1", "u1", "u2"]}, "user and user_id are both the user; leave one"),
        "no rank": ({**good, "rank": ["1", "", "1"]}, "row 2: the rank is '', which is no number"),
        "no order": ({"user": ["u1"], "item": ["i1"]}, "no column rank or score"),
        "scores rise": (
            {**good, "score": [0.1, 0.2, 0.3]},
            "user u1: the item at rank 2 has a higher score than the one",
        ),
        "nan": ({"user": ["u1"], "item": ["i1"], "score": ["nan"]}, "the score is 'nan', which is no number"),
        "no user": (
            {"item": ["i1"], "rank": [1]},
            "no column of the user: call it user or user_id; there are item, rank",
        ),
        "empty user": ({"user": [""], "item": ["i1"], "rank": [1]}, "row 1: the user is ''"),
        "nothing": ({"user": [], "item": [], "rank": []}, "no rows"),
    }


@pytest.mark.parametrize("case", mistakes())
@pytest.mark.parametrize("suffix", ["csv", None])
def test_lists_that_can_not_be_right_are_refused(here: Finished, tmp_path: Path, case: str, suffix: str | None) -> None:
    content, message = mistakes()[case]
    lists: Any = pd.DataFrame(content)
    if suffix:
        lists.to_csv(tmp_path / "lists.csv", index=False)
        lists = tmp_path / "lists.csv"
    with pytest.raises(SourceDataError, match=message):
        evaluate(lists, here.file, "other")
    assert not (here.folder / "lists").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "SASRec"}, "--name: SASRec is a model of the benchmark.*such as SASRec-elsewhere"),
        ({"name": "a/b"}, "--name: 'a/b' can't be part of a file name"),
        ({"name": "x", "dataset": "other"}, "it has no dataset 'other', but tiny"),
        ({"name": "x", "protocol": "other"}, "it has no protocol 'other', but full"),
        (
            {"name": "x", "baseline": ("SASRec", "nothing")},
            "the benchmark has no row SASRec,nothing, but BERT4Rec,random",
        ),
        ({"name": "x", "overrides": {"eval_args": {"mode": "uni100"}}}, "it ranks a sample of the items"),
        ({"name": "x", "overrides": {"metrics": ["GAUC"], "valid_metric": "GAUC"}}, "none of GAUC can be computed"),
    ],
)
def test_what_does_not_fit_the_benchmark_is_refused(
    here: Finished, lists: pd.DataFrame, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecboleExtError, match=message):
        evaluate(lists, here.file, **keys)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_two_columns_of_one_name_are_refused(here: Finished, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"lists.{suffix}"
    path.write_text("user,user,item,rank\nu1,u2,i1,1\n".replace(",", "\t" if suffix == "tsv" else ","))
    with pytest.raises(SourceDataError, match="two columns are called user; leave one"):
        evaluate(path, here.file, "other")


def test_rows_that_are_longer_than_the_header_are_refused(here: Finished, tmp_path: Path) -> None:
    """pandas takes their first field for an index, and every other one for that of the column before."""
    (tmp_path / "lists.csv").write_text("user,item,rank\nu1,i1,1,x\nu1,i2,2,x\n", encoding="utf-8")
    with pytest.raises(
        SourceDataError, match=r"lists\.csv: rows have more fields than the header's 3 \(user, item, ra"
    ):
        evaluate(tmp_path / "lists.csv", here.file, "other")


def test_the_same_lists_twice_are_no_seeds_in_whatever_order_and_file(
    here: Finished, lists: pd.DataFrame, tmp_path: Path
) -> None:
    lists.to_csv(tmp_path / "lists.csv", index=False)
    for again in (lists.copy(), lists.sample(frac=1, random_state=1), tmp_path / "lists.csv"):
        with pytest.raises(SourceDataError, match="two of the files hold the same lists"):
            evaluate([lists, again], here.file, "other")


# --- in the leaderboard ---


def test_an_outside_system_is_a_row_that_says_what_it_is(here: Finished, lists: pd.DataFrame) -> None:
    evaluate(lists, here.file, "RecTools", source="RecTools 0.19, SASRec, its defaults")
    report = write_report(here.folder)
    (line,) = report.to_pandas().query("model == 'RecTools'").to_dict("records")
    ours = report.to_pandas().query("model == 'SASRec' and variant == 'random'").to_dict("records")[0]
    assert line["ndcg@10"] == ours["ndcg@10"] and line["variant"] == "lists" and line["rank"] == ours["rank"]
    assert np.isnan(line["parameters"]) and np.isnan(line["seconds_training"])
    assert line["remarks"].startswith("outside system: its cost is unknown; RecTools 0.19, SASRec, its defaults")
    page = (here.folder / "index.html").read_text(encoding="utf-8")
    assert "outside system: its cost is unknown" in page and "lists/tiny-RecTools-lists-full-s1-" in page
    assert "RecTools" in (here.folder / "leaderboard.md").read_text(encoding="utf-8")
    assert "RecTools" not in report.costs["model"].tolist()


def test_three_seeds_of_lists_are_tested_against_the_row_that_they_name(here: Finished, lists: pd.DataFrame) -> None:
    seeds = []
    for seed in range(3):
        noise = np.random.default_rng(seed).random(len(lists)) * 1e-3
        seeds.append(lists.assign(score=lists["score"] + noise)[["user", "item", "score"]])
    found = evaluate(seeds, here.file, "other", baseline=("SASRec", "random"))
    assert [record.seed for record in found.records] == [1, 2, 3]
    assert len(found.to_pandas()) == 3
    (line,) = write_report(here.folder).to_pandas().query("model == 'other'").to_dict("records")
    assert line["n_seeds"] == 3 and line["baseline"] == "SASRec, random"
    assert "no test: needs 3 seeds, random has 1" in line["remarks"]  # the benchmark's side has one
    assert not np.isnan(line["ndcg@10_improvement_%"])


def test_an_earlier_row_of_the_name_is_replaced_with_a_word_and_others_stay(
    here: Finished, lists: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recbole_ext")
    evaluate(lists, here.file, "other")
    evaluate(lists, here.file, "another")
    assert "is replaced" not in caplog.text
    evaluate(lists[lists["rank"] <= 5], here.file, "other")
    assert "the earlier row other, of a data frame, is replaced" in caplog.text
    names = [path.name.split("-lists-")[0] for path in sorted((here.folder / "lists").glob("*.json"))]
    assert names == ["tiny-another", "tiny-other"]
    assert len(list((here.folder / "lists").glob("*.npy"))) == 2


def test_lists_of_another_split_are_left_out_and_said(here: Finished, lists: pd.DataFrame) -> None:
    (record,) = evaluate(lists, here.file, "other").records
    path = _path(here, record)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["lists"]["popularity"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content), encoding="utf-8")
    report = write_report(here.folder)
    assert "other" not in report.to_pandas()["model"].tolist()
    assert any("no row of tiny, full was tested on the same split" in note for note in report.notes)


# --- beyond accuracy ---


def test_metrics_of_what_is_listed_are_the_run_s_too(here: Finished, tmp_path: Path) -> None:
    from recbole_ext.api import run

    metrics = ["NDCG", "ItemCoverage", "AveragePopularity", "GiniIndex", "ShannonEntropy", "TailPercentage"]
    overrides = {
        "metrics": [*metrics, "Novelty", "IntraListDistance"],
        "diversity_vectors": str(here.store),
        "models": ["SASRec"],
        "initialisations": ["random"],
        "name": "beyond",
    }
    outcome = run(here.file, overrides)
    assert outcome.failed == []
    (path,) = [path for path in (outcome.folder / "runs").glob("*.json") if not path.name.startswith(".")]
    record = RunRecord.read(path)
    out = tmp_path / "lists.csv"
    recommend(path, topk=10, out=out)
    found = tested(here, out, overrides=overrides)
    assert found == record.done.test
    assert {"novelty@10", "intralistdistance@10", "itemcoverage@5"} <= set(found)
    short = tested(here, pd.read_csv(out).query("user != 'u1'"), overrides=overrides)
    assert set(short) == {"ndcg@1", "ndcg@5", "ndcg@10"}
