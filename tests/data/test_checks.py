"""What RecBole can't read, or would read as something else, is named before anything is computed; what it leaves out is
said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, SourceDataError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
ROWS = ["u1\ta\t1", "u1\tb\t2", "u2\tb\t1", "u2\ta\t2"]
ALL = {"load_col": None}
KNOWLEDGE = {
    "model": "CKE",
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
    },
}
Made = Callable[..., Dataset]


def test_a_sound_dataset_has_nothing_to_say(made: Made) -> None:
    assert made({"inter": [HEADER, *ROWS]}).check() == []


# -- keys that can't be, other tables ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"load_col": {"inter": ["user_id", "item_id"]}}, r"leaves out 'timestamp' .*which the rows are ordered by"),
        ({"load_col": {"item": ["item_id"]}}, r"leaves out 'user_id'"),
        ({"load_col": None, "unload_col": {"inter": ["item_id"]}}, r"leaves out 'item_id'"),
        ({"load_col": ["user_id"]}, r"load_col: lists of columns"),
        ({"load_col": {"inter": "user_id"}}, r"load_col: lists of columns"),
        ({"load_col": {"inter": ["user_id"]}, "unload_col": {"inter": ["item_id"]}}, r"both speak of 'inter'"),
        ({"benchmark_filename": "train"}, r"benchmark_filename: the names of three splits"),
        ({"benchmark_filename": ["train", "test"]}, r"benchmark_filename: the names of three splits"),
        ({"user_inter_num_interval": "5"}, r"user_inter_num_interval: an interval is written"),
        ({"user_inter_num_interval": "[five,inf)"}, r"user_inter_num_interval: the ends of .* are no numbers"),
        ({"item_inter_num_interval": "[5,2]"}, r"item_inter_num_interval: \[5,2\] ends before it begins"),
        ({"rm_dup_inter": "yes"}, r"rm_dup_inter: first, last or nothing"),
        ({"threshold": {}}, r"threshold: one field and its number are expected"),
        ({"threshold": {"rating": 3, "timestamp": 1}}, r"threshold: one field and its number"),
        ({"threshold": {"rating": "three"}}, r"threshold: one field and its number"),
        ({"exact_time_order": "no"}, r"exact_time_order: true or false"),
        ({"field_separator": ""}, r"field_separator: '' separates nothing"),
        ({"val_interval": {"rating": "[3,inf)"}}, r"val_interval: no field 'rating' is loaded"),
        ({"val_interval": {"timestamp": "3"}}, r"val_interval of timestamp: an interval is written"),
        ({"val_interval": {"item_id": "a"}}, r"val_interval of item_id: a list of tokens"),
        ({"normalize_field": ["price"]}, r"normalize_field: no field 'price'"),
        ({"alias_of_item_id": ["item_id_list"]}, r"alias_of_item_id: no field 'item_id_list'"),
        ({"alias_of_item_id": [["item_id_list"]]}, r"alias_of_item_id: names of fields are expected"),
        ({"preload_weight": {"item_id": ["vector"]}}, r"preload_weight: names of fields are expected"),
        ({"preload_weight": {"item_id": "vector"}}, r"preload_weight: no field 'vector'"),
        (
            {"user_inter_num_interval": "[99,inf)"},
            r"own: filters leave nothing of this dataset. Widen user_inter_num_interval",
        ),
        ({"save_dataset": True}, r"save_dataset is refused: RecBole's saved copies"),
        ({"save_dataloaders": True}, r"save_dataloaders is refused: RecBole's saved copies"),
        ({"dataset_save_path": "x.pth"}, r"dataset_save_path is refused: RecBole's saved copies"),
        ({"dataloaders_save_path": "x.pth"}, r"dataloaders_save_path is refused: RecBole's saved copies"),
    ],
)
def test_keys_that_make_no_sense_or_do_not_fit_the_files_are_named(
    made: Made, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        made({"inter": [HEADER, *ROWS]}, **keys).check()


@pytest.mark.parametrize("interval", ["[5,inf)", "(0, 10]", "[1,2];[4,inf)", [1, 5], (0, 9)])
def test_intervals_are_taken_as_recbole_writes_them_and_as_its_config_reads_them(made: Made, interval: object) -> None:
    rows = [f"u\ti{number}\t{number}" for number in range(5)]
    made({"inter": [HEADER, *rows]}, user_inter_num_interval=interval).check()


def test_other_tables_are_checked_like_the_interactions(made: Made) -> None:
    inter = [HEADER, *ROWS]
    item = ["item_id:token\tprice:float", "a\t1", "b\t2"]
    user = ["user_id:token\tage:float", "u1\t30", "u2\t40"]
    made({"inter": inter, "item": item, "user": user}, **ALL).check()
    for files, message in [
        ({"item": ["item_id:token\tprice:float", "a\tcheap"]}, r"own\.item, line 2: 'cheap' is no number"),
        ({"item": ["item_id:token\tprice:float", "a"]}, r"own\.item, line 2: 1 fields"),
        ({"item": item, "user": ["id:token\tage:float", "u1\t1"]}, r"own\.user, line 1: no column 'user_id'"),
        ({"user": ["user_id:token\tage:float", "\t1"]}, r"own\.user, line 2: 'user_id' is empty"),
        ({"user": user, "item": ["item_id:token\tv:float_seq", "a\t1 x"]}, r"own\.item, line 2: '1 x' .*'v' is no seq"),
    ]:
        with pytest.raises(SourceDataError, match=message):
            made(files, **ALL).check()


def test_a_file_that_recbole_does_not_read_is_not_checked(made: Made) -> None:
    files: dict[str, Iterable[str]] = {
        "inter": [HEADER, *ROWS],
        "item": ["broken"],
        "user": ["broken"],
        "kg": ["broken"],
    }
    assert made(files).check() == []


@pytest.mark.parametrize("suffix", ["item", "user"])
def test_two_tables_that_share_no_id_are_an_error(made: Made, suffix: str) -> None:
    table = [f"{suffix}_id:token\tx:token", "0001\tx", "0002\ty"]
    with pytest.raises(SourceDataError, match=rf"own\.{suffix} and the interactions have no '{suffix}_id' in common"):
        made({"inter": [HEADER, *ROWS], suffix: table}, **ALL).check()


def test_files_that_a_knowledge_model_reads_have_to_be_there_and_to_be_linked(made: Made) -> None:
    kg = ["head_id:token\trelation_id:token\ttail_id:token", "e1\tr\te2"]
    link = ["item_id:token\tentity_id:token", "a\te1"]
    with pytest.raises(SourceDataError, match=r"own\.kg: no such file"):
        made({"inter": [HEADER, *ROWS]}, **KNOWLEDGE).check()
    [sentence] = made({"kg": kg, "link": link}, **KNOWLEDGE).check()
    assert "filters (own.link) leave 2, 1 and 2" in sentence
    with pytest.raises(SourceDataError, match=r"own\.link and the interactions have no 'item_id' in common"):
        made({"link": [link[0], "z\te1"]}, **KNOWLEDGE).check()


# -- what is said --------------------------------------------------------------------------------------------------


def test_rows_of_items_that_the_item_table_lacks_are_counted(made: Made) -> None:
    files = {"inter": [HEADER, *ROWS, "u1\tc\t3"], "item": ["item_id:token\tx:token", "a\tx", "b\ty", "a\tz"]}
    said = "\n".join(made(files, **ALL).check())
    assert "own.item: 1 rows repeat an id that has a row already; the first is used." in said
    assert "own.item: lists no 'item_id' of 1 interactions; RecBole leaves them out" in said
    assert "of 2 users, 3 items and 5 interactions RecBole's filters (filter_inter_by_user_or_item) leave 2, 2 and 4."
    said = "\n".join(made(files, **ALL, filter_inter_by_user_or_item=False).check())
    assert "of 1 interactions; RecBole takes no features for them" in said and "filters" not in said


def test_what_the_filters_leave_is_counted(made: Made) -> None:
    rows = [HEADER, *ROWS, "u3\ta\t1"]
    [sentence] = made({"inter": rows}, user_inter_num_interval="[2,inf)").check()
    assert sentence.startswith("of 3 users, 2 items and 5 interactions RecBole's filters ")
    assert sentence.endswith(" (user_inter_num_interval [2,inf)) leave 2, 2 and 4.")


def test_repeated_rows_ties_at_the_end_and_users_with_one_row_are_counted(made: Made) -> None:
    rows = [HEADER, "u1\ta\t1", "u1\ta\t1", "u1\tb\t2", "u1\ta\t3", "u2\ta\t1", "u2\tb\t1", "u3\ta\t5"]
    assert made({"inter": rows}).check() == [
        "own.inter: 1 users have several rows at their last time; the file's order says which is last.",
        "own.inter: 1 row repeats an earlier one (user, item and time), kept.",
        "own.inter: 1 users have a single row, and so no history to predict it from.",
    ]
    in_no_order = {"eval_args": {"order": "RO"}, "load_col": {"inter": ["user_id", "item_id"]}}
    assert made({"inter": rows}, **in_no_order).check() == [
        "own.inter: 2 rows repeat an earlier one (user and item), kept."
    ]


@pytest.mark.parametrize("split", [{"TS": [0.8, 0.1, 0.1]}, {"RS": [0.8, 0.1, 0.1]}])
def test_places_in_a_history_are_no_times_to_cut_all_users_at(made: Made, split: dict[str, list[float]]) -> None:
    files = {"inter": [HEADER, *(f"u{user}\ti{place}\t{place}" for user in range(3) for place in range(user + 2))]}
    args = {"split": split, "order": "TO", "group_by": None}
    with pytest.raises(ConfigurationError, match="eval_args: .*own.inter holds no times but each row's place"):
        made(files, eval_args=args).check()
    made(files, eval_args={**args, "split": {"LS": "valid_and_test"}}).check()
    made({"inter": [*files["inter"], "u9\ta\t7"]}, eval_args=args).check()


def test_missing_numbers_are_counted(made: Made) -> None:
    rows = [f"{HEADER}\trating:float", "u1\ta\t1\t", "u1\tb\t2\t5"]
    assert made({"inter": rows}, **ALL).check() == [
        "own.inter: 1 rows have no 'rating'; RecBole takes the mean for it."
    ]


def test_without_an_order_in_time_a_dataset_needs_no_times(made: Made) -> None:
    rows = ["user_id:token\titem_id:token", "u1\ta", "u1\tb"]
    dataset = made({"inter": rows}, eval_args={"order": "RO"})
    assert dataset.check() == []
    with pytest.raises(SourceDataError, match="no column 'timestamp', which the rows are ordered by"):
        dataset.with_keys({"model": "SASRec"}).check()


# -- text ----------------------------------------------------------------------------------------------------------


def test_where_text_is_wanted_the_item_file_has_to_describe_the_items(made: Made) -> None:
    dataset = made({"inter": [HEADER, *ROWS]})
    with pytest.raises(SourceDataError, match=r"own\.item: no such file, so dataset 'own' has no item text"):
        dataset.check(text=True)
    made({"item": ["item_id:token\ttitle:token_seq", "a\tPen"]})
    assert dataset.check(text=True) == ["own.item: 1 of 2 items have no row there, and so no text."]
    assert dataset.check() == []
    with pytest.raises(SourceDataError, match=r"no column 'titel', which item_text names.*Did you mean 'title'"):
        dataset.with_keys({"item_text": ["{titel}"]}).check(text=True)
    made({"item": ["item_id:token\ttitle:token_seq", "0001\tPen"]})
    with pytest.raises(SourceDataError, match=r"own\.item describes none of the items"):
        dataset.check(text=True)


# -- counts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "counts"),
    [
        ({}, (3, 2, 5)),
        ({"user_inter_num_interval": "[2,inf)"}, (2, 2, 4)),
        ({"rm_dup_inter": "first"}, (3, 2, 5)),
        ({"load_col": None}, (3, 3, 5)),  # an item that nobody took is ranked all the same
    ],
)
def test_the_expected_counts_are_those_that_recbole_will_have(
    made: Made, keys: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    files = {"inter": [HEADER, *ROWS, "u3\ta\t1"], "item": ["item_id:token\tx:token", "a\tx", "b\ty", "c\tz"]}
    expected = dict(zip(("users", "items", "interactions"), counts, strict=True))
    made(files, **keys, expected=expected).check()
    for what, count in expected.items():
        wrong = {**expected, what: count + 1}
        with pytest.raises(
            ConfigurationError, match=re.escape(f"own: {count:,} {what}, but its dataset config expects")
        ):
            made(files, **keys, expected=wrong).check()


def test_the_answer_is_given_again_until_files_or_keys_change(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made({"inter": [HEADER, *ROWS]})
    assert dataset.check() == []
    with monkeypatch.context() as patch:
        patch.setattr("recbole_ext.data.checks._Check", lambda *_: pytest.fail("read again"))
        assert dataset.with_keys({"learning_rate": 0.1}).check() == []
    assert dataset.with_keys({"user_inter_num_interval": "[2,inf)"}).check() == []
    made({"inter": [HEADER, *ROWS, "u3\ta\t9"]})
    assert len(dataset.check()) == 1


def test_a_missing_dataset_is_the_same_error_as_everywhere(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"own\.inter: no such file"):
        Dataset.named("own", tmp_path).check()
