from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path
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
    benchmark = Benchmark(tmp_path_factory.mktemp("runs") / "amazon")
    for seed in (42, 43, 44):
        benchmark.add(seed=seed, quality=0.3)
        benchmark.add(seed=seed, variant="minilm", quality=0.5)
        benchmark.add(seed=seed, variant="kept", mode="frozen", quality=0.4)
    benchmark.add(model="GRU4Rec", failed="loss is NaN in epoch 3")
    benchmark.add(seed=7, asked=False, date="2026-10-01T00:00:00+00:00")
    write_report(benchmark.write())
    return benchmark


def test_the_page_asks_no_server_for_anything(filled: Benchmark) -> None:
    page = Page(source_of(filled))
    for tag, attributes in page.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster"):
            if key in attributes:
                # What a reader may follow is asked for by nobody else.
                assert attributes[key].startswith("data:") or tag == "a", (
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
    assert len(images) == 3
    assert all(image["src"].startswith("data:image/png;base64,iVBOR") and image["alt"] for image in images)


def test_every_link_leads_to_a_file_and_every_run_is_linked(filled: Benchmark) -> None:
    links = {unquote(link["href"]) for link in Page(source_of(filled)).all("a")}
    files = {link for link in links if not link.startswith(("#", "https:"))}
    assert all((filled.folder / file).exists() for file in files)
    asked = {f"runs/{run}.json" for row in filled.grid().rows for run in (*row.trials, *row.runs)}
    assert len(asked) == 10 and asked <= files


def test_every_number_of_the_tables_leads_to_its_records(filled: Benchmark) -> None:
    source = source_of(filled)
    for board in ("board-1", "costs", "datasets"):
        table = source.split(f'<table id="{board}"')[1].split("</table>")[0]
        cells = re.findall(r'<td class="(number[^"]*)"[^>]*>(<\w+)', table)
        numbers = [tag for kind, tag in cells if not {"nothing", "rank"} & set(kind.split())]
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


def test_markdown_shows_mean_and_deviation_best_in_bold_and_second_best_underlined(benchmark: Benchmark) -> None:
    values = {
        "none": (0.0410, 0.0412),
        "minilm": (0.0490, 0.0494),
        "tuned": (0.0450, 0.0450),
        "other": (0.01, 0.01),
    }
    for variant, pair in values.items():
        for seed, value in enumerate(pair):
            benchmark.add(variant=variant, seed=seed, test={"ndcg@10": value, "recall@10": value}, with_ranks=False)
    write_report(benchmark.write())
    header, _, *rows = markdown_rows(markdown_of(benchmark), "All metrics")
    shown = {row[header.index("variant")]: row[header.index("ndcg@10")] for row in rows}
    assert list(shown.items()) == [
        ("minilm", "**0.0492 ± 0.0003**"),
        ("tuned", "<u>0.0450 ± 0.0000</u>"),
        ("none", "0.0411 ± 0.0001"),
        ("other", "0.0100 ± 0.0000"),
    ]
    improvement = {row[header.index("variant")]: row[header.index("ndcg@10_improvement_%")] for row in rows}
    assert improvement == {"none": "–", "minilm": "+19.7 %", "tuned": "+9.5 %", "other": "−75.7 %"}


def test_page_marks_the_best_and_the_second_best(filled: Benchmark) -> None:
    table = source_of(filled).split('<table id="board-1"')[1].split("</table>")[0]
    metrics = 15
    assert table.count("<strong ") == table.count(", best<") == metrics
    assert table.count("<u ") == table.count(", second best<") == metrics


def test_the_page_opens_with_the_fair_comparisons_alone(benchmark: Benchmark) -> None:
    for seed in (42, 43, 44):
        benchmark.add(seed=seed, quality=0.3)
        benchmark.add(seed=seed, variant="minilm", quality=0.5)
        benchmark.add(seed=seed, variant="worse", quality=0.1)
    benchmark.add(variant="one-seed", quality=0.9)
    write_report(benchmark.write())
    header = " ".join(source_of(benchmark).split("<header>")[1].split("</header>")[0].split())
    assert "better in 1 of 2 fair comparisons</strong>, worse in 1.</p>" in header
    assert "1 more comparison is not fair, or not tested (fewer than three seeds), and so not counted." in header
    text = markdown_of(benchmark)
    assert "better in 1 of 2 fair comparisons in NDCG@10, worse in 1; no difference is shown in 0." in text
    assert "1 more is not fair, or not tested (fewer than three seeds), and so not counted." in text


def test_controls_are_counted_apart_on_the_page_in_markdown_and_on_the_page_above(benchmark: Benchmark) -> None:
    sources = {"minilm": ("encoder minilm", 0.5), "mixed": ("shuffled encoder minilm", 0.3)}
    for seed in (42, 43, 44):
        benchmark.add(seed=seed, quality=0.3)
        for variant, (vectors, quality) in sources.items():
            benchmark.add(seed=seed, variant=variant, vectors=vectors, quality=quality)
    write_report(benchmark.write())
    for text in (source_of(benchmark), markdown_of(benchmark)):
        assert "better in 1 of 1 fair comparison" in text
        assert "Of controls, rows from shuffled or Gaussian vectors: no difference is shown in 1 of 1." in text
    above = (benchmark.folder.parent / "index.html").read_text(encoding="utf-8")
    assert "1 better; of controls 1 without a difference shown" in above


def test_without_a_fair_comparison_both_documents_say_so(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm", quality=0.9)
    write_report(benchmark.write())
    assert "No fair comparison of a row with its baseline has been made yet" in source_of(benchmark)
    assert "No row has a fair comparison with a baseline of its own yet" in markdown_of(benchmark)


def test_the_one_command_that_reproduces_it_stands_on_the_page(benchmark: Benchmark) -> None:
    benchmark.add(command="recbole-ext run part.yaml")
    grid = benchmark.grid().model_copy(update={"command": "recbole-ext run a.yaml --x='<1>'"})
    grid.write(benchmark.folder)
    write_report(benchmark.folder)
    source = source_of(benchmark)
    command = source.split('<code id="command">')[1].split("</code>")[0]
    assert html.unescape(command) == "recbole-ext run a.yaml --x='<1>'"
    assert "part.yaml" not in source and "part.yaml" not in markdown_of(benchmark)


def test_history_is_named_with_its_date_and_is_in_no_table(filled: Benchmark) -> None:
    page, text = source_of(filled), markdown_of(filled)
    assert "- Office-SASRec-none-full-s7, 2026-10-01T00:00:00+00:00\n" in text.split("## Earlier runs\n")[1]
    assert "Office-SASRec-none-full-s7" in page.split('id="history-heading"')[1]
    assert page.count("none-full-s7") == text.count("none-full-s7") == 1


def test_the_search_is_told_in_words_and_row_by_row(benchmark: Benchmark) -> None:
    for dropout, valid in ((0.3, 0.2), (0.5, 0.4), (0.1, 0.1)):
        benchmark.add(trial={"dropout": dropout}, validation={"ndcg@10": valid})
    write_report(benchmark.write())
    said = "dropout {0.3, 0.5}: the same 2 trials for every variant"
    assert said in source_of(benchmark) and said in markdown_of(benchmark)
    (row,) = markdown_rows(markdown_of(benchmark), "The search")[2:]
    assert row[4:] == ["dropout=0.5", "3 of 3", "NDCG@10", "0.4000", "0.2000", "+100.0 %", "42"]


def test_markdown_header_is_that_of_the_contract(filled: Benchmark) -> None:
    header = markdown_rows(markdown_of(filled), "All metrics")[0]
    assert header[:8] == ["rank", "dataset", "model", "variant", "protocol", "n_seeds", "ndcg@10", "recall@10"]
    assert header[-4:] == ["recall@10_mark", "parameters", "seconds_training", "remarks"]


def test_markdown_tells_where_the_numbers_come_from(benchmark: Benchmark) -> None:
    benchmark.add(git_revision="aaa111")
    benchmark.add(variant="minilm", trial={"x": 1}, git_revision="bbb222", validation={"ndcg@10": 0.1234})
    benchmark.add(variant="minilm", trial={"x": 2}, git_revision="bbb222", validation={"ndcg@10": 0.1})
    write_report(benchmark.write())
    text = markdown_of(benchmark)
    assert "\n    recbole-ext run amazon.yaml\n" in text
    assert "3 finished runs (2 in the tables, 1 other trial of the search), 0 failed" in text
    assert "`bbb222`, `aaa111`" in text or "`aaa111`, `bbb222`" in text
    assert markdown_rows(text, "Data")[2] == ["Office", "300", "2,420", "53,258", "177.5", "–", "dddddddddddd"]
    assert markdown_rows(text, "Item vectors")[2] == ["Office", "minilm", "555555555555", "2,400 of 2,420"]
    assert ["torch", "2.13.0"] in markdown_rows(text, "Versions")
    assert text.endswith("## Failed runs\n\nNone.\n")


def test_only_failures_that_the_grid_asks_for_are_shown(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(model="GRU4Rec", failed="out of memory")
    benchmark.add(model="NARM", failed="of an earlier setting", asked=False)
    report = write_report(benchmark.write())
    assert [record.model for record in report.failed] == ["GRU4Rec"]
    for text in (source_of(benchmark), markdown_of(benchmark)):
        assert "out of memory" in text and "of an earlier setting" not in text


def test_failed_runs_stand_in_their_row_and_below_the_tables(filled: Benchmark) -> None:
    text = markdown_of(filled)
    last = text.split("## Failed runs\n")[1]
    assert "loss is NaN in epoch 3" in last
    assert "Office-GRU4Rec-none-full-s42" in last
    header, _, *rows = markdown_rows(text, "At a glance")
    (failed,) = [row for row in rows if row[header.index("model")] == "GRU4Rec"]
    assert failed[header.index("remarks")] == "failed: loss is NaN in epoch 3"
    assert failed[header.index("rank")] == "–"
    page = source_of(filled)
    assert "loss is NaN in epoch 3" in page.split('id="failed-heading"')[1]


def test_names_from_records_are_shown_as_text_whatever_they_hold(benchmark: Benchmark) -> None:
    name = "<script>alert(1)</script> A|B *x*"
    benchmark.add(model=name, run="odd", with_ranks=False)
    benchmark.add(model=name, run="odd & even", variant="minilm", with_ranks=False)
    benchmark.add(model=name, run="bad", variant="</style><b>", failed="<img src=x>")
    write_report(benchmark.write())
    text = markdown_of(benchmark)
    rows = markdown_rows(text, "All metrics")
    assert len({len(row) for row in rows}) == 1
    assert "<script>" not in text and "<img" not in text
    page = source_of(benchmark)
    assert page.count("<script>") == 1  # the page's own
    assert page.count("</style>") == page.count("<style>") and "<img src=x>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; A|B" in page


def test_a_page_of_realistic_size_stays_below_one_and_a_half_megabytes(tmp_path: Path) -> None:
    benchmark = Benchmark(tmp_path / "language", users=200)
    for dataset in ("Scientific", "Office", "ml-100k"):
        for model in ("SASRec", "BERT4Rec", "GRU4Rec"):
            for variant in ("none", "minilm", "shuffled", "gaussian", "tf-idf", "co-occurrence", "longformer"):
                for seed in (42, 43, 44):
                    benchmark.add(dataset=dataset, model=model, variant=variant, seed=seed, quality=0.3)
    write_report(benchmark.write())
    assert (benchmark.folder / "index.html").stat().st_size < 1.5e6
