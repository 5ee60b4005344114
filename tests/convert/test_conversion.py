"""The stage: what is written, what is counted, and that it is whole or absent."""

from __future__ import annotations

import dataclasses
import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.compat import read_atomic_table
from recbole_ext.convert import FORMATS, ConversionReport, convert, stage
from recbole_ext.convert.source import check_token
from recbole_ext.errors import ConfigurationError, RecboleExtError, SourceDataError
from recbole_ext.text import read_item_fields


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    inter = {"u1": [1, 2, 3], "u2": [4, 1, 2], "u3": []}
    items = {
        "2": {"title": '"Best" pens &amp;amp; <b>pencils</b>', "brand": "A\tB\nC", "categories": ["Office"]},
        "1": {"title": '"unbalanced', "description": "&nbsp;"},
        "3": {"title": "<br>", "brand": "\u00a0"},
        "9": {"title": "never bought"},
    }
    (folder / "x.inter.json").write_text(json.dumps(inter))
    (folder / "x.item.json").write_text(json.dumps(items))
    return folder


def test_atomic_files_hold_every_interaction_and_cleaned_text_of_every_described_item(
    source: Path, tmp_path: Path
) -> None:
    convert(source, "lcrec", "Tiny", tmp_path / "out")
    folder = tmp_path / "out" / "Tiny"
    assert sorted(path.name for path in folder.iterdir()) == [
        "Tiny.conversion.json",
        "Tiny.inter",
        "Tiny.item",
    ]
    assert (folder / "Tiny.inter").read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float",
        *("u1\t1\t0", "u1\t2\t1", "u1\t3\t2", "u2\t4\t0", "u2\t1\t1", "u2\t2\t2"),
    ]
    assert (folder / "Tiny.item").read_text().splitlines() == [
        "item_id:token\ttitle:token_seq\tbrand:token_seq\tcategories:token_seq\tdescription:token_seq",
        '2\t"Best" pens & pencils\tA B C\tOffice\t',
        '1\t"unbalanced\t\t\t',
        "3\t\t\t\t",
        "9\tnever bought\t\t\t",
    ]
    assert list(read_item_fields(folder / "Tiny.item")["title"])[:2] == [
        '"Best" pens & pencils',
        '"unbalanced',
    ]


def test_report_counts_repeats_and_says_what_they_change(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    rows = ["u,1,1", "u,1,1", "u,1,2", "v,1,1", "v,2,3"]
    (source / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (source / "items.csv").write_text("item_id,title\n1,a\n2,b\n")
    report = convert(source, "csv", "Own", tmp_path / "out")
    assert (report.repeats, report.exact_repeats) == (2, 1)
    said = next(line for line in report.lines() if "repeat" in line)
    assert "2 (1 of them the same row again)" in said and "rank_seen_items" in said and "rm_dup_inter: first" in said


def test_report_says_where_times_can_not_be_seconds(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "items.csv").write_text("item_id,title\n1,a\n")
    for unit, is_said in ((1, False), (1000, True)):
        rows = [f"u{user},1,{(1_600_000_000 + user) * unit}" for user in range(3)]
        (source / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
        report = convert(source, "csv", "Own", tmp_path / "out")
        assert report.not_in_seconds is is_said
        assert ("divide them in the source by 1000" in "\n".join(report.lines())) is is_said


def test_report_counts_what_was_kept_and_dropped_and_says_it_in_words(source: Path, tmp_path: Path) -> None:
    report = convert(source, "lcrec", "Tiny", tmp_path / "out")
    assert report == ConversionReport(
        name="Tiny",
        format="lcrec",
        users=2,
        items=4,
        interactions=6,
        described_items=4,
        items_without_text=2,
        items_without_row=1,
        items_without_interaction=1,
        duplicate_items=0,
        empty_fields={"title": 1, "brand": 3, "categories": 3, "description": 4},
        cleaned_fields=report.cleaned_fields,
        dropped={"users with an empty list": 1},
    )
    written = json.loads((tmp_path / "out/Tiny/Tiny.conversion.json").read_text())
    assert written == dataclasses.asdict(report)
    words = "\n".join(report.lines())
    assert "2 users, 4 items, 6 interactions" in words
    assert "items without text: 2 (1 without a description, 1 with an empty one)" in words
    assert "dropped: 1 users with an empty list" in words


def test_report_says_when_nothing_was_dropped_and_names_further_descriptions() -> None:
    report = ConversionReport("Tiny", "csv", 1, 1, 1, 1)
    assert report.lines()[-1] == "dropped: nothing"
    assert "dropped: 3 further descriptions" in "\n".join(dataclasses.replace(report, duplicate_items=3).lines())


def test_report_counts_the_texts_that_cleaning_changed(tmp_path: Path) -> None:
    (tmp_path / "x.inter.json").write_text('{"u": [1, 2]}')
    (tmp_path / "x.item.json").write_text('{"1": {"title": "Red\\tmug", "brand": "A &amp; B"}, "2": {"title": "Cup"}}')
    report = convert(tmp_path, "lcrec", "Tiny", tmp_path / "out")
    assert {name: count for name, count in report.cleaned_fields.items() if count} == {"title": 1, "brand": 1}
    assert "cleaned of HTML, control characters and surplus space: title 1, brand 1" in report.lines()


def test_report_names_what_was_read_under_another_name_and_what_was_not(tmp_path: Path) -> None:
    (tmp_path / "x.inter.json").write_text('{"u": [1, 2]}')
    (tmp_path / "x.item.json").write_text('{"1": {"title": "Mug", "store": "Acme", "price": 3}, "2": {"price": 4}}')
    report = convert(tmp_path, "lcrec", "Tiny", tmp_path / "out")
    assert {"read: store as brand", "not read: the fields price (2)"} <= set(report.lines())
    assert "Acme" in (tmp_path / "out/Tiny/Tiny.item").read_text()


def test_numbers_are_written_so_that_they_are_read_back_exactly(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,timestamp,rating\nu,i,881250949,5\nu,j,1700000000123,0.1\nu,k,9e20,-2.50\n"
    )
    (tmp_path / "items.csv").write_text("item_id,title\ni,Pen\n")
    convert(tmp_path, "csv", "Tiny", tmp_path / "out")
    assert (tmp_path / "out/Tiny/Tiny.inter").read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float\trating:float",
        *("u\ti\t881250949\t5", "u\tj\t1700000000123\t0.1", "u\tk\t900000000000000000000\t-2.5"),
    ]


def test_unknown_format_and_impossible_name_are_errors_that_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No source format 'xml'. There are: lcrec, csv"):
        convert(tmp_path, "xml", "Tiny", tmp_path / "out")
    for name in ("", ".", "..", "a/b", "../x", "a b", "-x"):
        with pytest.raises(ConfigurationError, match="can't name a dataset"):
            convert(tmp_path, "lcrec", name, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="'ml-100k' always means the dataset in RecBole's wheel"):
        convert(tmp_path, "lcrec", "ml-100k", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert all(format.source_is for format in FORMATS.values())


def test_malformed_source_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x.inter.json").write_text('{"u": [1]}')
    (tmp_path / "x.item.json").write_text('{"1": 5}')
    with pytest.raises(SourceDataError):
        convert(tmp_path, "lcrec", "Tiny", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def fail_on_second_table(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    write, calls = stage._write_table, []

    def failing(path: Path, *arguments: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_text("half a row")
            raise error
        write(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "_write_table", failing)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_failure_while_writing_leaves_no_new_folder(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    fail_on_second_table(monkeypatch, error)
    with pytest.raises((RecboleExtError, KeyboardInterrupt)):
        convert(source, "lcrec", "Tiny", tmp_path / "out")
    assert not (tmp_path / "out" / "Tiny").exists()


def test_full_disk_is_an_error_in_words_and_leaves_what_was_there_unchanged(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(source, "lcrec", "Tiny", tmp_path / "out")
    folder = tmp_path / "out" / "Tiny"
    (folder / "Tiny.kg").write_text("not ours")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (source / "x.inter.json").write_text('{"other": [1, 2]}')
    fail_on_second_table(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(RecboleExtError, match=r"Tiny can't be written: No space left.*choose another --out"):
        convert(source, "lcrec", "Tiny", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    convert(source, "lcrec", "Tiny", tmp_path / "out")
    assert "other" in (folder / "Tiny.inter").read_text()
    assert (folder / "Tiny.kg").read_text() == "not ours"


def test_unwritable_target_is_an_error_in_words(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(RecboleExtError, match="can't be written"):
        convert(source, "lcrec", "Tiny", tmp_path / "out")


def test_kill_during_a_write_leaves_no_file_under_its_name_and_the_next_call_succeeds(
    source: Path, tmp_path: Path
) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from recbole_ext.convert import convert, stage
write = stage._write_table
def killed(path, header, rows):
    rows = list(rows)
    write(path, header, rows[:2])
    if path.name.startswith(".Tiny.item"):
        os.kill(os.getpid(), signal.SIGKILL)
stage._write_table = killed
convert(Path(sys.argv[1]), "lcrec", "Tiny", Path(sys.argv[2]))
"""
    killed = subprocess.run([sys.executable, "-c", script, str(source), str(tmp_path / "out")], check=False)
    assert killed.returncode == -9
    folder = tmp_path / "out" / "Tiny"
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".tmp")] == []
    assert convert(source, "lcrec", "Tiny", tmp_path / "out").interactions == 6
    assert (folder / "Tiny.inter").read_text().count("\n") == 7


def as_recbole_reads(token: str, path: Path) -> object:
    """The token after RecBole's way of reading an atomic file, as this package makes it."""
    path.write_bytes(f"item_id:token\tx:token\n{token}\tx\n".encode("utf-8", "surrogatepass"))
    try:
        frame = read_atomic_table(path, "\t", {"item_id:token": str, "x:token": str})
    except Exception:
        return None
    return frame["item_id:token"].iloc[0] if len(frame) == 1 else None


_AWKWARD = [
    "",
    "NA",
    "null",
    "None",
    "nan",
    "N/A",
    "<NA>",
    "-nan",
    '"',
    '""',
    '"a"',
    'a"b',
    "a,b",
    "#1",
    "007",
    "1.0",
]
_AWKWARD += ["a b", " a", "a ", "a\tb", "a\nb", "a\rb", "[PAD]", "\u2028", "é", "\x00"]


@settings(deadline=None)  # writes files
@given(st.one_of(st.sampled_from(_AWKWARD), st.text(max_size=8)))
def test_every_accepted_token_survives_recboles_reader(tmp_path_factory: pytest.TempPathFactory, token: str) -> None:
    try:
        check_token(token, "here")
    except SourceDataError:
        return
    assert as_recbole_reads(token, tmp_path_factory.getbasetemp() / "token.item") == token


@pytest.mark.parametrize("token", ["007", "a b", 'a"b', '"a"', "a,b", "#1", "1.0", "é", "B00X_4-7", "0", "NA", "None"])
def test_ordinary_tokens_are_accepted(token: str) -> None:
    check_token(token, "here")


@pytest.mark.parametrize("token", ["", " a", "a ", "a\tb", "a\nb", "[PAD]", "a\u2028b", "\ud800"])
def test_tokens_that_recbole_would_lose_are_refused_by_name(token: str) -> None:
    with pytest.raises(SourceDataError, match="^here: "):
        check_token(token, "here")
