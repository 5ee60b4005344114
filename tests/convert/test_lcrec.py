"""Format ``lcrec``: which files are taken, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.convert import lcrec
from recbole_ext.errors import SourceDataError

PEN = {"title": "Pen", "brand": "BIC", "categories": "Office", "description": "Writes."}


def pair(folder: Path, inter: Any, item: Any, prefix: str = "Tiny") -> Path:
    folder.mkdir(exist_ok=True)
    for ending, content in ((".inter.json", inter), (".item.json", item)):
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{prefix}{ending}").write_text(text, "utf-8")
    return folder


def test_histories_become_rows_whose_timestamp_is_the_position(tmp_path: Path) -> None:
    data = lcrec.read(pair(tmp_path, {"b": [2, "1", 2], "a": [1]}, {"1": PEN, "2": PEN}), "Tiny")
    assert data.interactions.to_dict("list") == {
        "user_id": ["b", "b", "b", "a"],
        "item_id": ["2", "1", "2", "1"],
        "timestamp": [0, 1, 2, 0],
    }


def test_fields_come_in_the_documented_order_and_lists_null_and_absence_are_understood(
    tmp_path: Path,
) -> None:
    items = {"1": PEN, "2": {"title": None, "categories": ["Office", "", "Pens"], "other": "x"}}
    data = lcrec.read(pair(tmp_path, {"a": [1]}, items), "Tiny")
    assert list(data.items.columns) == ["title", "brand", "categories", "description"]
    assert list(data.items.loc["1"]) == ["Pen", "BIC", "Office", "Writes."]
    assert list(data.items.loc["2"]) == ["", "", "Office, Pens", ""]


def test_nan_is_no_text(tmp_path: Path) -> None:
    items = '{"1": {"title": "Pen", "brand": NaN, "categories": ["a", NaN]}, "2": {"title": NaN, "brand": "BIC"}}'
    data = lcrec.read(pair(tmp_path, {"a": [1]}, items), "Tiny")
    assert list(data.items.loc["1"]) == ["Pen", "", "a", ""]
    assert list(data.items.loc["2"]) == ["", "BIC", "", ""]


def test_fields_under_amazon_s_other_names_are_read_and_the_report_says_as_what(tmp_path: Path) -> None:
    items = {"1": {"title": "Mug", "store": "Acme", "category": ["Kitchen", "Cups"]}, "2": {"title": "Cup"}}
    data = lcrec.read(pair(tmp_path, {"a": [1]}, items), "Tiny")
    assert list(data.items.loc["1"]) == ["Mug", "Acme", "Kitchen, Cups", ""]
    assert data.read_as == {"store": "brand", "category": "categories"}
    assert data.not_read == {}


def test_a_field_s_own_name_goes_before_the_other_in_all_items_and_what_is_not_read_is_counted(tmp_path: Path) -> None:
    items = {"1": {**PEN, "store": "Acme", "price": 3}, "2": {"title": "Ink", "store": "Acme", "price": None}}
    data = lcrec.read(pair(tmp_path, {"a": [1]}, items), "Tiny")
    assert list(data.items["brand"]) == ["BIC", ""]
    assert data.read_as == {} and data.not_read == {"store": 2, "price": 1}


def test_first_of_two_descriptions_of_an_item_is_kept_and_the_other_counted(tmp_path: Path) -> None:
    items = '{"1": {"title": "first"}, "2": {"title": "other"}, "1": {"title": "second"}}'
    data = lcrec.read(pair(tmp_path, {"a": [1]}, items), "Tiny")
    assert data.items["title"].to_dict() == {"1": "first", "2": "other"}
    assert data.duplicate_items == 1


def test_user_with_an_empty_list_is_dropped_and_counted(tmp_path: Path) -> None:
    data = lcrec.read(pair(tmp_path, {"a": [1], "b": []}, {"1": PEN}), "Tiny")
    assert set(data.interactions["user_id"]) == {"a"}
    assert data.dropped == {"users with an empty list": 1}


def test_only_pair_is_taken_whatever_its_name_and_among_several_the_named_one(tmp_path: Path) -> None:
    pair(tmp_path, {"a": [1]}, {"1": PEN}, "Office")
    assert set(lcrec.read(tmp_path, "Tiny").interactions["user_id"]) == {"a"}
    pair(tmp_path, {"b": [1]}, {"1": PEN}, "Arts")
    assert set(lcrec.read(tmp_path, "Arts").interactions["user_id"]) == {"b"}
    with pytest.raises(SourceDataError, match=r"several datasets \(Arts, Office\) and none is called 'Tiny'"):
        lcrec.read(tmp_path, "Tiny")


def test_missing_folder_pair_or_half_of_it_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"absent doesn't exist"):
        lcrec.read(tmp_path / "absent", "Tiny")
    with pytest.raises(SourceDataError, match=r"holds no \*\.inter\.json and no \*\.item\.json"):
        lcrec.read(tmp_path, "Tiny")
    (tmp_path / "Tiny.inter.json").write_text("{}")
    with pytest.raises(SourceDataError, match=r"Tiny\.item\.json doesn't exist"):
        lcrec.read(tmp_path, "Tiny")
    with pytest.raises(SourceDataError, match=r"Tiny\.inter\.json is a file"):
        lcrec.read(tmp_path / "Tiny.inter.json", "Tiny")


GOOD_INTER, GOOD_ITEM = {"a": [1]}, {"1": PEN}


@pytest.mark.parametrize(
    ("inter", "item", "message"),
    [
        ("", GOOD_ITEM, r"Tiny\.inter\.json is empty"),
        (GOOD_INTER, "", r"Tiny\.item\.json is empty"),
        ('{"a": [1],\n"b" [2]}', GOOD_ITEM, r"Tiny\.inter\.json, line 2, column 5: not JSON"),
        (GOOD_INTER, '{"1": {"title": "x"}', r"Tiny\.item\.json, line 1, column \d+: not JSON"),
        ([["a", [1]]], GOOD_ITEM, r"Tiny\.inter\.json: a list at the top"),
        (GOOD_INTER, [PEN], r"Tiny\.item\.json: a list at the top"),
        ({}, GOOD_ITEM, r"Tiny\.inter\.json holds no interactions"),
        ({"a": []}, GOOD_ITEM, r"Tiny\.inter\.json holds no interactions"),
        (GOOD_INTER, {}, r"Tiny\.item\.json holds no items"),
        ({"a": "1 2"}, GOOD_ITEM, r"user 'a': the value \"1 2\" instead of a list"),
        ({"a": {"1": 2}}, GOOD_ITEM, r"user 'a': an object instead of a list"),
        ({"a": [1, None]}, GOOD_ITEM, r"user 'a': entry 2 is the value null"),
        ({"a": [1, True]}, GOOD_ITEM, r"user 'a': entry 2 is the value true"),
        ({"a": [1.5]}, GOOD_ITEM, r"user 'a': entry 1 is the value 1\.5"),
        ({"a": [[1]]}, GOOD_ITEM, r"user 'a': entry 1 is a list"),
        ('{"a": [1], "a": [2]}', GOOD_ITEM, r"user 'a': the user is there twice"),
        ({"a": [1, "[PAD]"]}, GOOD_ITEM, r"user 'a': RecBole keeps the id '\[PAD\]'"),
        ('{"a": [1, NaN]}', GOOD_ITEM, r"user 'a': entry 2 is the value null"),
        ({"a\tb": [1]}, GOOD_ITEM, r"RecBole can't read the id 'a\\tb' back"),
        ({"a": [""]}, GOOD_ITEM, r"user 'a': an empty id"),
        (GOOD_INTER, {"1\t2": PEN}, r"RecBole can't read the id '1\\t2' back"),
        (GOOD_INTER, {"1": "Pen"}, r"item '1': the value \"Pen\" instead of an object with title"),
        (GOOD_INTER, {"1": {"title": {"en": "Pen"}}}, r"item '1', 'title': an object instead of text"),
        ("[" * 100_000, GOOD_ITEM, r"Tiny\.inter\.json: nested too deeply"),
    ],
)
def test_malformed_pair_is_an_error_that_names_file_and_place(
    tmp_path: Path, inter: Any, item: Any, message: str
) -> None:
    with pytest.raises(SourceDataError, match=message):
        lcrec.read(pair(tmp_path, inter, item), "Tiny")


def test_text_that_is_not_utf_8_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    pair(tmp_path, GOOD_INTER, GOOD_ITEM)
    (tmp_path / "Tiny.item.json").write_bytes(b'{"1":\n {"title": "caf\xe9"}}')
    with pytest.raises(SourceDataError, match=r"Tiny\.item\.json, line 2: not UTF-8"):
        lcrec.read(tmp_path, "Tiny")
