"""Format ``csv``: quoting, order of time, what is dropped and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.convert import csv_tables
from recbole_ext.errors import SourceDataError

INTERACTIONS = "user_id,item_id,timestamp\nu1,i1,3\n"
DATED = "user_id,item_id,timestamp\nu1,i1,2014-01-01\n"
ITEMS = "item_id,title\ni1,Pen\n"


def tables(folder: Path, interactions: str | bytes = INTERACTIONS, items: str | bytes = ITEMS) -> Path:
    for name, content in (("interactions.csv", interactions), ("items.csv", items)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


def test_rows_are_put_in_the_order_of_time_and_ties_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = "rating,item_id,user_id,timestamp,other\n5,i1,u1,30,x\n4,i2,u1,10,x\n3,i3,u2,20.5,x\n2,i4,u1,10,x\n"
    data = csv_tables.read(tables(tmp_path, rows), "Tiny")
    assert data.interactions.reset_index(drop=True).to_dict("list") == {
        "user_id": ["u1", "u1", "u2", "u1"],
        "item_id": ["i2", "i4", "i3", "i1"],
        "timestamp": [10, 10, 20.5, 30],
        "rating": [4, 2, 3, 5],
    }


def test_quoted_commas_quotes_and_line_ends_are_part_of_the_text(tmp_path: Path) -> None:
    items = 'title,item_id,note\r\n"Pen, ""blue""\nfine",i1,5" wide\r\n\r\n,i2,""\r\n'
    data = csv_tables.read(tables(tmp_path, items=items), "Tiny")
    assert data.items.to_dict("index") == {
        "i1": {"title": 'Pen, "blue"\nfine', "note": '5" wide'},
        "i2": {"title": "", "note": ""},
    }


def test_byte_order_mark_spaces_around_ids_and_very_long_texts_are_understood(tmp_path: Path) -> None:
    items = f"\ufeffitem_id, title\n i1 ,{'x' * 200_000}\n"
    data = csv_tables.read(tables(tmp_path, items=items), "Tiny")
    assert data.items["title"].map(len).to_dict() == {"i1": 200_000}


def test_first_row_of_an_item_is_kept_and_further_ones_counted(tmp_path: Path) -> None:
    data = csv_tables.read(tables(tmp_path, items="item_id,title\ni1,first\ni2,b\ni1,second\n"), "Tiny")
    assert data.items["title"].to_dict() == {"i1": "first", "i2": "b"}
    assert data.duplicate_items == 1


def test_rows_without_user_or_item_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = "user_id,item_id,timestamp\nu1,i1,3\n,i1,4\n ,i1,4\nu1,,5\n"
    data = csv_tables.read(tables(tmp_path, rows), "Tiny")
    assert len(data.interactions) == 1
    assert data.dropped == {"interactions without a user": 2, "interactions without an item": 1}


def test_an_empty_rating_is_a_missing_one(tmp_path: Path) -> None:
    rows = "user_id,item_id,timestamp,rating\nu1,i1,3,5\nu1,i2,4,\nu1,i3,5, \n"
    ratings = csv_tables.read(tables(tmp_path, rows), "Tiny").interactions["rating"]
    assert ratings.fillna(-1).to_list() == [5, -1, -1]
    none = csv_tables.read(tables(tmp_path, "user_id,item_id,timestamp,rating\nu1,i1,3,\n"), "Tiny")
    assert list(none.interactions) == ["user_id", "item_id", "timestamp"]


def test_a_rating_that_is_no_number_is_refused_without_a_word_about_times(tmp_path: Path) -> None:
    with pytest.raises(
        SourceDataError, match=r"line 2, 'rating': 'good' isn't a number\. Leave it empty where"
    ) as error:
        csv_tables.read(tables(tmp_path, "user_id,item_id,timestamp,rating\nu1,i1,3,good\n"), "Tiny")
    assert "timestamp" not in str(error.value)


def test_many_simultaneous_interactions_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    items = [f"i{n}" for n in range(200)]
    rows = "user_id,item_id,timestamp\n" + "".join(f"u1,{item},{n % 2}\n" for n, item in enumerate(items))
    data = csv_tables.read(tables(tmp_path, rows), "Tiny")
    assert list(data.interactions["item_id"]) == items[::2] + items[1::2]


def test_columns_of_interactions_that_are_not_read_are_named_with_how_many_rows_they_have(tmp_path: Path) -> None:
    rows = "user_id,item_id,timestamp,session,price\nu1,i1,3,s1,2\nu1,i1,4,s1,2\n"
    assert csv_tables.read(tables(tmp_path, rows), "Tiny").not_read == {"session": 2, "price": 2}
    assert csv_tables.read(tables(tmp_path), "Tiny").not_read == {}


def test_ids_that_pandas_takes_for_missing_are_ids(tmp_path: Path) -> None:
    data = csv_tables.read(tables(tmp_path, INTERACTIONS + "NA,None,4\n"), "Tiny")
    assert list(data.interactions["user_id"]) == ["u1", "NA"]
    assert list(data.interactions["item_id"]) == ["i1", "None"]


@settings(deadline=None)  # writes files
@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)), st.sampled_from(["", "Z", "+02:00"])
)
def test_dates_become_the_seconds_that_they_are(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, zone: str
) -> None:
    rows = f"user_id,item_id,timestamp\nu1,i1,{moment.isoformat()}{zone}\n"
    data = csv_tables.read(tables(tmp_path_factory.getbasetemp(), rows), "Tiny")
    hours = 2 if zone.startswith("+") else 0
    expected = (moment - datetime(1970, 1, 1)) / timedelta(seconds=1) - 3600 * hours
    assert data.interactions["timestamp"].iloc[0] == pytest.approx(expected, abs=1e-5)


def test_days_order_rows_and_are_midnight_in_utc(tmp_path: Path) -> None:
    data = csv_tables.read(tables(tmp_path, DATED + "u1,i2,2013-12-31\n"), "Tiny")
    assert list(data.interactions["item_id"]) == ["i2", "i1"]
    assert list(data.interactions["timestamp"]) == [1388448000, 1388534400]


@pytest.mark.parametrize(
    ("interactions", "message"),
    [
        (b"", r"interactions\.csv is empty"),
        (
            "user_id,item_id\nu1,i1\n",
            r"interactions\.csv, line 1: no column timestamp among user_id, item_id",
        ),
        ("user_id,user_id,item_id,timestamp\n", r"line 1: a column name is there twice"),
        ("user_id,item_id,timestamp\n", r"interactions\.csv holds no interactions"),
        ("user_id,item_id,timestamp\n,,1\n", r"interactions\.csv holds no interactions"),
        (INTERACTIONS + "\nu1,i1\n", r"interactions\.csv, line 4: 2 fields, but the header names 3"),
        (INTERACTIONS + "u1,i1,3,4\n", r"interactions\.csv, line 3: 4 fields, but the header names 3"),
        (INTERACTIONS + "u1,i1,2014-01-01\n", r"line 3, 'timestamp': '2014-01-01' isn't a number.*same in every row"),
        (DATED + "u1,i2,881250949\n", r"line 3, 'timestamp': '881250949' isn't a date"),
        (DATED + "u1,i2,2014-13-01\n", r"line 3, 'timestamp': '2014-13-01' isn't a date"),
        (INTERACTIONS + "u1,i1,\n", r"line 3, 'timestamp': '' isn't a number"),
        (INTERACTIONS + "u1,i1,inf\n", r"line 3, 'timestamp': 'inf' isn't a number"),
        (INTERACTIONS + "[PAD],i1,3\n", r"interactions\.csv, line 3: RecBole keeps the id '\[PAD\]'"),
        (INTERACTIONS + '"u\n1",i1,3\n', r"interactions\.csv, line 4: RecBole can't read the id"),
        (INTERACTIONS.encode() + b"u1,\xff,3\n", r"interactions\.csv, line 3: not UTF-8"),
    ],
)
def test_malformed_interactions_are_an_error_that_names_file_and_line(
    tmp_path: Path, interactions: str | bytes, message: str
) -> None:
    with pytest.raises(SourceDataError, match=message):
        csv_tables.read(tables(tmp_path, interactions), "Tiny")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("title\nPen\n", r"items\.csv, line 1: no column item_id among title"),
        ("item_id,title\n", r"items\.csv has a header but no items"),
        ("item_id,a:b\n1,2\n", r"items\.csv, line 1: the column name 'a:b'"),
        ("item_id,\n1,2\n", r"items\.csv, line 1: column 2 has no name, as pandas writes row numbers.*index=False"),
        (ITEMS + ",Pencil\n", r"items\.csv, line 3: an empty id"),
        (ITEMS + 'i2,"Pencil\ni3,Rubber\n', r"items\.csv, line 4: unexpected end of data.*double the quote"),
        (ITEMS + 'i2,"Pencil\ni3,"Rubber"\n', r"items\.csv, line 4: .*double the quote"),
    ],
)
def test_malformed_items_are_an_error_that_names_file_and_line(tmp_path: Path, items: str, message: str) -> None:
    with pytest.raises(SourceDataError, match=message):
        csv_tables.read(tables(tmp_path, items=items), "Tiny")


def test_missing_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    tables(tmp_path)
    (tmp_path / "items.csv").unlink()
    with pytest.raises(SourceDataError, match=r"items\.csv doesn't exist"):
        csv_tables.read(tmp_path, "Tiny")
    (tmp_path / "interactions.csv").rename(tmp_path / "ratings.csv")
    way_out = r"Beside it there is ratings\.csv\. Check the name, or rename the file .* to interactions\.csv\.$"
    with pytest.raises(SourceDataError, match=way_out):
        csv_tables.read(tmp_path, "Tiny")
    with pytest.raises(SourceDataError, match=r"holds interactions\.csv and items\.csv"):
        csv_tables.read(tmp_path / "absent", "Tiny")
