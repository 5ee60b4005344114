"""The protocol ``temporal``: one exact cut in time for everybody, and nothing after it touches what is before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.compat import make_recbole_work
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.stock import stock_dataset
from recbole_ext.data.temporal import TEST, TRAIN, VALID, Temporal, Timeline, in_words
from recbole_ext.errors import ConfigurationError, SourceDataError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
Made = Callable[..., Dataset]
Rows = list[tuple[int, int, int]]


def temporal(**keys: Any) -> dict[str, Any]:
    return {"eval_args": {"split": {"temporal": keys}, "group_by": "user", "order": "TO", "mode": "full"}}


def lines_of(rows: Rows) -> list[str]:
    return [HEADER, *(f"u{user}\ti{item}\t{time}" for user, item, time in rows)]


def splits_of(dataset: Dataset, kind: str) -> list[pd.DataFrame]:
    """User, item and history (items before the target, for sequential datasets) of each row of the splits."""
    make_recbole_work()
    from recbole.data.dataset import Dataset as General
    from recbole.data.dataset import SequentialDataset

    from recbole_ext.data.sequences import SequenceViewDataset
    from recbole_ext.data.stock import stock_keys
    from recbole_ext.data.temporal_dataset import temporal as under_temporal

    kinds = {"general": General, "recbole's sequential": SequentialDataset, "ours": SequenceViewDataset}
    whole = under_temporal(kinds[kind])(stock_keys(dataset.name, dataset.folder, dataset.effective_keys))
    frames = []
    for split in whole.build():
        samples = split[np.arange(len(split))]
        rows = {field: whole.id2token(field, samples[field].numpy()) for field in ("user_id", "item_id")}
        if kind != "general":
            lists = zip(samples["item_id_list"].numpy(), samples["item_length"].tolist(), strict=True)
            rows["history"] = [tuple(whole.id2token("item_id", items[:length])) for items, length in lists]
        frames.append(pd.DataFrame(rows))
    return frames


def by_hand(rows: Rows, cut: tuple[float, float], target: str) -> list[set[tuple[str, str, tuple[str, ...]]]]:
    """The same by a loop over users: user, item and history of each training sample, and of each target."""
    found: list[set[tuple[str, str, tuple[str, ...]]]] = [set(), set(), set()]
    for user in {user for user, _, _ in rows}:
        own = sorted((time, place, item) for place, (u, item, time) in enumerate(rows) if u == user)
        items = [f"i{item}" for _, _, item in own]
        periods = [(time >= cut[0]) + (time >= cut[1]) for time, _, _ in own]
        for period in range(3):
            places = [place for place in range(1, len(own)) if periods[place] == period]
            if period:
                places = places[:1] if target == "first" else places[-1:]
            found[period] |= {(f"u{user}", items[place], tuple(items[:place])) for place in places}
    return found


# User, item and time of each row of a file. 128 seconds are one step of single precision.
rows_of_a_file = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8), st.integers(1_700_000_000, 1_700_000_300)), min_size=8, max_size=50
)


@given(rows=rows_of_a_file, target=st.sampled_from(["first", "last"]), shares=st.sampled_from([(0.5, 0.8), (0.3, 0.6)]))
@settings(max_examples=60, deadline=None)
def test_splits_are_those_of_a_loop_over_users_whatever_single_precision_can_tell_apart(
    tmp_path_factory: pytest.TempPathFactory, rows: Rows, target: str, shares: tuple[float, float]
) -> None:
    times = sorted(time for _, _, time in rows)
    first, second = (float(times[int(np.ceil(share * len(times)))]) for share in shares)
    cut = (first, second)
    expected = by_hand(rows, cut, target)
    folder = tmp_path_factory.mktemp("data")
    (folder / "own").mkdir()
    (folder / "own" / "own.inter").write_text("\n".join(lines_of(rows)) + "\n")
    keys = temporal(valid=shares[0], test=shares[1], target=target)
    dataset = Dataset("own", folder, {**keys, "MAX_ITEM_LIST_LENGTH": 60, "model": "SASRec"})
    possible = times[0] < cut[0] < cut[1] and all(expected)
    if not possible:
        with pytest.raises(ConfigurationError, match="temporal"):
            dataset.cut()
            splits_of(dataset, "ours")
        return
    for kind in ("recbole's sequential", "ours"):
        found = [set(map(tuple, split[["user_id", "item_id", "history"]].values)) for split in splits_of(dataset, kind)]
        assert found == expected, kind
    general = splits_of(dataset, "general")
    assert sorted(map(tuple, general[0].values)) == sorted((f"u{u}", f"i{i}") for u, i, t in rows if t < cut[0])
    for period in (VALID, TEST):
        assert set(map(tuple, general[period].values)) == {(user, item) for user, item, _ in expected[period]}


def shop(later: Rows = ()) -> Rows:  # type: ignore[assignment]
    """Twelve users with an item a second of six, up to time 60; ``later`` rows follow from time 60 on."""
    rows = [(user, (user + step) % 6, 12 * step + user) for step in range(5) for user in range(12)]
    return [*rows, *later]


CUTS = {"valid": 60, "test": 80}
ORDINARY = [(0, 3, 61), (1, 4, 62), (0, 2, 81), (1, 5, 82)]
STRANGE = [(7, 9, 60), (40, 10, 63), (40, 9, 64), (2, 2, 70), (2, 10, 85), (40, 11, 86), (3, 5, 90), (3, 1, 91)]


@pytest.mark.parametrize("new_items", ["rank", "leave_out"])
def test_what_is_after_the_cut_changes_nothing_before_it(made: Made, new_items: str) -> None:
    """Other users, items and rows after it: the same training rows, ids, histories and popularity."""
    seen = []
    for number, later in enumerate((ORDINARY, STRANGE, [*STRANGE, *ORDINARY])):
        files = {"inter": lines_of(sorted(shop(later), key=lambda row: hash(row) % 97))}
        keys = temporal(**CUTS, new_items=new_items)
        dataset = made(files, name=f"own{number}", **keys, model="SASRec", MAX_ITEM_LIST_LENGTH=9)
        whole = stock_dataset(dataset.name, dataset.folder, dataset.effective_keys, cut=True)
        known = whole.n_trained_items
        trains, *_ = whole.build()
        matrix = trains.inter_matrix(form="csr")[:13, :known].toarray()
        ids = [list(whole.field2id_token[field][:n]) for field, n in (("item_id", known), ("user_id", 13))]
        histories = [list(history) for history in dataset.training_histories()]
        seen.append((matrix.tolist(), ids, splits_of(dataset, "ours")[0].values.tolist(), histories))
    assert seen[0] == seen[1] == seen[2]


def rated(ratings: dict[int, str]) -> dict[str, list[str]]:
    """A file of rows with ratings: rows at other times than these have none."""
    rows = [f"u{time % 3}\ti{time % 7}\t{time}\t{ratings.get(time, '')}" for time in range(100)]
    return {"inter": [f"{HEADER}\trating:float", *rows]}


def test_a_number_that_is_missing_is_the_mean_of_training(made: Made) -> None:
    keys = {**temporal(**CUTS), "load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"]}}
    dataset = made(rated({3: "2", 4: "4", 70: "50", 90: "900"}), **keys, model="SASRec")
    assert "own.inter: 96 rows have no 'rating'; the mean of training's is taken for it." in dataset.check()
    whole = stock_dataset(dataset.name, dataset.folder, dataset.effective_keys, cut=True)
    assert sorted(set(whole.inter_feat["rating"])) == [2, 3, 4, 50, 900]


def test_a_number_that_no_row_of_training_has_is_taken_from_no_later_row(made: Made) -> None:
    keys = {**temporal(**CUTS), "load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"]}}
    dataset = made(rated({90: "900"}), **keys, model="SASRec")
    whole = stock_dataset(dataset.name, dataset.folder, dataset.effective_keys, cut=True)
    assert sorted(set(whole.inter_feat["rating"])) == [0, 900]


@pytest.mark.parametrize(
    "fitted",
    [
        {"normalize_all": True},
        {"normalize_field": ["rating"]},
        {"numerical_features": ["rating"], "discretization": {"rating": {"method": "ED", "bucket": 3}}},
    ],
)
def test_what_recbole_would_fit_to_all_rows_is_refused(made: Made, fitted: dict[str, Any]) -> None:
    keys = {**temporal(**CUTS), "load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"]}}
    dataset = made(rated({time: str(time) for time in range(100)}), **keys, **fitted, model="SASRec")
    with pytest.raises(ConfigurationError, match=r"^(normalize_all|normalize_field|discretization): .*, of rating\."):
        dataset.check()
    timed = {**temporal(**CUTS), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    made(rated({}), **timed, normalize_all=True, model="SASRec").check()  # which keeps the order of times


def test_items_that_no_entity_stands_for_leave_the_data_of_a_knowledge_model_before_ids_are_given(made: Made) -> None:
    linked = ["i0", "i1", "i2", "i3", "i9"]
    files = {
        "inter": lines_of(shop([*ORDINARY, *STRANGE])),
        "item": ["item_id:token\tclass:token", *(f"i{item}\tc" for item in range(12))],
        "kg": ["head_id:token\trelation_id:token\ttail_id:token", *(f"e{item}\tr\te{item + 1}" for item in range(12))],
        "link": ["item_id:token\tentity_id:token", *(f"{item}\te{item[1:]}" for item in linked)],
    }
    kinds = {
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "item": ["item_id", "class"],
    }
    load = {"inter": ["user_id", "item_id", "timestamp"], **kinds}
    dataset = made(files, **temporal(**CUTS), model="CKE", load_col=load)
    whole = stock_dataset("own", dataset.folder, dataset.effective_keys, cut=True)
    assert sorted(whole.field2id_token["item_id"][1:]) == linked
    assert whole.n_trained_items == 5 and whole.field2id_token["item_id"][5] == "i9", "the new item has the largest id"
    found = [whole.id2token("item_id", split.inter_feat["item_id"].numpy()) for split in whole.build()]
    assert len(found[0]) == 40 and set(found[0]) == set(linked[:4]), "of 60 rows those of four items in six"
    assert all(set(items) <= set(linked) for items in found[1:])


def test_new_items_have_the_largest_ids_and_are_counted(made: Made) -> None:
    dataset = made({"inter": lines_of(shop(STRANGE))}, **temporal(**CUTS), model="SASRec")
    whole = stock_dataset("own", dataset.folder, dataset.effective_keys, cut=True)
    assert whole.n_trained_items == 7
    assert set(whole.field2id_token["item_id"][7:]) == {"i9", "i10", "i11"}
    found = whole.counted
    assert found.interactions == (60, 4, 4)
    assert found.users == (3, 3)  # u7, u40 and u2 at first, then u2, u40 and u3
    assert (found.new_items, found.left_out, found.new_targets, found.without_history) == (3, 0, 2, 0)
    said = " ".join(dataset.check())
    assert "3 items are first seen after the first cut; they are ranked with the others, and 2 users are asked" in said


def test_new_items_that_are_left_out_are_neither_found_nor_read_nor_ranked(made: Made) -> None:
    files = {
        "inter": lines_of(shop(STRANGE)),
        "item": ["item_id:token\ttitle:token", *(f"i{n}\tt{n}" for n in range(12))],
    }
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}
    dataset = made(files, **temporal(**CUTS, new_items="leave_out"), load_col=columns, model="SASRec")
    whole = stock_dataset("own", dataset.folder, dataset.effective_keys, cut=True)
    assert set(whole.field2id_token["item_id"][1:]) == {f"i{n}" for n in range(6)}
    assert (whole.counted.new_items, whole.counted.left_out, whole.counted.new_targets) == (3, 5, 0)
    train, valid, test = splits_of(dataset, "ours")
    assert valid.values.tolist() == [["u2", "i2", ("i2", "i3", "i4", "i5", "i0")]]
    assert test.values.tolist() == [["u3", "i1", ("i3", "i4", "i5", "i0", "i1", "i5")]]
    assert "3 items are first seen after the first cut; they are left out with their 5 interactions." in " ".join(
        dataset.check()
    )


def test_filters_by_number_count_training_rows_alone(made: Made) -> None:
    """u20 reaches three only after the cut and goes; u40 is new after it and stays; i7 is rare before it and goes."""
    early, later = [(20, 0, 5), (20, 1, 6), (0, 7, 7)], [(20, 2, 61), (1, 7, 62), (1, 3, 63), (40, 1, 83), (40, 2, 84)]
    keys = {**temporal(**CUTS), "user_inter_num_interval": "[3,inf)", "item_inter_num_interval": "[2,inf)"}
    dataset = made({"inter": lines_of(shop([*early, *later, (0, 1, 81)]))}, **keys, model="SASRec")
    whole = stock_dataset("own", dataset.folder, dataset.effective_keys, cut=True)
    users, items = (set(whole.field2id_token[field][1:]) for field in ("user_id", "item_id"))
    assert "u20" not in users and "u40" in users and "i7" not in items
    assert whole.counted.interactions == (60, 1, 3)
    assert "count training interactions alone" in " ".join(dataset.check())


def test_random_targets_are_the_same_ones_each_time_and_all_are_drawn(made: Made) -> None:
    rows = shop([(user, item, 100 + item) for user in range(12) for item in range(6)] + ORDINARY)
    dataset = made({"inter": lines_of(rows)}, **temporal(**CUTS, target="random"), model="SASRec")
    first, second = (splits_of(dataset, kind)[2] for kind in ("ours", "recbole's sequential"))
    assert first.values.tolist() == second.values.tolist()
    assert first["item_id"].nunique() > 2 and len(first) == 12


@pytest.mark.parametrize("when", ["1970-01-01T00:01:20", "1970-01-01T00:01:20Z", "1970-01-01T01:01:20+01:00", 80, 80.0])
def test_a_cut_is_a_part_of_the_interactions_a_time_or_a_date(when: str | float) -> None:
    times = np.array([1.0, 2.0, 2.0, 50.0, 60.0, 79.9, 80.0, 90.0])
    cut = Temporal(valid=0.5, test=when).cut(times)
    assert (cut.valid, cut.test) == (60.0, 80.0)
    assert cut.period(times).tolist() == [TRAIN] * 4 + [VALID] * 2 + [TEST] * 2


def test_a_part_that_falls_on_equal_times_leaves_them_all_after_the_cut() -> None:
    times = np.array([1.0, 2.0, 2.0, 2.0, 3.0, 4.0])
    assert Temporal(valid=0.5, test=0.8).cut(times).period(times).tolist() == [0, 1, 1, 1, 1, 2]


def test_times_are_told_with_their_date_where_they_look_like_unix_seconds() -> None:
    assert in_words(886_000_000.0) == "886000000 (1998-01-28 15:06 UTC)"
    assert in_words(12.5) == "12.5" and in_words(1.7e12) == "1700000000000"


def test_a_target_has_a_history_and_its_user_is_seen_up_to_it() -> None:
    line = Timeline(np.array([1, 2, 1, 3, 2, 1]), np.arange(6), np.array([0, 0, 1, 2, 2, 2]))
    assert line.sample.tolist() == [-1, -1, 0, -1, 2, 1]
    assert line.targets(TEST, "last").tolist() == [5, 4]
    assert line.until(np.array([2])).tolist() == [0, 2]


BAD = {
    "valid after test": (
        {"valid": 0.9, "test": 0.8},
        r"^eval_args\.split\.temporal: valid: 0\.9 has to be before test: 0\.8",
    ),
    "valid after the default test": ({"valid": 0.95}, r"valid: 0\.95 has to be before test: 0\.9"),
    "dates reversed": (
        {"valid": "2015-02-01", "test": "2015-01-01"},
        "valid: 2015-02-01 has .* before test: 2015-01",
    ),
    "a part after a time": ({"valid": 0.99, "test": 60}, r"own: .*valid: 0\.99, time \d+, has to be before test: 60"),
    "a part of 1": ({"valid": 0.8, "test": 1.0}, r"test: 1\.0, time 1, because .*\. A part is below 1: 1 is a time\."),
    "equal cuts": ({"valid": 70, "test": 70}, "valid: 70.* has to be before test: 70"),
    "before all": ({"valid": "1969-05-05", "test": 80}, "no interaction is before validation begins"),
    "nothing between": ({"valid": 63, "test": 80}, "no interaction is between the two cuts"),
    "after all": ({"valid": 60, "test": 2e9}, r"no interaction is after the test cut; there are 64 from time 0 to 82"),
    "no date": ({"test": "soon"}, r"eval_args\.split\.temporal: test: 'soon' is no date of ISO 8601"),
    "a negative part": ({"valid": -0.5}, r"eval_args\.split\.temporal: valid: a part between 0 and 1"),
    "a flag": ({"valid": True}, r"eval_args\.split\.temporal: valid: yes and no mean nothing here"),
    "no such target": (
        {"target": "next"},
        r"eval_args\.split\.temporal: target: one of last, first or random is needed",
    ),
    "no such fate": ({"new_items": "drop"}, r"eval_args\.split\.temporal: new_items: "),
    "an unknown key": ({"tests": 0.9}, r"eval_args\.split\.temporal: tests: unknown key\. Did you mean 'test'\?"),
}


@pytest.mark.parametrize(("keys", "message"), BAD.values(), ids=BAD)
def test_a_cut_that_can_not_be_is_an_error_before_anything_is_computed(
    made: Made, keys: dict[str, Any], message: str
) -> None:
    dataset = made({"inter": lines_of(shop(ORDINARY))}, **temporal(**keys), model="SASRec")
    with pytest.raises(ConfigurationError, match=message):
        dataset.check()


def test_a_cut_that_leaves_nobody_to_ask_is_an_error(made: Made) -> None:
    rows = shop([(30, 1, 61), (31, 2, 81)])
    with pytest.raises(ConfigurationError, match="own: .*in the validation period, from time 60, no user has an"):
        made({"inter": lines_of(rows)}, **temporal(**CUTS), model="SASRec").check()
    with pytest.raises(ConfigurationError, match="own: .*no user has two interactions before validation begins"):
        made({}, **temporal(valid=10, test=40), model="Pop").check()
    rows = shop([(0, 9, 61), (1, 3, 81)])
    made({"inter": lines_of(rows)}, **temporal(**CUTS), model="SASRec").check()
    with pytest.raises(ConfigurationError, match="own: .*once RecBole's filters and new items are taken out, no inter"):
        made({}, **temporal(**CUTS, new_items="leave_out"), model="SASRec").check()


def test_what_splits_or_orders_otherwise_is_an_error(made: Made) -> None:
    files = {"inter": lines_of(shop(ORDINARY))}
    keys = temporal(**CUTS)
    with pytest.raises(ConfigurationError, match=r"exact_time_order: .*single precision can't tell"):
        made(files, **keys, exact_time_order=False, model="SASRec").check()
    random_order = {"eval_args": {**keys["eval_args"], "order": "RO"}}
    with pytest.raises(ConfigurationError, match=r"eval_args\.order: .*temporal needs TO"):
        made(files, **random_order).check()
    two = {"eval_args": {**keys["eval_args"], "split": {"temporal": {}, "LS": "valid_and_test"}}}
    with pytest.raises(ConfigurationError, match="temporal, LS are several splits"):
        made(files, **two).check()
    with pytest.raises(ConfigurationError, match="rm_dup_inter: last takes rows of training out because of later"):
        made(files, **keys, rm_dup_inter="last", model="SASRec").check()
    made(files, **temporal(valid=0.6, test=0.8), rm_dup_inter="first", model="SASRec").check()
    with pytest.raises(ConfigurationError, match="benchmark_filename: these files are split already"):
        made({f"{n}.inter": files["inter"] for n in "abc"}, **keys, benchmark_filename=["a", "b", "c"]).check()


def test_without_times_there_is_nothing_to_cut(made: Made) -> None:
    timeless = {"inter": ["user_id:token\titem_id:token", "u1\ti1", "u1\ti2"]}
    with pytest.raises(SourceDataError, match="no column 'timestamp', which the rows are ordered by.*another protocol"):
        made(timeless, **temporal(), model="SASRec").check()
    places = [(user, item, item) for user in range(4) for item in range(9)]
    with pytest.raises(ConfigurationError, match="holds no times but each row's place in its user's history"):
        made({"inter": lines_of(places)}, **temporal(), model="Pop").check()


def test_a_dataset_knows_its_cut_and_has_none_under_another_protocol(made: Made, tmp_path: Path) -> None:
    dataset = made({"inter": lines_of(shop(ORDINARY))}, model="SASRec")
    assert dataset.cut() is None
    cut = dataset.with_keys(temporal(valid=0.95, test=0.99)).cut()
    assert cut is not None and (cut.valid, cut.test) == (62.0, 82.0)
