"""One file: what of it is read as it is written, and what RecBole can't read, which is named with its line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.data.dataset import Dataset
from recbole_ext.data.loaded import Loaded
from recbole_ext.data.stock import stock_dataset
from recbole_ext.errors import ConfigurationError, SourceDataError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
ROWS = ["u1\ta\t1", "u1\tb\t2", "u2\tb\t1", "u2\ta\t2"]
Made = Callable[..., Dataset]


# -- what is read as it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("last", [True, False])
def test_byte_order_marks_line_ends_and_blank_lines_change_nothing(
    made: Made, mark: bytes, end: bytes, last: bool
) -> None:
    content = mark + end.join(line.encode() for line in [HEADER, *ROWS]) + (end if last else b"")
    dataset = made({"inter": content})
    assert dataset.check() == []
    assert [list(history) for history in dataset.training_histories()] == [["a", "b"], ["b", "a"]]


# Whatever an atomic file can hold. "[PAD]" is RecBole's.
ids = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r\0"), min_size=1, max_size=6).filter(
    lambda text: text != "[PAD]" and not text.startswith("\ufeff")
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["NA", "None", "null", "nan", "N/A", '"a', "'", "1", "01", "1.0", " "]) | ids, min_size=2)
)
def test_every_id_is_kept_as_it_is_written_and_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "ids"
    folder.mkdir(exist_ok=True)
    rows = [f"{user}\t{item}\t{time}" for time, (user, item) in enumerate(zip(tokens, reversed(tokens), strict=True))]
    (folder / "ids.inter").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8", newline="\n")
    dataset = Dataset("ids", folder.parent)
    assert not [sentence for sentence in dataset.check() if "single row" not in sentence]
    read = stock_dataset("ids", folder, dataset.effective_keys)
    for field, expected in (("user_id", tokens), ("item_id", list(reversed(tokens)))):
        assert list(read.id2token(field, read.inter_feat[field].to_numpy())) == expected


def test_another_encoding_is_read_where_the_key_names_it(made: Made) -> None:
    rows = [HEADER, "u1\tcafé\t1", "u1\tb\t2"]
    dataset = made({"inter": "\n".join(rows).encode("latin-1")}, encoding="latin-1")
    assert dataset.check() == []
    assert list(dataset.training_histories()[0]) == ["café", "b"]


# -- what can't be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["user_id\titem_id\ttimestamp", *ROWS], r"line 1: the header column 'user_id' has no type"),
        (["user_id:token\titem_id:id\ttimestamp:float"], r"line 1: the header column 'item_id:id' has no type"),
        ([HEADER.replace("\t", ","), "u,a,1"], r"line 1: .*separated by commas, and tabs .*field_separator: \",\""),
        ([HEADER.replace("\t", " "), "u a 1"], r"line 1: .*separated by spaces, and tabs .*field_separator: \" \""),
        (["user_id,item_id,timestamp", "u,a,1"], r"line 1: .*separated by commas"),
        ([HEADER.replace("item_id", "user_id")], r"line 1: the header names 'user_id' twice"),
        (
            [HEADER.replace("item_id:token", "item_id:float")],
            r"line 1: the column 'item_id', .*declared float.*item_id:token",
        ),
        ([HEADER.replace("user_id:token", "user_id:token_seq")], r"line 1: the column 'user_id'.*declared token_seq"),
        (
            [HEADER.replace("timestamp:float", "timestamp:token")],
            r"line 1: the column 'timestamp', .*declared token.*:float",
        ),
        ([HEADER.removesuffix("\ttimestamp:float"), "u\ta"], r"line 1: no column 'timestamp'.*TIME_FIELD.*order RO"),
        (
            [HEADER.replace("item_id", "sku"), *ROWS],
            r"line 1: no column 'item_id', .*there are user_id, sku.*ITEM_ID_FIELD",
        ),
        ([HEADER.replace("item_id", "itemid"), *ROWS], r"Did you mean 'itemid'"),
        ([HEADER], r"a header but no rows"),
        ([HEADER, *ROWS, "u3\ta"], r"line 6: 2 fields, but the header names 3"),
        ([HEADER, "", *ROWS, "u3\ta\t1\t5"], r"line 7: 4 fields, but the header names 3"),
        ([HEADER, *ROWS, "\ta\t1"], r"line 6: 'user_id' is empty"),
        ([HEADER, *ROWS, "", "u3\t\t1"], r"line 7: 'item_id' is empty"),
        ([HEADER, *ROWS, "u3\t[PAD]\t1"], r"line 6: RecBole keeps '\[PAD\]'"),
        ([HEADER, *ROWS, "u3\ta\t"], r"line 6: no time in 'timestamp'"),
        ([HEADER, *ROWS, "u3\ta\tNA"], r"line 6: no time in 'timestamp'"),
        ([HEADER, *ROWS, "u3\ta\tinf"], r"line 6: no time in 'timestamp'"),
        ([HEADER, *ROWS, "u3\ta\t2014-01-01"], r"line 6: '2014-01-01' is no number.*'timestamp'"),
        ([HEADER, *ROWS, "u3\ta\rb\t1"], r"line 6: a zero byte or a carriage return"),
        ([HEADER, *ROWS, "u3\ta\0b\t1"], r"line 6: a zero byte or a carriage return"),
    ],
)
def test_interactions_that_recbole_can_t_read_are_an_error_with_file_and_line(
    made: Made, lines: list[str], message: str
) -> None:
    with pytest.raises(SourceDataError, match=rf"own\.inter.*{message}"):
        made({"inter": lines}).check()


def test_text_that_is_not_utf_8_is_an_error_with_its_line(made: Made) -> None:
    content = "\n".join([HEADER, *ROWS, "u3\tcafé\t1", ""])
    with pytest.raises(SourceDataError, match=r"own\.inter, line 6: not UTF-8"):
        made({"inter": content.encode("latin-1")}).check()
    with pytest.raises(ConfigurationError, match="encoding: 'utf-16' is none"):
        made({"inter": content.encode("utf-16")}, encoding="utf-16").check()


def test_the_line_is_right_far_into_a_large_file(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_ext.data.tables._BLOCK", 100)
    rows = [f"u{number}\ta\t{number}" for number in range(50)]
    with pytest.raises(SourceDataError, match="line 52: 2 fields"):
        made({"inter": [HEADER, *rows, "u\ta"]}).check()
    with pytest.raises(SourceDataError, match="line 52: not UTF-8"):
        made({"inter": "\n".join([HEADER, *rows, "é"]).encode("latin-1")}).check()


def test_a_column_that_load_col_names_must_be_there(made: Made) -> None:
    keys = {"load_col": {"inter": ["user_id", "item_id", "timestamp", "rate"]}}
    rows = [f"{row}\t5" for row in ROWS]
    with pytest.raises(SourceDataError, match=r"no column 'rate', which load_col names.*Did you mean 'rating'"):
        made({"inter": [f"{HEADER}\trating:float", *rows]}, **keys).check()


@pytest.mark.parametrize(
    ("keys", "loaded"),
    [
        ({}, ["user_id", "item_id", "timestamp"]),
        ({"load_col": None}, ["user_id", "item_id", "timestamp", "v"]),
        ({"load_col": {"inter": "*"}, "unload_col": {"item": ["v"]}}, ["user_id", "item_id", "timestamp", "v"]),
        ({"load_col": None, "unload_col": {"inter": ["v"]}}, ["user_id", "item_id", "timestamp"]),
        ({"load_col": {"item": ["item_id"]}}, []),
    ],
)
def test_what_is_loaded_of_a_file_is_what_load_col_and_unload_col_leave(
    made: Made, keys: dict[str, object], loaded: list[str]
) -> None:
    dataset = made({"inter": [f"\ufeff{HEADER}\tv:float_seq", *(f"{row}\t1 2" for row in ROWS)]}, **keys)
    assert list(Loaded.of(dataset.folder / "own.inter", dataset.effective_keys).types) == loaded


def test_a_vector_that_holds_no_number_is_an_error_with_its_line(made: Made) -> None:
    rows = [f"{HEADER}\tv:float_seq", "u1\ta\t1\t1 2", "u1\tb\t2\t1|2"]
    with pytest.raises(SourceDataError, match=r"own\.inter, line 3: '1\|2' in column 'v' is no sequence of numbers"):
        made({"inter": rows}, load_col=None).check()
    assert made({}, load_col=None, unload_col={"inter": ["v"]}).check() == []
