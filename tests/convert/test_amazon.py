"""Formats ``amazon2014``, ``amazon2018``, ``amazon2023``: what is kept, what is counted, what is refused."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.convert import FORMATS, SourceData, convert
from recbole_ext.errors import SourceDataError
from recbole_ext.text import clean, read_item_fields

RELEASES = ("amazon2014", "amazon2018", "amazon2023")
FILES = {
    "amazon2014": ("reviews_Pens_5.json.gz", "meta_Pens.json.gz"),
    "amazon2018": ("Pens_5.json.gz", "meta_Pens.json.gz"),
    "amazon2023": ("Pens.jsonl.gz", "meta_Pens.jsonl.gz"),
}
DAY = 1_400_000_000


def review(release: str, user: Any, item: Any, time: Any = DAY, rating: Any = 5.0, **other: Any) -> str:
    """A line as the release has it; ``time`` is in seconds. ``None`` leaves a field out."""
    if release == "amazon2023":
        time = time * 1000 if isinstance(time, int) else time
        fields = {"rating": rating, "asin": "VARIANT", "parent_asin": item, "user_id": user, "timestamp": time}
    else:
        fields = {"overall": rating, "reviewerID": user, "asin": item, "unixReviewTime": time}
    return json.dumps({key: value for key, value in (fields | other).items() if value is not None})


def description(release: str, item: str, **text: Any) -> str:
    if release == "amazon2014":
        return repr({"asin": item, **text})
    names = {"amazon2018": {"categories": "category"}, "amazon2023": {"brand": "store"}}[release]
    key = "parent_asin" if release == "amazon2023" else "asin"
    return json.dumps({key: item, **{names.get(name, name): value for name, value in text.items()}})


def compressed(lines: Iterable[str | bytes]) -> bytes:
    content = b"".join((line if isinstance(line, bytes) else line.encode("utf-8")) + b"\n" for line in lines)
    # No time stamp: xdist's workers name parametrized tests by these bytes and must name them alike.
    return gzip.compress(content, compresslevel=1, mtime=0)


def folder(
    path: Path, release: str, reviews: Iterable[str | bytes], metadata: Iterable[str | bytes] | None = None
) -> Path:
    for name, lines in zip(FILES[release], (reviews, metadata), strict=True):
        if lines is not None:
            (path / name).write_bytes(compressed(lines))
    return path


def read(source: Path, release: str) -> SourceData:
    return FORMATS[release].read(source, "Pens")


def rows(data: SourceData) -> list[tuple[Any, ...]]:
    return list(data.interactions.itertuples(index=False, name=None))


@pytest.mark.parametrize("release", RELEASES)
def test_reviews_come_in_the_order_of_time_and_the_same_day_in_the_order_of_the_file(
    tmp_path: Path, release: str
) -> None:
    lines = [
        review(release, "u1", "i9", DAY + 5, 4.0),
        review(release, "u1", "i3", DAY, 1),
        review(release, "u2", "i3", DAY + 9, "2.0", verified=True),
        review(release, "u1", "i1", DAY),
        "",
        review(release, "u1", "i2", DAY),
    ]
    data = read(folder(tmp_path, release, lines), release)
    assert rows(data) == [
        ("u1", "i3", DAY, 1),
        ("u1", "i1", DAY, 5),
        ("u1", "i2", DAY, 5),
        ("u1", "i9", DAY + 5, 4),
        ("u2", "i3", DAY + 9, 2),
    ]
    assert data.dropped == {}
    assert data.items.empty
    assert list(data.items.columns) == ["title", "brand", "categories", "description"]


def test_many_reviews_of_one_day_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    items = [f"i{n * 7 % 200}" for n in range(200)]
    lines = [review("amazon2014", f"u{n % 3}", item, DAY + n % 2) for n, item in enumerate(items)]
    data = read(folder(tmp_path, "amazon2014", lines), "amazon2014")
    assert list(data.interactions["item_id"]) == items[::2] + items[1::2]


def test_milliseconds_become_seconds_and_the_item_is_the_parent(tmp_path: Path) -> None:
    line = '{"user_id": "u", "asin": "VARIANT", "parent_asin": "i", "timestamp": 1677939345945, "rating": 5}'
    data = read(folder(tmp_path, "amazon2023", [line]), "amazon2023")
    assert rows(data) == [("u", "i", 1677939345.945, 5)]


@pytest.mark.parametrize("release", RELEASES)
def test_exact_duplicates_are_kept_once_and_repeated_purchases_all(tmp_path: Path, release: str) -> None:
    lines = [
        review(release, "u", "i", DAY + 1, 3),
        review(release, "u", "j", DAY),
        review(release, "u", "i", DAY + 1, 4),
        review(release, "u", "i", DAY),
        review(release, "v", "i", DAY + 1),
        review(release, "u", "i", DAY + 1, 3),
    ]
    data = read(folder(tmp_path, release, lines), release)
    assert rows(data) == [
        ("u", "j", DAY, 5),
        ("u", "i", DAY, 5),
        ("u", "i", DAY + 1, 3),
        ("v", "i", DAY + 1, 5),
    ]
    assert data.dropped == {"repeated reviews (same user, item and time)": 2}


@pytest.mark.parametrize("release", RELEASES)
def test_ugly_metadata_becomes_clean_text(tmp_path: Path, release: str) -> None:
    items = ("quotes", "lists", "nulls", "bare", "number")
    metadata = [
        description(release, "quotes", title='"Best"\tpens &amp;amp; it\'s <b>ink</b>\n', brand="A\u00a0B", price=3),
        description(
            release,
            "lists",
            categories=[["Office &amp; School", "Pens"], ["Office &amp; School", None, "", "Ink"], []],
            description=["Writes.", "", ["<p>Well.</p>"]],
        ),
        description(release, "nulls", title=None, brand=None, categories=None, description=[]),
        description(release, "bare"),
        description(release, "number", title=1984, brand="", categories=["Books"], description="\ud83d"),
    ]
    data = read(folder(tmp_path, release, [review(release, "u", item) for item in items], metadata), release)
    assert {item: list(row) for item, row in data.items.iterrows()} == {
        "quotes": ['"Best" pens & it\'s ink', "A B", "", ""],
        "lists": ["", "", "Office & School, Pens, Ink", "Writes. Well."],
        "nulls": ["", "", "", ""],
        "bare": ["", "", "", ""],
        "number": ["1984", "", "Books", ""],
    }
    assert data.dropped == {}


@pytest.mark.parametrize("release", RELEASES)
def test_metadata_is_written_for_reviewed_items_only_and_the_rest_counted(tmp_path: Path, release: str) -> None:
    (tmp_path / "source").mkdir()
    source = folder(
        tmp_path / "source",
        release,
        [review(release, "u", "i1"), review(release, "u", "i2"), "{", review(release, "u", "i1")],
        [
            description(release, "i9", title="never reviewed"),
            description(release, "i1", title="first"),
            description(release, "i1", title="second"),
            "nonsense",
        ],
    )
    report = convert(source, release, "Pens", tmp_path / "out")
    assert (report.users, report.items, report.interactions, report.described_items) == (1, 2, 2, 1)
    assert (report.items_without_row, report.items_without_interaction, report.duplicate_items) == (1, 0, 1)
    assert report.dropped == {
        f"malformed lines of {FILES[release][0]}": 1,
        "repeated reviews (same user, item and time)": 1,
        "descriptions of items without a review": 1,
        f"malformed lines of {FILES[release][1]}": 1,
    }
    assert (tmp_path / "out/Pens/Pens.inter").read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float\trating:float",
        f"u\ti1\t{DAY}\t5",
        f"u\ti2\t{DAY}\t5",
    ]
    assert read_item_fields(tmp_path / "out/Pens/Pens.item")["title"].to_dict() == {"i1": "first"}


def test_missing_rating_is_an_empty_field_and_no_rating_at_all_no_column(tmp_path: Path) -> None:
    release = "amazon2018"
    lines = [review(release, "u", "i", rating=None), review(release, "u", "j", rating=4.5)]
    convert(folder(tmp_path, release, lines), release, "Pens", tmp_path / "out")
    assert (tmp_path / "out/Pens/Pens.inter").read_text().splitlines()[1:] == [f"u\ti\t{DAY}\t", f"u\tj\t{DAY}\t4.5"]
    convert(folder(tmp_path, release, lines[:1]), release, "Pens", tmp_path / "out")
    assert (tmp_path / "out/Pens/Pens.inter").read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float",
        f"u\ti\t{DAY}",
    ]


def test_unpacked_files_and_json_metadata_of_2014_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "reviews_Pens.json").write_text(review("amazon2014", "u", "i"))
    (tmp_path / "meta_Pens.json").write_text('{"asin": "i", "title": null, "brand": "BIC"}')
    assert read(tmp_path, "amazon2014").items["brand"].to_dict() == {"i": "BIC"}


def test_json_as_careless_programs_write_it_is_understood(tmp_path: Path) -> None:
    lines = ['{"user_id": "u", "parent_asin": "i", "timestamp": 1000, "rating": NaN}\r']
    metadata = ['{"parent_asin": "i", "title": "a raw\ttab", "store": NaN}']
    data = read(folder(tmp_path, "amazon2023", lines, metadata), "amazon2023")
    assert rows(data) == [("u", "i", 1)]
    assert list(data.items.loc["i"]) == ["a raw tab", "", "", ""]


def test_metadata_is_never_evaluated(tmp_path: Path) -> None:
    attack = f"{{'asin': 'i', 'title': open({str(tmp_path / 'pwned')!r}, 'w')}}"
    metadata = [attack, description("amazon2014", "i", title="Pen")]
    data = read(folder(tmp_path, "amazon2014", [review("amazon2014", "u", "i")], metadata), "amazon2014")
    assert not (tmp_path / "pwned").exists()
    assert data.items["title"].to_dict() == {"i": "Pen"}
    assert data.dropped == {"malformed lines of meta_Pens.json.gz": 1}


def test_title_that_is_a_piece_of_the_pages_script_is_left_out(tmp_path: Path) -> None:
    metadata = [description("amazon2018", "i", title="var aPageStart = (new Date()).getTime();", brand="BIC")]
    data = read(folder(tmp_path, "amazon2018", [review("amazon2018", "u", "i")], metadata), "amazon2018")
    assert list(data.items.loc["i"]) == ["", "BIC", "", ""]


MALFORMED: dict[str, str | bytes] = {
    "not JSON": "{oops",
    "column 27: not JSON (Expecting ':' delimiter)": '{"reviewerID": "u", "asin"',
    "not UTF-8": review("amazon2018", "u", "i").encode().replace(b'"u"', b'"caf\xe9"'),
    "not an object": "[1, 2]",
    "no 'reviewerID'": review("amazon2018", None, "i"),
    "no 'asin'": review("amazon2018", "u", ""),
    "no 'unixReviewTime'": review("amazon2018", "u", "i", time=None),
    "'unixReviewTime': '03 11, 2014' isn't a number": review("amazon2018", "u", "i", time="03 11, 2014"),
    "'unixReviewTime': 'True' isn't a number": review("amazon2018", "u", "i", time=True),
    "'unixReviewTime': '1e999' isn't a number": review("amazon2018", "u", "i", time="1e999"),
    "'overall': 'five' isn't a number": review("amazon2018", "u", "i", rating="five"),
    "'overall': '[5]' isn't a number": review("amazon2018", "u", "i", rating=[5]),
    "'reviewerID': RecBole keeps the id '[PAD]'": review("amazon2018", "[PAD]", "i"),
    "'asin': RecBole can't read the id": review("amazon2018", "u", "i\t1"),
    "nested too deeply": "[" * 100_000,
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_malformed_review_is_counted_and_the_first_one_logged_with_its_reason(
    tmp_path: Path, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = review("amazon2018", "u", "i")
    data = read(folder(tmp_path, "amazon2018", [good, MALFORMED[reason], "{"]), "amazon2018")
    assert rows(data) == [("u", "i", DAY, 5)]
    assert data.dropped == {"malformed lines of Pens_5.json.gz": 2}
    assert "Pens_5.json.gz: 2 of 3 lines are malformed, the first of them line 2, " in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "{'asin': }",
        "{'asin': " + "[" * 5000,
        "{'asin': " + "-" * 100_000 + "1}",
        "{[]: 1}",
        "{'asin': 'i', 'title': {1: 2}}",
        "{\0}",
        "1",
    ],
)
def test_malformed_metadata_of_2014_is_counted(tmp_path: Path, line: str) -> None:
    metadata = [line, description("amazon2014", "i", title="Pen")]
    data = read(folder(tmp_path, "amazon2014", [review("amazon2014", "u", "i")], metadata), "amazon2014")
    assert data.items["title"].to_dict() == {"i": "Pen"}
    assert data.dropped == {"malformed lines of meta_Pens.json.gz": 1}


@pytest.mark.parametrize(("bad", "good", "fatal"), [(10, 1, False), (11, 1, True), (11, 1089, False), (11, 1088, True)])
def test_malformed_lines_are_fatal_when_they_are_more_than_ten_and_more_than_one_per_cent(
    tmp_path: Path, bad: int, good: int, fatal: bool
) -> None:
    lines = [review("amazon2018", "u", f"i{n}") for n in range(good)]
    source = folder(tmp_path, "amazon2018", lines[:1] + ["{"] * bad + lines[1:])
    if fatal:
        message = (
            rf"Pens_5\.json\.gz: {bad} of {bad + good:,} lines are malformed, the first of them line 2, column 2: not"
        )
        with pytest.raises(SourceDataError, match=message):
            read(source, "amazon2018")
    else:
        assert len(read(source, "amazon2018").interactions) == good


def test_file_of_another_format_is_given_up_early(tmp_path: Path) -> None:
    lines = [review("amazon2018", "u", "i")] * 5000
    (tmp_path / "x.jsonl.gz").write_bytes(compressed(lines))
    with pytest.raises(SourceDataError, match=r"1,000 of 1,000 lines .*no 'user_id'\. Check that --format"):
        read(tmp_path, "amazon2023")


def test_download_that_was_cut_off_is_an_error_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = compressed([review("amazon2018", f"u{n}", os.urandom(8).hex()) for n in range(500)])
    for size in (len(whole) - 1, len(whole) // 2, 5):
        (tmp_path / "Pens.json.gz").write_bytes(whole[:size])
        with pytest.raises(SourceDataError, match=r"Pens\.json\.gz ends in the middle"):
            read(tmp_path, "amazon2018")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"Pens\.json\.gz is empty"),
        (compressed([]), r"Pens\.json\.gz holds no reviews"),
        (compressed(["{", ""]), r"Pens\.json\.gz holds no reviews"),
        (b'{"reviewerID": "u"}', r"Pens\.json\.gz can't be read: Not a gzipped file"),
        (compressed([])[:10] + b"\xff" * 20, r"Pens\.json\.gz is damaged \(.*\)\. Get it again"),
    ],
)
def test_file_without_usable_content_is_an_error_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "Pens.json.gz").write_bytes(content)
    with pytest.raises(SourceDataError, match=message):
        read(tmp_path, "amazon2018")


@pytest.mark.parametrize("release", RELEASES)
def test_missing_or_several_files_are_an_error_that_names_them(tmp_path: Path, release: str) -> None:
    with pytest.raises(SourceDataError, match=r"absent doesn't exist"):
        read(tmp_path / "absent", release)
    name, metadata_name = FILES[release]
    (tmp_path / metadata_name).write_bytes(compressed([]))
    with pytest.raises(SourceDataError, match=r"holds no file of reviews. SOURCE is the folder that holds one"):
        read(tmp_path, release)
    folder(tmp_path, release, [review(release, "u", "i")])
    (tmp_path / metadata_name.replace("Pens", "Ink")).write_bytes(compressed([]))
    with pytest.raises(SourceDataError, match=r"more than one file of metadata \(meta_Ink.*, meta_Pens"):
        read(tmp_path, release)
    (tmp_path / name.replace("Pens", "Ink")).write_bytes(compressed([]))
    with pytest.raises(SourceDataError, match=r"more than one file of reviews \(.*Ink.*, .*Pens.*\).*move the others"):
        read(tmp_path, release)


@pytest.mark.parametrize("release", RELEASES)
def test_metadata_of_another_category_is_an_error(tmp_path: Path, release: str) -> None:
    source = folder(tmp_path, release, [review(release, "u", "i")], [description(release, "j", title="Pen")])
    with pytest.raises(SourceDataError, match=r"meta_Pens.* describes none of the items that were reviewed"):
        read(source, release)


@given(
    release=st.sampled_from(RELEASES),
    histories=st.lists(
        st.tuples(
            st.sampled_from(["u1", "u2", "u3"]),
            st.sampled_from(["i1", "i2", "i3"]),
            st.integers(DAY, DAY + 4),
            st.integers(1, 5),
        ),
        min_size=1,
    ),
    title=st.text(),
    description_parts=st.lists(st.text(max_size=5), max_size=3),
)
def test_whatever_was_published_is_read_back(
    release: str, histories: list[tuple[str, str, int, int]], title: str, description_parts: list[str]
) -> None:
    first = {(user, item, time): rating for user, item, time, rating in reversed(histories)}
    order = {key: number for number, key in reversed(list(enumerate(row[:3] for row in histories)))}
    expected = [(*key, first[key]) for key in sorted(first, key=lambda key: (key[2], order[key]))]
    item = histories[0][1]
    with tempfile.TemporaryDirectory() as name:
        metadata = [description(release, item, title=title, description=description_parts)]
        source = folder(Path(name), release, [review(release, *row) for row in histories], metadata)
        data = read(source, release)
    assert rows(data) == expected
    assert sum(data.dropped.values()) == len(histories) - len(expected)
    joined = " ".join(part for part in description_parts if part)
    assert list(data.items.loc[item]) == [clean(title), "", "", clean(joined)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_ten_million_reviews_would_fit_into_two_gigabytes(tmp_path: Path) -> None:
    # Half as many users as reviews, as in the release of 2023, and an item to every 17 reviews, as in that of 2018.
    # Most of the growth is the items' text: with an item to every 12 reviews, ten million take 2.1 GB (measured).
    reviews, users, items = 1_000_000, 525_000, 60_000
    (tmp_path / "source").mkdir()
    with gzip.open(tmp_path / "source/Pens.jsonl.gz", "wt", compresslevel=1) as file:
        for n in range(reviews):
            user, item, time = f"AE{n * 7919 % users:026d}", f"B{n * 104_729 % items:09d}", 1_600_000_000_000 + n * 17
            file.write(review("amazon2023", user, item, str(time), text="It writes. " * 20) + "\n")
    with gzip.open(tmp_path / "source/meta_Pens.jsonl.gz", "wt", compresslevel=1) as file:
        for n in range(items):
            text = f"Pen number {n} writes and writes. " * 20
            line = description(
                "amazon2023", f"B{n:09d}", title=text[:90], brand=f"Brand {n % 999}", categories=["Office", "Pens"]
            )
            file.write(line[:-1] + f', "description": [{json.dumps(text)}]}}\n')
    script = """
import re, sys
from pathlib import Path
from recbole_ext.convert import convert
import recbole_ext.text
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6
before = peak()
report = convert(Path(sys.argv[1]), "amazon2023", "Pens", Path(sys.argv[2]))
print(report.users, report.items, report.interactions, before, peak())
"""
    command = [sys.executable, "-c", script, str(tmp_path / "source"), str(tmp_path / "out")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert [int(count) for count in output[:3]] == [users, items, reviews]
    before, after = float(output[3]), float(output[4])
    extrapolated = before + (after - before) * 10
    assert extrapolated < 2, f"{before:.2f} GB before, {after:.2f} GB after a million, so {extrapolated:.2f} GB for ten"


@pytest.mark.parametrize("release", RELEASES)
def test_texts_that_reading_cleans_are_counted(tmp_path: Path, release: str) -> None:
    reviews = [review(release, f"u{number}", f"B{number % 2}") for number in range(4)]
    metadata = [description(release, "B0", title="A &amp; B", brand="Acme"), description(release, "B1", title="Pen")]
    data = read(folder(tmp_path, release, reviews, metadata), release)
    assert {field: count for field, count in data.cleaned.items() if count} == {"title": 1}
