"""Lists are those that the run's own evaluation ranks; what can't be ranked is refused in words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finished_lists import NEW_ITEMS, OLD_ITEMS, Finished, begin_in_turn

from recbole_ext.api import run
from recbole_ext.errors import ConfigurationError, RecboleExtError, SourceDataError, StoreError
from recbole_ext.lists.finished import find_record, reopen
from recbole_ext.lists.recommend import recommend
from recbole_ext.store import ItemEmbeddingStore


def interactions(atomic_folder: Path) -> pd.DataFrame:
    table = pd.read_csv(atomic_folder / "tiny" / "tiny.inter", sep="\t")
    return table.set_axis(["user", "item", "timestamp"], axis=1)


def lists_of(frame: pd.DataFrame) -> dict[str, list[str]]:
    return {str(user): list(rows["item"]) for user, rows in frame.groupby("user")}


def test_every_user_has_a_list_of_distinct_items_by_falling_score(finished: Finished) -> None:
    found = recommend(finished.run(), topk=7)
    frame = found.to_pandas()
    assert list(frame.columns) == ["user", "item", "rank", "score"] and found.users == 40
    for _, rows in frame.groupby("user"):
        assert list(rows["rank"]) == [1, 2, 3, 4, 5, 6, 7]
        assert rows["item"].nunique() == 7 and (np.diff(rows["score"]) <= 0).all()
    assert frame["user"].nunique() == 40


def test_seen_items_are_left_out_as_the_protocol_says(finished: Finished, atomic_folder: Path) -> None:
    table = interactions(atomic_folder)  # nobody repeats an item, so `auto` leaves seen ones out
    for model in ("SASRec", "BPR"):
        lists = lists_of(recommend(finished.run(model), topk=60).to_pandas())
        for user, rows in table.groupby("user"):
            assert set(lists[str(user)]) == set(OLD_ITEMS) - set(rows["item"].iloc[:-1]), (model, user)
        after = lists_of(recommend(finished.run(model), topk=60, target="next").to_pandas())
        for user, rows in table.groupby("user"):
            assert set(after[str(user)]) == set(OLD_ITEMS) - set(rows["item"]), (model, user)


def test_named_users_get_the_lists_that_they_get_among_all(finished: Finished, tmp_path: Path) -> None:
    whole = lists_of(recommend(finished.run()).to_pandas())
    (tmp_path / "who.txt").write_text("u3\nu7\n", encoding="utf-8-sig")  # with a byte order mark
    for users in (["u3", "u7"], tmp_path / "who.txt"):
        some = lists_of(recommend(finished.run(), users=users).to_pandas())
        assert some == {user: whole[user] for user in ("u3", "u7")}


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_histories_in_a_file_give_what_the_same_histories_give_in_the_data(
    finished: Finished, atomic_folder: Path, tmp_path: Path, model: str
) -> None:
    table = interactions(atomic_folder)
    before = table[table.duplicated("user", keep="last")]
    shuffled = before.sample(frac=1, random_state=3).rename(columns={"user": "user_id"})
    shuffled["user_id"] = "new-" + shuffled["user_id"]
    shuffled.to_csv(tmp_path / "histories.csv", index=False)
    expected = recommend(finished.run(model), topk=5).to_pandas().set_index(["user", "rank"])
    for source in (tmp_path / "histories.csv", shuffled):
        found = recommend(finished.run(model), histories=source, topk=5).to_pandas()
        found["user"] = found["user"].str.removeprefix("new-")
        found = found.set_index(["user", "rank"]).loc[expected.index]
        assert list(found["item"]) == list(expected["item"])
        assert found["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)
    unordered = before.drop(columns="timestamp")
    in_order = lists_of(recommend(finished.run(model), histories=unordered, topk=5).to_pandas())
    assert in_order == lists_of(expected.reset_index())


def test_after_all_that_is_known_is_the_whole_history(finished: Finished, atomic_folder: Path) -> None:
    whole = interactions(atomic_folder)
    expected = lists_of(recommend(finished.run(), histories=whole, topk=5).to_pandas())
    assert lists_of(recommend(finished.run(), target="next", topk=5).to_pandas()) == expected


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_files_hold_what_the_object_gives(finished: Finished, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "deep" / f"lists.{suffix}"
    found = recommend(finished.run(), out=out)
    assert out.is_file() and found.out == out
    pd.testing.assert_frame_equal(found.to_pandas(), recommend(finished.run()).to_pandas(), check_dtype=False)


def test_a_run_is_named_by_its_record_or_by_folder_and_name(finished: Finished) -> None:
    path = finished.run()
    assert find_record(path) == find_record(finished.folder / path.stem) == find_record(path.with_suffix("")) == path
    with pytest.raises(ConfigurationError, match="no such run.*tiny-"):
        find_record(finished.folder / "nothing")


# --- new items ---


@pytest.mark.parametrize("mode", ["full", "frozen", "adapter"])
def test_a_new_item_scores_what_its_vector_would_as_an_old_one(finished: Finished, tmp_path: Path, mode: str) -> None:
    store = ItemEmbeddingStore.load(finished.store)
    twins = ItemEmbeddingStore(store.embeddings[:2], ["twin of i0", "twin of i1"], store.meta)
    frame = recommend(finished.run("SASRec", mode), topk=62, new_items=twins).to_pandas()
    assert set(frame["item"]) == {*OLD_ITEMS, *twins.items}
    if mode != "full":  # there training has moved the old one's vector
        scores = frame.set_index(["user", "item"])["score"]
        for old, new in (("i0", "twin of i0"), ("i1", "twin of i1")):
            both = pd.concat([scores.xs(old, level="item"), scores.xs(new, level="item")], axis=1).dropna()
            assert len(both) > 5 and np.allclose(both.iloc[:, 0], both.iloc[:, 1], atol=1e-5)


def test_new_items_alone_are_ranked_where_that_is_asked(finished: Finished) -> None:
    frame = recommend(finished.run("SASRec", "adapter"), new_items=finished.store, new_items_only=True).to_pandas()
    assert set(frame["item"]) == set(NEW_ITEMS) and len(frame) == 40 * 3


def test_transforms_of_new_items_are_fitted_on_the_old_ones(finished: Finished) -> None:
    from recbole_ext.lists.new_items import find_new_items

    run = reopen(finished.run("SASRec", "frozen"))
    store = ItemEmbeddingStore.load(finished.store)
    far = ItemEmbeddingStore(store.embeddings[-3:] + 100, NEW_ITEMS, {})
    near, moved = (find_new_items(run, each).rows for each in (store, far))
    assert torch.allclose(moved - near, (moved - near)[0, 0].expand_as(near), rtol=1e-3)
    assert (moved - near).abs().min() > 1


def test_what_training_never_saw_scores_by_its_vector_whether_the_dataset_has_it_or_not(
    own_data: Path, tmp_path: Path, described: Callable[..., Path], store_of: Callable[..., Path]
) -> None:
    """Under a cut in time the dataset has items of both kinds."""
    begin_in_turn(own_data)
    with (own_data / "tiny" / "tiny.inter").open("a", encoding="utf-8") as file:
        file.writelines(f"u{user}\tlate{user % 2}\t9999\n" for user in range(30, 40))
    late = ["late0", "late1"]
    vectors = ItemEmbeddingStore.load(store_of([*OLD_ITEMS, *late], tmp_path / "store"))
    twins = ItemEmbeddingStore(vectors.embeddings[-2:], [f"twin of {item}" for item in late], vectors.meta)
    attached = {"store": str(tmp_path / "store"), "transform": ["center", {"scale": 0.5}]}
    file_of_all = described(
        tmp_path,
        data_path=str(own_data),
        protocols={"temporal": {"eval_args": {"split": {"temporal": {"valid": 0.6, "test": 0.8}}}}},
        initialisations={mode: {**attached, "mode": mode} for mode in ("full", "frozen", "adapter", "bounded", "dual")},
        keep_checkpoints=True,
    )
    outcome = run(file_of_all)
    assert outcome.failed == []
    done = Finished(file_of_all, outcome.folder, tmp_path / "store")
    for mode in ("full", "frozen", "adapter", "bounded", "dual"):
        validated = recommend(done.run("SASRec", mode), topk=70, target="valid").to_pandas()
        assert set(validated["item"]) == set(OLD_ITEMS), "validation ranks no item of the test period"
        frame = recommend(done.run("SASRec", mode), topk=70, new_items=twins).to_pandas()
        assert set(frame["item"]) == {*OLD_ITEMS, *late, *twins.items}, mode
        scores = frame.set_index(["user", "item"])["score"]
        for item in late:
            both = pd.concat([scores.xs(name, level="item") for name in (item, f"twin of {item}")], axis=1)
            assert len(both) > 5 and np.allclose(both.iloc[:, 0], both.iloc[:, 1], atol=1e-5), (mode, item)
        alone = recommend(done.run("SASRec", mode), new_items=twins, new_items_only=True).to_pandas()
        assert set(alone["item"]) == set(twins.items), mode


def test_lists_for_the_validation_item_are_those_of_the_run_s_validation(
    finished: Finished, atomic_folder: Path
) -> None:
    frame = recommend(finished.run(), topk=60, target="valid").to_pandas()
    hits = []
    for user, rows in interactions(atomic_folder).groupby("user"):
        *before, wanted, _ = rows["item"]
        listed = frame[frame["user"] == user].sort_values("rank")["item"].tolist()
        assert set(listed) == set(OLD_ITEMS) - set(before), user
        hits.append(wanted in listed[:10])
    assert np.mean(hits) == pytest.approx(finished.record().done.validation["recall@10"], abs=1e-4)


# --- mistakes ---


def mistakes() -> dict[str, tuple[dict[str, Any], str]]:
    one = pd.DataFrame({"user": ["a", "a"], "item": ["i1", "i2"]})
    return {
        "unknown user": ({"users": ["u1", "nobody"]}, "nobody: not among the 40 users"),
        "nobody": ({"users": []}, "nobody is named"),
        "no user": ({"topk": 0}, "--topk: 0 is not a number from 1"),
        "target": ({"target": "tests"}, "choose one of test, valid, next"),
        "unknown item": ({"histories": one.replace("i2", "zz")}, "row 2: 1 items are not among the 60.*'zz'"),
        "no item": ({"histories": one.replace("i2", "")}, "row 2: the item is ''"),
        "no column": ({"histories": one.rename(columns={"item": "thing"})}, "no column of the item: call it item or"),
        "no time": ({"histories": one.assign(timestamp=["1", "then"])}, "row 2: the timestamp is 'then'"),
        "no rows": ({"histories": one[:0]}, "no rows"),
        "both": ({"histories": one, "users": ["u1"]}, "leave --users and --target out"),
        "random": ({"new_items": Path("store")}, "began from random vectors"),
        "alone": ({"new_items_only": True}, "name them with --new-items"),
        "format": ({"out": Path("lists.xlsx")}, "a table ends with .csv"),
        "store": ({"store": Path("elsewhere")}, "began from no store"),
        "data": ({"data_path": Path("elsewhere")}, "no such file"),
    }


@pytest.mark.parametrize("case", mistakes())
def test_a_mistake_is_told_and_nothing_is_written(finished: Finished, tmp_path: Path, case: str) -> None:
    keys, message = mistakes()[case]
    with pytest.raises(RecboleExtError, match=message):
        recommend(finished.run(), **{"out": tmp_path / "lists.csv", **keys})
    assert list(tmp_path.iterdir()) == []


def test_models_that_know_users_by_their_ids_read_no_histories_of_new_ones(finished: Finished) -> None:
    history = pd.DataFrame({"user": ["u1", "new", "new"], "item": ["i1", "i2", "i3"]})
    with pytest.raises(ConfigurationError, match="BPR knows a user by the id"):
        recommend(finished.run("BPR"), histories=history)
    with pytest.raises(ConfigurationError, match="FPMC reads user ids, and training never saw new"):
        recommend(finished.run("FPMC"), histories=history)
    assert recommend(finished.run("FPMC"), histories=history[:1]).users == 1


def test_models_that_do_not_score_by_vectors_rank_no_new_items(finished: Finished) -> None:
    with pytest.raises(ConfigurationError, match="began from random vectors"):
        recommend(finished.run("BERT4Rec"), new_items=finished.store)
    old = ItemEmbeddingStore(torch.randn(2, 16), OLD_ITEMS[:2], {})
    with pytest.raises(StoreError, match="all 2 items of given are the run's own"):
        recommend(finished.run("SASRec", "full"), new_items=old)
    wide = ItemEmbeddingStore(torch.randn(2, 17), NEW_ITEMS[:2], {})
    with pytest.raises(RecboleExtError, match="17 wide, those of the store .* 16"):
        recommend(finished.run("SASRec", "full"), new_items=wide)


def test_vectors_fitted_on_another_dataset_are_refused(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"kind": "lexical", "lexical": "tfidf", "texts": "a"}
    monkeypatch.setattr("recbole_ext.lists.new_items.read_meta", lambda path: {"request": request})
    new = ItemEmbeddingStore(torch.randn(3, 16), NEW_ITEMS, {"request": {**request, "texts": "b"}})
    with pytest.raises(StoreError, match="lexical are fitted on the items of one dataset"):
        recommend(finished.run("SASRec", "full"), new_items=new)
    weighted = {"kind": "static", "words": "a", "weighting": "sif", "texts": "a"}
    monkeypatch.setattr("recbole_ext.lists.new_items.read_meta", lambda path: {"request": weighted})
    sif = ItemEmbeddingStore(new.embeddings, NEW_ITEMS, {"request": {**weighted, "texts": "b"}})
    with pytest.raises(StoreError, match="static with weighting: sif are fitted on the items of one dataset"):
        recommend(finished.run("SASRec", "full"), new_items=sif)
    encoded = {"kind": "encoder", "encoder": "minilm", "pooling": "mean", "texts": "a"}
    monkeypatch.setattr("recbole_ext.lists.new_items.read_meta", lambda path: {"request": encoded})
    other = ItemEmbeddingStore(new.embeddings, NEW_ITEMS, {"request": {**encoded, "texts": "b", "pooling": "cls"}})
    with pytest.raises(StoreError, match="it differs in pooling"):
        recommend(finished.run("SASRec", "full"), new_items=other)
    same = ItemEmbeddingStore(new.embeddings, NEW_ITEMS, {"request": {**encoded, "texts": "b"}})
    assert recommend(finished.run("SASRec", "full"), new_items=same).users == 40


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the results that a test may change; the path of a run's record."""
    shutil.copytree(finished.folder, tmp_path / "results")
    return tmp_path / "results" / "runs" / finished.run().name


def test_a_run_without_its_checkpoint_or_with_another_is_refused(finished: Finished, copy: Path) -> None:
    weights = copy.with_suffix(".weights.pt")
    shutil.copy(finished.run("SASRec", "full").with_suffix(".weights.pt"), weights)
    with pytest.raises(ConfigurationError, match="is not the file that"):
        recommend(copy)
    weights.unlink()
    with pytest.raises(ConfigurationError, match="no such file, though"):
        recommend(copy)
    text = copy.read_text(encoding="utf-8")
    begin = text.index('"checkpoint"')
    copy.write_text(text[:begin] + text[text.index("},", begin) + 2 :], encoding="utf-8")
    with pytest.raises(ConfigurationError, match="kept no checkpoint.*keep_checkpoints: true"):
        recommend(copy)


def test_a_dataset_that_has_changed_is_refused(finished: Finished, own_data: Path) -> None:
    with (own_data / "tiny" / "tiny.inter").open("a", encoding="utf-8") as file:
        file.write("u1\ti59\t999\n")
    with pytest.raises(SourceDataError, match="not those that .* was trained on"):
        recommend(finished.run(), data_path=own_data)


def test_a_store_that_has_changed_is_refused(finished: Finished, tmp_path: Path) -> None:
    store = ItemEmbeddingStore.load(finished.store)
    ItemEmbeddingStore(store.embeddings * 2, store.items, {}).save(tmp_path / "other")
    with pytest.raises(StoreError, match="not the vectors that"):
        recommend(finished.run("SASRec", "full"), store=tmp_path / "other")
    with pytest.raises(StoreError, match="is not there. Say with --store"):
        recommend(finished.run("SASRec", "full"), store=tmp_path / "nowhere")


def test_scores_that_are_no_numbers_are_refused(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_ext.lists.finished import FinishedRun

    monkeypatch.setattr(FinishedRun, "scores", lambda self, batch, split: torch.full((len(batch[0]), 61), torch.nan))
    with pytest.raises(ConfigurationError, match="scores are NaN"):
        recommend(finished.run())


def test_random_numbers_of_the_caller_do_not_matter(finished: Finished) -> None:
    torch.manual_seed(1)
    first = recommend(finished.run("SASRec", "adapter")).to_pandas()
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(first, recommend(finished.run("SASRec", "adapter")).to_pandas())


def test_more_places_than_items_give_all_there_are_with_a_word(finished: Finished, tmp_path: Path) -> None:
    found = recommend(finished.run(), topk=1000, out=tmp_path / "lists.csv")
    longest = int(found.to_pandas()["rank"].max())
    assert found.longest == longest <= 60
    assert f"top 1,000 ({longest} items at most: no user has more to be ranked) for 40 users" in found.lines()[0]
    assert "at most" not in recommend(finished.run(), topk=3, out=tmp_path / "short.csv").lines()[0]
