"""Item text: cleaning, reading of ``.item`` files, rendering."""

from __future__ import annotations

import html.entities
import importlib.util
import logging
import re
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.text import clean, default_template, fields_of, read_item_fields, render_texts

REPOSITORY = Path(__file__).resolve().parents[2]

# Any text, and text made of the pieces that markup is made of.
_PIECES = [
    "&",
    "amp;",
    "lt;",
    "gt;",
    "#38;",
    "#x3c;",
    "nbsp;",
    "<",
    ">",
    "</",
    "/>",
    "br",
    "b",
    "p",
    "<!--",
    "-->",
]
_PIECES += [
    "<![endif]",
    "<style>",
    "</style>",
    "[if x]>",
    "o:p",
    ' a="',
    "'",
    "=",
    " ",
    "\t",
    "\r\n",
    "\x00",
    "\u00a0",
]
_PIECES += ["\u2028", "\u200b", "\ud800", "\ufffd", "é", "x"]
markup = st.lists(st.sampled_from(_PIECES), max_size=25).map("".join)
any_text = st.one_of(st.text(max_size=60), markup)


@given(any_text)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(any_text)
def test_clean_text_fits_into_one_field_of_one_line(text: str) -> None:
    cleaned = clean(text)
    assert not [c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert cleaned.splitlines() in ([], [cleaned])
    cleaned.encode("utf-8")


@given(any_text)
def test_clean_text_holds_no_html_entity(text: str) -> None:
    names = re.findall(r"&([A-Za-z][A-Za-z0-9]*;)", clean(text))
    assert not [name for name in names if name in html.entities.html5]


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("AT&amp;T", "AT&T"),
        ("AT&amp;amp;amp;T", "AT&T"),
        ("AT&T; R&D", "AT&T; R&D"),
        ("?a=1&copy=2&region=3", "?a=1&copy=2&region=3"),
        ("&notes; &nosuch; &#99999999999;", "&notes; &nosuch; &#99999999999;"),
        ("5&quot; &#39;n&#x27; 6&Prime; &deg;C &reg;", "5\" 'n' 6″ °C ®"),
        ("it&#x92;s", "it’s"),
        ("a\tb\r\nc\x0bd\x00e\x85f\u2028g\u00a0h\ufffdi", "a b c d e f g h i"),
        ("\ufeffsoft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("  many   spaces ", "many spaces"),
        ("H<sub>2</sub>O<br/>next<p class='x'>par</p>", "H2O next par"),
        ("<A HREF=http://x.example/?a=1>link</A>", "link"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("a<!-- hidden --> b<style>p {x}</style> c<script>1 < 2</script> d", "a b c d"),
        (
            "<o:p>Office</o:p> <![endif]--><!--[if gte mso 9]><xml><w:View>N</w:View></xml><![endif]-->",
            "Office",
        ),
        ("unclosed <!-- comment", "unclosed comment"),
        ("< 5 V, <95% and > 3, a<b, <b and c>, <>, i<3", "< 5 V, <95% and > 3, a<b, <b and c>, <>, i<3"),
        ("<Enter> vector<int> <your name>", "<Enter> vector<int> <your name>"),
        ('"Quoted', '"Quoted'),
        ("ёлка 日本 👩‍🚀", "ёлка 日本 👩‍🚀"),
        ("", ""),
        (" <br> \t", ""),
    ],
)
def test_cleaning_keeps_what_a_reader_would_see(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def item_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "tiny.item"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


HEADER = "item_id:token\ttitle:token_seq\tprice:float\n"


def test_item_fields_are_indexed_by_token_in_file_order_without_types(tmp_path: Path) -> None:
    fields = read_item_fields(item_file(tmp_path, HEADER + "10\tTen\t1.5\n9\t\t\n07\tNA\tnull\n"))
    assert list(fields.index) == ["10", "9", "07"]
    assert fields.index.name == "item_id"
    assert fields.to_dict("list") == {"title": ["Ten", "", "NA"], "price": ["1.5", "", "null"]}


def test_quotes_in_titles_are_text(tmp_path: Path) -> None:
    titles = ['"Best" pens', '"unbalanced', 'a 5" pipe', '"', "'", '""', 'ends with "']
    content = HEADER + "".join(f"{n}\t{title}\t1\n" for n, title in enumerate(titles))
    assert list(read_item_fields(item_file(tmp_path, content))["title"]) == titles


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r")), min_size=1))
def test_any_text_without_separators_is_read_back_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str]
) -> None:
    content = HEADER + "".join(f"{n}\t{title}\t\n" for n, title in enumerate(titles))
    assert list(read_item_fields(item_file(tmp_path_factory.getbasetemp(), content))["title"]) == titles


def test_byte_order_mark_windows_line_ends_blank_lines_and_missing_last_line_end_are_understood(
    tmp_path: Path,
) -> None:
    content = "\ufeff" + (HEADER + "1\ta\t2\n\n2\tb\t3\n\n3\tc\t").replace("\n", "\r\n")
    fields = read_item_fields(item_file(tmp_path, content))
    assert fields.to_dict("index") == {
        "1": {"title": "a", "price": "2"},
        "2": {"title": "b", "price": "3"},
        "3": {"title": "c", "price": ""},
    }


def test_line_separators_other_than_newline_do_not_split_a_row(tmp_path: Path) -> None:
    fields = read_item_fields(item_file(tmp_path, HEADER + "1\ta\rb\u2028c\x0cd\x85e\t\n2\tf\t\n"))
    assert list(fields["title"]) == ["a\rb\u2028c\x0cd\x85e", "f"]


def test_first_row_of_a_duplicate_item_is_kept_and_the_rest_counted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = item_file(tmp_path, HEADER + "1\tfirst\t\n2\tother\t\n1\tsecond\t\n1\tthird\t\n")
    with caplog.at_level(logging.WARNING):
        fields = read_item_fields(path)
    assert fields["title"].to_dict() == {"1": "first", "2": "other"}
    assert re.search(r"tiny\.item: 2 rows repeat", caplog.text)


def test_item_column_may_have_another_name_and_place(tmp_path: Path) -> None:
    path = item_file(tmp_path, "title:token_seq\tasin:token\nPen\tB01\n")
    assert read_item_fields(path, "asin")["title"].to_dict() == {"B01": "Pen"}


def test_file_of_items_without_fields_is_read(tmp_path: Path) -> None:
    fields = read_item_fields(item_file(tmp_path, "item_id:token\n1\n2\n"))
    assert list(fields.index) == ["1", "2"]
    assert list(fields.columns) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"tiny\.item is empty"),
        (
            "item_id\ttitle\n1\tPen\n",
            r"tiny\.item, line 1: .*'item_id' has no type.*item_id:token<TAB>title:token_seq",
        ),
        ("item_id:token\ttitle\n1\tPen\n", r"line 1: .*'title' has no type"),
        ("item_id:token\ttitle:text\n1\tPen\n", r"line 1: .*'title:text' has no type.*token_seq"),
        ("\n1\tPen\n", r"line 1: .* has no type"),
        (HEADER, r"tiny\.item has a header but no items"),
        (HEADER + "1\ta\t\n\n2\tb\n3\tc\t\n", r"tiny\.item, line 4: 2 fields, but the header names 3"),
        (HEADER + "1\ta\tb\tc\n", r"tiny\.item, line 2: 4 fields, but the header names 3"),
        (HEADER + "1\ta\t\n\tb\t\n", r"tiny\.item, line 3: 'item_id' is empty"),
        ("title:token_seq\nPen\n", r"line 1: no column 'item_id', only title"),
        ("item_id:token\tx:token\tx:float\n1\t2\t3\n", r"line 1: the header names 'x' twice"),
        (HEADER.encode() + b"1\ta\t\n2\t\xff\t\n", r"tiny\.item, line 3: not UTF-8"),
        (HEADER.encode() + b"1\ta\t\n" * 50_000 + b"2\t\xff\t\n", r"tiny\.item, line 50002: not UTF-8"),
    ],
)
def test_malformed_item_file_is_an_error_that_names_file_and_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(SourceDataError, match=message):
        read_item_fields(item_file(tmp_path, content))


def test_missing_item_file_or_a_folder_in_its_place_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"absent\.item doesn't exist\. .* convert the dataset first"):
        read_item_fields(tmp_path / "absent.item")
    with pytest.raises(SourceDataError, match="is a folder"):
        read_item_fields(tmp_path)


def item_fields(**columns: list[str]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.Index([f"i{n}" for n in range(size)], name="item_id"), dtype=object)


TEMPLATE = ["{title}", "Brand: {brand}", "{categories}"]


def test_parts_are_joined_as_sentences_and_parts_without_a_value_are_left_out() -> None:
    fields = item_fields(
        title=["Pen", "Pen", "", "Pen.", "Really?", ""],
        brand=["BIC", "", "BIC", "Parts Co., Inc.", "", " \t"],
        categories=["Office", "Office", "", "", "Office", "<br>"],
    )
    texts = render_texts(fields, TEMPLATE)
    assert list(texts.index) == list(fields.index)
    assert list(texts) == [
        "Pen. Brand: BIC. Office",
        "Pen. Office",
        "Brand: BIC",
        "Pen. Brand: Parts Co., Inc.",
        "Really? Office",
        "",
    ]


@given(any_text, any_text)
def test_rendered_text_is_clean(title: str, brand: str) -> None:
    text = render_texts(item_fields(title=[title], brand=[brand]), ["{title}", "{title} by {brand}"]).iloc[0]
    assert text == clean(text)


def test_joining_parts_makes_no_markup_and_no_stray_spaces() -> None:
    fields = item_fields(title=['a <a x="', "Pen"], brand=['">y', "BIC"])
    assert list(render_texts(fields, ["{title} ", " {brand}"])) == ["a y", "Pen. BIC"]


def test_part_with_several_fields_is_kept_when_one_of_them_has_a_value() -> None:
    fields = item_fields(title=["Toy Story", "", ""], year=["1995", "1995", ""])
    assert list(render_texts(fields, ["{title} {{{year}}}"])) == ["Toy Story {1995}", "{1995}", ""]


def test_field_names_are_looked_up_whole() -> None:
    fields = item_fields(**{"price.usd": ["3"], "Product Title": ["Pen"], "a[0]": ["x"]})
    assert list(render_texts(fields, ["{Product Title}", "{price.usd}", "{a[0]}"])) == ["Pen. 3. x"]


def test_one_part_may_be_given_without_a_list() -> None:
    assert list(render_texts(item_fields(title=["Pen"]), "{title}")) == ["Pen"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (["{title}", "{colour}"], r"'\{colour\}': no field 'colour'. There are: title, brand\."),
        (["{}"], r"no field ''"),
        (["Product"], r"'Product' names no field"),
        (["{title"], r"'\{title'.*A field is written \{title\}"),
        (["{title!r}"], "only plain fields"),
        (["{title:>10}"], "only plain fields"),
        ([{"title": None}], "isn't text. In YAML it needs quotes"),
        ([], "template is empty"),
    ],
)
def test_wrong_template_is_an_error_that_names_the_part(template: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        render_texts(item_fields(title=["Pen"], brand=["BIC"]), template)


def test_fields_of_a_part_that_is_no_template_are_that_error_too() -> None:
    with pytest.raises(ConfigurationError, match=r"'\{title'.*A field is written \{title\}"):
        fields_of(["{brand}", "{title"])


def test_fields_and_tokens_are_separated_as_the_keys_say(tmp_path: Path) -> None:
    content = "item_id:token,title:token_seq,kinds:token_seq,year:token\n1,A|pen,x|y,19|95\n"
    fields = read_item_fields(item_file(tmp_path, content), separator=",", seq_separator="|")
    assert fields.loc["1"].to_dict() == {"title": "A pen", "kinds": "x y", "year": "19|95"}


@pytest.mark.parametrize(
    ("header", "separator", "message"),
    [
        ("item_id:token,title:token", "\t", r"separated by commas, and tabs are expected.*field_separator: \",\""),
        ("item_id:token title:token", "\t", r"separated by spaces, and tabs are expected.*field_separator: \" \""),
        ("item_id:token::title:token", "\t", r"separated by '::', and tabs are expected.*field_separator: \"::\""),
        ("item_id:token\ttitle:token", ",", r"separated by tabs, and commas are expected.*field_separator: \"\\t\""),
        ("item_id;title", "\t", r"separated by semicolons, and tabs are expected"),
        ("item_id", "\t", r"the header column 'item_id' has no type"),
        ("item_id:token\ta:b:token", "\t", r"the header column 'a:b:token' has no type"),
    ],
)
def test_a_header_under_another_separator_says_which(tmp_path: Path, header: str, separator: str, message: str) -> None:
    with pytest.raises(SourceDataError, match=rf"tiny\.item, line 1: .*{message}"):
        read_item_fields(item_file(tmp_path, f"{header}\n"), separator=separator)


def test_default_template_is_every_text_column_in_file_order(tmp_path: Path) -> None:
    types = "zz:token_seq item_id:token kg_id:token price:float year:token vec:float_seq brand:token_seq"
    content = types.replace(" ", "\t") + "\nPen\t1\tm.1\t2\t1995\t1 2\tBIC\n"
    fields = read_item_fields(item_file(tmp_path, content))
    assert default_template(fields) == ["{zz}", "{year}", "{brand}"]
    assert list(render_texts(fields, default_template(fields))) == ["Pen. 1995. BIC"]


def test_no_text_column_is_an_error_that_names_the_columns(tmp_path: Path) -> None:
    fields = read_item_fields(item_file(tmp_path, "item_id:token\tprice:float\n1\t2\n"))
    with pytest.raises(ConfigurationError, match="No text column among price"):
        default_template(fields)


def test_every_film_of_ml_100k_has_a_text_under_its_dataset_config() -> None:
    spec = importlib.util.find_spec("recbole")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "dataset_example" / "ml-100k"
    config = yaml.safe_load((REPOSITORY / "dataset_configs" / "ml-100k.yaml").read_text("utf-8"))
    texts = render_texts(read_item_fields(folder / "ml-100k.item"), config["item_text"])
    interactions = pd.read_csv(folder / "ml-100k.inter", sep="\t", dtype=str)
    assert texts["1"] == "Toy Story. 1995. Animation Children's Comedy"
    assert (texts != "").all()
    assert set(interactions["item_id:token"]) <= set(texts.index)
    assert config["expected"] == {
        "users": interactions["user_id:token"].nunique(),
        "items": interactions["item_id:token"].nunique(),
        "interactions": len(interactions),
    }
