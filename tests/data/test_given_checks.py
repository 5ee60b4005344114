"""Files that are split already: of one dataset, without a row in common, of items that something knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.data import tables
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, SourceDataError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
Made = Callable[..., Dataset]
SPLITS: dict[str, Any] = {
    "benchmark_filename": ["train", "valid", "test"],
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
}


def split_files(header: str = "user_id:token\titem_id_list:token_seq\titem_id:token") -> dict[str, Iterable[str]]:
    rows = {
        "train": ["u1\ta\tb", "u2\tb\ta", "u3\tc\td"],
        "valid": ["u1\ta b\tc", "u2\tb a\tc"],
        "test": ["u1\ta b c\td", "u2\tb a c\td"],
    }
    return {f"{name}.inter": [header, *lines] for name, lines in rows.items()}


def test_split_files_need_no_file_of_all_interactions(made: Made) -> None:
    made(split_files(), **SPLITS, alias_of_item_id=["item_id_list"], model="SASRec").check()


def test_splits_of_different_datasets_are_an_error(made: Made) -> None:
    files = {**split_files(), "test.inter": ["user_id:token\titem_id_list:token_seq\titem_id:token", "x\ty z\tz"]}
    with pytest.raises(SourceDataError, match=r"own\.train\.inter and own\.test\.inter share no user and no item"):
        made(files, **SPLITS, alias_of_item_id=["item_id_list"]).check()


def test_histories_are_read_as_items_whatever_columns_are_named(made: Made) -> None:
    for model in ("BPR", "SASRec"):
        for load in (None, {"inter": ["user_id", "item_id"]}, {"inter": ["user_id", "item_id_list", "item_id"]}):
            assert made(split_files(), **{**SPLITS, "load_col": load}, model=model).check() == []
    named = {"ITEM_ID_FIELD": "sku", "load_col": {"inter": ["user_id", "sku"]}, "model": "SASRec"}
    files = split_files("user_id:token\tsku_list:token_seq\tsku:token")
    assert made(files, **{**SPLITS, **named}).check() == []
    files = split_files("user_id:token\titem_id_list:token\titem_id:token")
    with pytest.raises(SourceDataError, match="'item_id_list', which holds the histories, is declared token"):
        made(files, **SPLITS).check()


PLAIN = {"benchmark_filename": ["train", "valid", "test"]}
PLAIN_FILES = {
    "train.inter": [HEADER, "u1\ta\t1", "u1\tb\t2", "u2\tb\t1"],
    "valid.inter": [HEADER, "u1\ta\t3"],
    "test.inter": [HEADER, "u1\tb\t4", "u2\ta\t4"],
}


def test_plain_files_need_no_histories_and_repeated_items_are_other_rows(made: Made) -> None:
    of_rows = "1 of {} rows have an item that their user has in own.train.inter."
    repeated = [f"own.valid.inter: {of_rows.format(1)}", f"own.test.inter: {of_rows.format(2)}"]
    assert made(PLAIN_FILES, **PLAIN, model="SASRec").check() == repeated
    timeless = {"load_col": {"inter": ["user_id", "item_id"]}}
    said = made({}, **PLAIN, **timeless, model="SASRec").check()
    assert said[0] == "own.train.inter: no 'timestamp' is loaded; a user's rows are in the order of the file."


def test_of_files_with_histories_users_and_items_are_counted_and_rows_are_not(made: Made) -> None:
    made(split_files(), **SPLITS, expected={"users": 3, "items": 4, "interactions": 99}, model="SASRec").check()
    with pytest.raises(ConfigurationError, match="own: 4 items, but its dataset config expects 5"):
        made({}, **SPLITS, expected={"items": 5}, model="SASRec").check()


@pytest.mark.parametrize("file", ["valid", "test"])
def test_files_that_share_rows_are_an_error_that_names_one(made: Made, file: str) -> None:
    files = split_files()
    files[f"{file}.inter"] = [*files[f"{file}.inter"], "u2\tb\ta"]
    message = rf"own\.train\.inter and own\.{file}\.inter share 1 rows, such as user_id u2, item_id_list b, item_id a\."
    with pytest.raises(SourceDataError, match=message):
        made(files, **SPLITS, model="SASRec").check()
    shared = {**PLAIN_FILES, f"{file}.inter": [HEADER, "u1\tb\t2"]}
    with pytest.raises(SourceDataError, match=r"such as user_id u1, item_id b, timestamp 2\.0"):
        made(shared, **PLAIN, model="Pop").check()
    columns = {"train.inter": ["user_id:token\titem_id:token", "u1\ta"]}
    columns |= {name: [columns["train.inter"][0], f"u1\t{name[0]}", "u1\ta"] for name in ("valid.inter", "test.inter")}
    with pytest.raises(SourceDataError, match="If users repeat items, give the rows their times"):
        made(columns, **PLAIN, name="timeless", model="Pop", load_col={"inter": ["user_id", "item_id"]}).check()


def test_items_that_nothing_knows_are_an_error_that_names_them(made: Made) -> None:
    files = split_files()
    files["test.inter"] = [*files["test.inter"], "u3\tc d zz\ta", "u3\tc\tyy"]
    with pytest.raises(SourceDataError, match=r"own\.test\.inter names 2 items that neither .*such as yy, zz"):
        made(files, **SPLITS, model="SASRec").check()
    described = {"item": ["item_id:token\ttitle:token_seq", *(f"{item}\tthing" for item in ("a", "b", "yy", "zz"))]}
    said = made({**files, **described}, **SPLITS, model="SASRec").check()
    assert "own.test.inter: 2 of its items are not in own.train.inter, but in own.item." in said


def test_rows_with_an_item_that_training_reads_in_another_row_or_history_are_counted(made: Made) -> None:
    files = split_files()
    files["train.inter"] = [*files["train.inter"], "u1\ta\td", "u2\ta d c b\ta"]
    said = made(files, **SPLITS, model="BPR").check()
    assert said == [
        "own.valid.inter: 1 of 2 rows have an item that their user has in own.train.inter.",
        "own.test.inter: 2 of 2 rows have an item that their user has in own.train.inter.",
    ]


def test_rows_without_a_history_are_counted_where_a_model_needs_one(made: Made) -> None:
    files = split_files()
    files["test.inter"] = [*files["test.inter"], "u3\t\tb", "u9\t\tb"]
    plain = {**PLAIN_FILES, "test.inter": [*PLAIN_FILES["test.inter"], "u8\ta\t4", "u9\ta\t4", "u9\tb\t5"]}
    for content, keys, said in ((files, SPLITS, "2 of 4"), (plain, PLAIN, "2 of 5")):
        sentence = f"own.test.inter: {said} rows have no history, and are not asked for."
        assert sentence in made(content, **keys, model="SASRec").check()
        assert sentence not in made(content, **keys, model="BPR").check()


def test_a_plain_row_without_a_time_is_an_error(made: Made) -> None:
    files = {**PLAIN_FILES, "valid.inter": [HEADER, "u1\ta\t"]}
    with pytest.raises(SourceDataError, match=r"own\.valid\.inter, line 2: no time in 'timestamp'"):
        made(files, **PLAIN, model="SASRec").check()


@pytest.mark.parametrize("model", ["SASRec", "Pop"])
def test_every_file_is_made_a_table_once(made: Made, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    read: list[str] = []
    really = tables.read_atomic_table

    def noting(path: Path, *arguments: Any) -> Any:
        read.append(path.name)
        return really(path, *arguments)

    monkeypatch.setattr(tables, "read_atomic_table", noting)
    item = {"item": ["item_id:token\ttitle:token_seq", *(f"{item}\tthing" for item in "abcd")]}
    made({**split_files(), **item}, **{**SPLITS, "load_col": None}, model=model).check(text=True)
    assert sorted(read) == ["own.item", "own.test.inter", "own.train.inter", "own.valid.inter"]
    read.clear()
    made({"inter": [HEADER, "u1\ta\t1", "u1\tb\t2"]}, model=model).check()
    assert read == ["own.inter"]
