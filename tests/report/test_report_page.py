from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from synthetic_runs import Benchmark

from recbole_ext.report import write_report


class Page(HTMLParser):
    """Tags with their attributes, and the text of every table cell."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.tables: list[list[str]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag == "table":
            self.tables.append([])

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def source_of(benchmark: Benchmark) -> str:
    return (benchmark.folder / "index.html").read_text(encoding="utf-8")


def markdown_of(benchmark: Benchmark) -> str:
    return (benchmark.folder / "leaderboard.md").read_text(encoding="utf-8")


def markdown_rows(text: str, heading: str) -> list[list[str]]:
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    benchmark = Benchmark(tmp_path_factory.mktemp("results") / "amazon")
    for seed in (42, 43):
        benchmark.add(seed=seed, quality=0.3)
        benchmark.add(seed=seed, init="minilm", quality=0.5)
        benchmark.add(seed=seed, init="minilm", mode="frozen", quality=0.4)
    benchmark.add_failed(model="GRU4Rec")
    write_report(benchmark.folder)
    return benchmark


def test_the_page_asks_no_server_for_anything(filled: Benchmark) -> None:
    page = Page(source_of(filled))
    for tag, attributes in page.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            if key in attributes:
                relative = not re.match(r"[a-z]+:|//", attributes[key])
                assert attributes[key].startswith("data:") or (tag == "a" and relative), (
                    tag,
                    attributes[key][:80],
                )
    source = source_of(filled)
    assert "@import" not in source
    assert "url(" not in source
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert policies[0].startswith("default-src 'none'")


def test_figures_are_embedded_with_a_text_for_those_who_do_not_see_them(filled: Benchmark) -> None:
    images = Page(source_of(filled)).all("img")
    assert len(images) == 2
    assert all(image["src"].startswith("data:image/png;base64,iVBOR") and image["alt"] for image in images)


def test_every_link_leads_to_a_file_and_every_run_is_linked(filled: Benchmark) -> None:
    links = {unquote(link["href"]) for link in Page(source_of(filled)).all("a")}
    files = {link for link in links if not link.startswith("#")}
    assert all((filled.folder / file).exists() for file in files)
    assert {f"runs/{p.name}" for p in (filled.folder / "runs").glob("*.json")} <= files


def test_every_number_of_the_tables_leads_to_its_records(filled: Benchmark) -> None:
    source = source_of(filled)
    for board in ("board-1", "costs", "datasets"):
        table = source.split(f'<table id="{board}"')[1].split("</table>")[0]
        numbers = re.findall(r'<td class="number[^"]*" data-value="[^"]+"[^>]*>(<\w+)', table)
        assert numbers
        assert set(numbers) <= {"<button", "<a"}


def test_tables_have_captions_scopes_and_buttons_to_sort_by(filled: Benchmark) -> None:
    page = Page(source_of(filled))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(head.get("scope") in ("col", "row", "rowgroup") for head in page.all("th"))
    head = source_of(filled).split('<table id="board-1"')[1].split("</thead>")[0]
    assert head.count("<button type=") == head.count('<th scope="col"') - 1  # all but the runs


def test_only_the_pages_own_script_may_run(filled: Benchmark) -> None:
    source = source_of(filled)
    script = source.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source


def test_markdown_shows_mean_and_deviation_best_in_bold_and_second_best_underlined(
    benchmark: Benchmark,
) -> None:
    values = {
        "none": (0.0410, 0.0412),
        "minilm": (0.0490, 0.0494),
        "tuned": (0.0450, 0.0450),
        "other": (0.01, 0.01),
    }
    for init, pair in values.items():
        for seed, value in enumerate(pair):
            benchmark.add(init=init, seed=seed, test={"ndcg@10": value, "recall@10": value})
    write_report(benchmark.folder)
    header, _, *rows = markdown_rows(markdown_of(benchmark), "All metrics")
    shown = {row[header.index("init")]: row[header.index("ndcg@10")] for row in rows}
    assert shown == {
        "none": "0.0411 ± 0.0001",
        "minilm": "**0.0492 ± 0.0003**",
        "tuned": "<u>0.0450 ± 0.0000</u>",
        "other": "0.0100 ± 0.0000",
    }
    improvement = {row[header.index("init")]: row[header.index("ndcg@10_improvement_%")] for row in rows}
    assert improvement == {"none": "–", "minilm": "+19.7 %", "tuned": "+9.5 %", "other": "−75.7 %"}


def test_page_marks_the_best_and_the_second_best(filled: Benchmark) -> None:
    table = source_of(filled).split('<table id="board-1"')[1].split("</table>")[0]
    metrics = 15
    assert table.count("<strong ") == table.count(", best<") == metrics
    assert table.count("<u ") == table.count(", second best<") == metrics


def test_the_page_opens_with_what_was_found(filled: Benchmark) -> None:
    finding = source_of(filled).split('<p class="finding">')[1].split("</p>")[0]
    assert "better in 2 of 2 comparisons</strong>." in finding


def test_without_a_comparison_the_page_says_so(benchmark: Benchmark) -> None:
    benchmark.add()
    write_report(benchmark.folder)
    assert "No comparison with random initialisation" in source_of(benchmark)


def test_the_commands_that_reproduce_it_stand_on_the_page(benchmark: Benchmark) -> None:
    benchmark.add(init="minilm", command="recbole-ext run a.yaml --x='<1>'")
    benchmark.add(command="recbole-ext run b.yaml")
    write_report(benchmark.folder)
    command = source_of(benchmark).split('<code id="commands">')[1].split("</code>")[0]
    assert html.unescape(command) == "recbole-ext run a.yaml --x='<1>'\nrecbole-ext run b.yaml"


def test_markdown_header_is_that_of_the_contract(filled: Benchmark) -> None:
    header = markdown_rows(markdown_of(filled), "All metrics")[0]
    assert header[:8] == ["dataset", "model", "init", "mode", "protocol", "n_seeds", "recall@1", "recall@5"]
    assert header[-2:] == ["p_holm", "mark"]


def test_markdown_tells_where_the_numbers_come_from(benchmark: Benchmark) -> None:
    benchmark.add(command="recbole-ext run amazon.yaml --epochs=9", git_revision="aaa111")
    best = {"hidden_dropout_prob": 0.5}
    benchmark.add(init="minilm", candidate=best, tag="a", git_revision="bbb222", validation={"ndcg@10": 0.1234})
    worse = {"hidden_dropout_prob": 0.1}
    benchmark.add(init="minilm", candidate=worse, tag="b", git_revision="bbb222", validation={"ndcg@10": 0.1})
    write_report(benchmark.folder)
    text = markdown_of(benchmark)
    assert "\n    recbole-ext run amazon.yaml --epochs=9\n" in text
    assert "3 finished runs (2 in the tables), 0 failed" in text
    assert "`bbb222`, `aaa111`" in text
    assert markdown_rows(text, "Data")[2] == ["Office", "300", "2,420", "53,258", "177.5", "dddddddddddd"]
    assert markdown_rows(text, "Item vectors")[2] == ["Office", "minilm", "555555555555", "2,400 of 2,420"]
    assert ["torch", "2.13.0"] in markdown_rows(text, "Versions")
    (chosen,) = markdown_rows(text, "Chosen settings")[2:]
    assert chosen[5:] == [r"hidden\_dropout\_prob=0.5", "2", "ndcg@10", "0.1234", "42"]
    assert text.endswith("## Failed runs\n\nNone.\n")


def test_failed_runs_close_the_markdown_and_stand_on_the_page(filled: Benchmark) -> None:
    text = markdown_of(filled)
    last = text.split("## Failed runs\n")[1]
    assert "loss is NaN in epoch 3" in last
    assert "Office-GRU4Rec-none-x-full-s42-ab12cd" in last
    page = source_of(filled)
    assert "loss is NaN in epoch 3" in page.split('id="failed-heading"')[1]


def test_names_from_records_are_shown_as_text_whatever_they_hold(benchmark: Benchmark) -> None:
    name = "<script>alert(1)</script> A|B *x*"
    benchmark.add(model=name, run="odd", with_ranks=False)
    benchmark.add(model=name, run="odd & even", init="minilm", with_ranks=False)
    benchmark.add_failed(run="bad", model=name)
    write_report(benchmark.folder)
    text = markdown_of(benchmark)
    rows = markdown_rows(text, "All metrics")
    assert len({len(row) for row in rows}) == 1
    assert "<script>" not in text
    page = source_of(benchmark)
    assert page.count("<script>") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt; A|B" in page
