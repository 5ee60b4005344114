"""The page in a real browser, from disk. Every test also fails on a console error or an outgoing request."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import Benchmark, add_study

from recbole_ext.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'recbole-ext[test]'")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WITHOUT_CLIPBOARD = "Object.defineProperty(Navigator.prototype, 'clipboard', {value: undefined});"
WITHOUT_ANY = WITHOUT_CLIPBOARD + "document.execCommand = () => false;"
FIRST = "#board-1"
SHOWN = """rows => [...document.querySelectorAll(rows)].filter(row => row.checkVisibility()).map(row =>
  [...row.cells].filter(cell => cell.checkVisibility()).map(cell => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll('.hidden, .beside').forEach(e => e.remove());
    return copy.textContent.trim().replace(/\\s+/g, ' ');
  }))"""


@dataclass
class Opened:
    """A page that is open, and what went wrong on it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def heads(self, table: str = FIRST) -> list[str]:
        return self.shown(f"{table} > thead tr")[0]

    def rows(self, table: str = FIRST) -> list[list[str]]:
        return self.shown(f"{table} > tbody tr")

    def shown(self, rows: str) -> list[list[str]]:
        """The text of every cell that is shown, row by row, without what only a screen reader hears."""
        return self.page.evaluate(SHOWN, rows)

    def column(self, title: str, table: str = FIRST) -> list[str]:
        at = self.heads(table).index(title)
        return [row[at] for row in self.rows(table)]

    def sort(self, title: str, table: str = FIRST) -> str | None:
        head = self.page.locator(f"{table} > thead th").filter(
            has=self.page.get_by_role("button", name=title, exact=True)
        )
        head.get_by_role("button").click()
        return head.get_attribute("aria-sort")

    def clipboard(self) -> str:
        """What a reader would paste."""
        area = self.page.context.new_page()
        area.set_content("<textarea autofocus></textarea>")
        area.locator("textarea").press("Control+V")
        text = area.locator("textarea").input_value()
        area.close()
        return text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)} is on the path (Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, two models, three initialisations of two seeds; one row of a single seed; a study."""
    results = tmp_path_factory.mktemp("results")
    benchmark = Benchmark(results / "amazon")
    for dataset in ("Office", "Arts & Crafts, <50 %"):
        for model, quality in (("SASRec", 0.3), ("BERT4Rec", 0.25)):
            for seed in (42, 43):
                benchmark.add(dataset=dataset, model=model, seed=seed, quality=quality)
                benchmark.add(dataset=dataset, model=model, seed=seed, init="minilm", quality=quality + 0.2)
                benchmark.add(dataset=dataset, model=model, seed=seed, init="minilm", mode="frozen", quality=0.1)
    benchmark.add(dataset="Office", model="GRU_4", quality=0.2)
    add_study(results / "studies" / "layers", text="## Depth\n\nSee [more](more.csv).")
    write_report(benchmark.folder)
    return benchmark.folder


@pytest.fixture(scope="module")
def contexts(browser: Any) -> Callable[[str], Any]:
    """A browser context for each script to run before the page's own: pages share it, as opening one takes long."""

    @cache
    def context(script: str) -> Any:
        context = browser.new_context()
        context.set_default_timeout(30_000)
        context.add_init_script(script)
        return context

    return context


@pytest.fixture
def opened(contexts: Callable[[str], Any], folder: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The page at 1280 by 900; parametrise indirectly with a script to run before the page's own."""
    opened = Opened(contexts(getattr(request, "param", "")).new_page())
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.on("console", lambda message: opened.errors.append(message.text))
    address = (folder / "index.html").as_uri()
    opened.page.goto(address)
    yield opened
    opened.page.close()
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [address]


def test_pictures_are_there_without_a_request(opened: Opened) -> None:
    pictures = opened.page.locator("img").all()
    assert len(pictures) == 4
    assert all(picture.evaluate("image => image.complete && image.naturalWidth > 100") for picture in pictures)


def test_a_head_sorts_down_then_up_then_back_to_the_order_of_the_report(opened: Opened) -> None:
    reported = opened.rows()
    assert opened.sort("NDCG@10") == "descending"
    down = [float(text.split()[0]) for text in opened.column("NDCG@10")]
    assert down == sorted(down, reverse=True)
    assert len(set(down)) > 3
    assert "NDCG@10, descending" in opened.page.locator("#said").inner_text()
    assert opened.sort("NDCG@10") == "ascending"
    assert [float(text.split()[0]) for text in opened.column("NDCG@10")] == down[::-1]
    assert opened.sort("NDCG@10") is None
    assert opened.rows() == reported


def test_rows_without_a_value_go_last_whichever_way(opened: Opened) -> None:
    for direction in ("descending", "ascending"):
        assert opened.sort("NDCG@10 vs none") == direction
        changes = opened.column("NDCG@10 vs none")
        assert changes[-2:] == ["–", "–"]
        assert "–" not in changes[:-2]


def test_words_sort_by_the_alphabet_and_other_tables_stay_as_they_are(opened: Opened) -> None:
    others = opened.rows("#board-2")
    assert opened.sort("Model") == "ascending"
    assert opened.sort("Model") == "descending"
    assert [row[0] for row in opened.rows()] == ["SASRec"] * 3 + ["BERT4Rec"] * 3
    assert opened.page.locator("[aria-sort]").count() == 1
    assert opened.rows("#board-2") == others


def test_choices_and_words_filter_all_tables_and_clearing_brings_all_back(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Init", exact=True).select_option("minilm")
    assert set(opened.column("Init")) == {"minilm"}
    assert page.locator("output").inner_text() == "8 of 13 rows"
    page.get_by_label("Words").fill("FROZEN off")
    assert page.locator("output").inner_text() == "2 of 13 rows"
    assert not page.locator(FIRST).is_visible()
    assert [row[:3] for row in opened.rows("#board-2")] == [
        ["BERT4Rec", "minilm", "frozen"],
        ["SASRec", "minilm", "frozen"],
    ]
    assert [row[:4] for row in opened.rows("#costs")] == [
        ["Office", "BERT4Rec", "minilm", "frozen"],
        ["Office", "SASRec", "minilm", "frozen"],
    ]
    page.get_by_role("button", name="Clear").click()
    page.locator(FIRST).wait_for()
    assert len(opened.rows()) == 6
    assert page.locator("output").inner_text() == ""


def test_all_metrics_are_a_tick_away(opened: Opened) -> None:
    few = len(opened.heads())
    opened.page.get_by_label("All metrics").check()
    assert len(opened.heads()) == few + 13  # 15 means, of which two were there
    opened.page.get_by_label("All metrics").uncheck()
    assert len(opened.heads()) == few


def arranged(opened: Opened) -> tuple[list[str], list[list[str]]]:
    """Sort and filter a table, show all metrics; the heads and rows that are then to be seen, without the runs."""
    opened.sort("NDCG@10")
    opened.page.get_by_label("Model", exact=True).select_option("SASRec")
    opened.page.get_by_label("All metrics").check()
    rows = [row[:-1] for row in opened.rows()]
    assert len(rows) == 3
    return opened.heads()[:-1], rows


def copied(opened: Opened, name: str) -> str:
    group = opened.page.get_by_role("group", name="Copy Arts & Crafts, <50 %, full ranking as")
    group.get_by_role("button", name=name).click()
    opened.page.locator("#said", has_text=f"3 rows as {name}").wait_for()
    return opened.clipboard()


ways = pytest.mark.parametrize("opened", ["", WITHOUT_CLIPBOARD], ids=["clipboard", "fallback"], indirect=True)


@ways
def test_markdown_is_what_is_shown(opened: Opened) -> None:
    heads, rows = arranged(opened)
    title, blank, *lines = copied(opened, "Markdown").splitlines()
    assert (title, blank) == ("**Arts & Crafts, <50 %, full ranking**".replace("&", "&amp;").replace("<", "&lt;"), "")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == heads
    assert cells[1] == ["---"] * 3 + ["---:"] * (len(heads) - 4) + ["---"]
    marks = {"&lt;": "<", "**": "", "<u>": "", "</u>": ""}
    for mark, plain in marks.items():
        cells = [[cell.replace(mark, plain) for cell in row] for row in cells]
    assert cells[2:] == rows
    best = opened.page.locator(f"{FIRST} tr:not([hidden]) [data-place='1'] .text").all_inner_texts()
    assert re.findall(r"\*\*(\d[\d.]*) ±", "\n".join(lines)) == best


@ways
def test_csv_is_what_is_shown_as_numbers(opened: Opened) -> None:
    heads, rows = arranged(opened)
    header, *lines = csv.reader(copied(opened, "CSV").splitlines())
    assert header[:8] == ["model", "init", "mode", "n_seeds", "recall@1", "recall@1_std", "recall@5", "recall@5_std"]
    assert header[-5:-2] == ["ndcg@5_improvement_%", "ndcg@10_improvement_%", "recall@10_improvement_%"]
    at = header.index("ndcg@10")
    shown = heads.index("NDCG@10")
    assert [f"{line[at]} ± {line[at + 1]}" for line in lines] == [row[shown] for row in rows]
    assert [line[:3] + line[-1:] for line in lines] == [row[:3] + row[-1:] for row in rows]
    percents = [row[heads.index("NDCG@10 vs none")] for row in rows]
    as_numbers = ["" if p == "–" else p.strip("+ %").replace("−", "-") for p in percents]
    assert [line[-4] for line in lines] == as_numbers
    assert any(number.startswith("-") for number in as_numbers)


@ways
def test_latex_is_what_is_shown(opened: Opened) -> None:
    heads, rows = arranged(opened)
    text = copied(opened, "LaTeX")
    assert r"\caption{Arts \& Crafts, $<$50 \%, full ranking}" in text
    assert r"\begin{tabular}{lll" + "r" * (len(heads) - 4) + "l}" in text
    body = text.split("\\toprule\n")[1].split("\n\\bottomrule")[0].replace("\\midrule\n", "")
    body = re.sub(r"\\(?:textbf|underline)\{([^}]*)\}", r"\1", body)
    symbols = {r"$\pm$": "±", "$-$": "−", "--": "–", "$<$": "<", r"\%": "%", r"\_": "_"}
    symbols |= {r"$\blacktriangle$": "▲", r"$\blacktriangledown$": "▼", r"$\approx$": "≈", r"$\diamond$": "◇"}
    for symbol, plain in symbols.items():
        body = body.replace(symbol, plain)
    assert [line.removesuffix(r" \\").split(" & ") for line in body.splitlines()] == [heads, *rows]


@pytest.mark.parametrize("opened", [WITHOUT_ANY], indirect=True)
def test_where_no_page_may_copy_the_text_is_shown_selected(opened: Opened) -> None:
    opened.page.get_by_role("group", name="Copy Office, full ranking as").get_by_role("button", name="CSV").click()
    area = opened.page.get_by_role("dialog").locator("textarea")
    assert area.input_value().startswith("model,init,mode,n_seeds,")
    assert area.evaluate("area => area.selectionEnd - area.selectionStart === area.value.length")
    opened.page.keyboard.press("Escape")
    assert not area.is_visible()


def test_the_command_copies(opened: Opened) -> None:
    opened.page.get_by_role("button", name="Copy commands that reproduce this").click()
    opened.page.locator("#said", has_text="Copied").wait_for()
    assert opened.clipboard() == "recbole-ext run amazon.yaml"


def test_the_keyboard_reaches_and_works_everything(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the leaderboard"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        element = page.evaluate_handle("document.activeElement")
        name = element.evaluate("e => (e.getAttribute('aria-label') ?? e.textContent).trim() || e.name")
        outline = element.evaluate("e => getComputedStyle(e).outlineStyle")
        reached.append(name)
        assert outline != "none", f"{name} has the focus and does not show it"
        if name == "Model":
            page.keyboard.press("Space")
            page.keyboard.press("Enter")
            assert opened.rows()[0][0] == "SASRec"
        if name.startswith("2 runs of SASRec, minilm (full)"):
            page.keyboard.press("Enter")
            shown = page.locator(".run-list:popover-open")
            assert shown.get_by_role("link").count() == 4
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.closest('.run-list') !== null")
            page.keyboard.press("Escape")
            assert shown.count() == 0
            assert page.evaluate("document.activeElement.textContent").startswith("2 runs of SASRec, minilm (full)")
        if name == "Markdown":
            page.keyboard.press("Space")
            page.locator("#said", has_text="Copied").wait_for()
            assert page.evaluate("document.activeElement.textContent") == "Markdown"
            break
    assert {"The test behind the marks", "words", "Clear", "Model", "Markdown"} <= set(reached)


def test_a_number_leads_to_the_records_of_its_seeds(opened: Opened, folder: Path) -> None:
    row = opened.page.locator("#board-2 tr[data-model=SASRec][data-mode=full]")
    row.get_by_role("button", name=re.compile(r"^0\.\d+ ± ")).first.click()
    shown = opened.page.locator(".run-list:popover-open")
    links = [link.get_attribute("href") for link in shown.get_by_role("link").all()]
    assert links == [
        f"runs/Office-SASRec-{init}-full-s{seed}-ab12cd.json" for init in ("minilm-full", "none-x") for seed in (42, 43)
    ]
    assert all((folder / link).exists() for link in links)
    shown.get_by_role("button", name="Close").click()
    assert shown.count() == 0


def test_a_number_of_a_single_run_is_a_link_to_its_record(opened: Opened) -> None:
    row = opened.page.locator("#board-2 tr[data-model=GRU_4]")
    links = {link.get_attribute("href") for link in row.get_by_role("link").all()}
    assert links == {"runs/Office-GRU_4-none-x-full-s42-ab12cd.json"}
    assert row.locator("td.number:visible").count() == row.locator("td.number:visible :is(a, button)").count() + 4


def test_a_study_appears_with_its_figure_its_sentence_and_its_command(opened: Opened) -> None:
    study = opened.page.get_by_role("article", name="What layers show")
    assert study.get_by_role("img", name="What layers show, layers").is_visible()
    assert study.locator("figcaption").inner_text() == "Six of twelve layers are enough."
    assert study.locator("code").inner_text() == "recbole-ext study layers layers.yaml"
    links = [link.get_attribute("href") for link in study.get_by_role("link").all()]
    assert links == [f"../studies/layers/{name}" for name in ("more.csv", "study.json", "layers.png")]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(opened: Opened, width: int) -> None:
    opened.page.set_viewport_size({"width": width, "height": 844})
    opened.page.get_by_label("All metrics").check()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.locator("#board-2 tr[data-mode=full] .source:visible").first.click()
    box = opened.page.locator(".run-list:popover-open").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_a_laptop_shows_every_column_of_a_leaderboard(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 1280, "height": 844})
    board = opened.page.locator(FIRST)
    assert board.evaluate("board => board.scrollWidth <= board.closest('.scroll').clientWidth")


def test_on_a_phone_the_rows_name_takes_in_what_its_columns_said(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    assert "Init" not in opened.heads()
    first = opened.page.locator(f"{FIRST} tbody tr").nth(1).locator("th")
    assert first.inner_text().split("\n") == ["BERT4Rec", "minilm, frozen"]
    first.evaluate("cell => cell.closest('.scroll').scrollLeft = 300")
    assert first.bounding_box()["x"] < 30  # it stays where it is


CONTRASTS = """() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const background = e => {
    for (; e; e = e.parentElement) {
      const found = channels(getComputedStyle(e).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest('.hidden') || ['SCRIPT', 'OPTION'].includes(e.tagName)) continue;
    const [a, b] = [luminance(channels(getComputedStyle(e).color)), luminance(background(e))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) poor.push(`${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 30)}: ${contrast}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened: Opened, scheme: str) -> None:
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.locator(".source").first.click()
    assert opened.page.evaluate(CONTRASTS) == []
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")


def test_a_screen_reader_finds_names_for_everything(opened: Opened) -> None:
    page = opened.page
    for name in ("Office, full ranking", "What each row costs", "Versions"):
        assert page.get_by_role("table", name=name, exact=True).count() == 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    pointed = page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby], [popovertarget], a[href^=\"#\"]')].map(e =>"
        " e.getAttribute('aria-labelledby') ?? e.getAttribute('popovertarget') ?? e.getAttribute('href').slice(1))"
    )
    assert set(pointed) <= set(ids)
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, a, [role=region], [role=group]')].filter(e =>"
        " !e.textContent.trim() && !e.ariaLabel && !e.hasAttribute('aria-labelledby')).length"
    )
    assert nameless == 0
    fields = page.locator("form").locator("input, select").all()
    assert len(fields) == 6
    assert all(field.evaluate("field => field.labels.length") == 1 for field in fields)
    row = page.locator("#board-2 tr[data-model=SASRec][data-mode=full]")
    assert row.locator("[data-place='1']").first.inner_text().split()[-1] == "best"


def test_without_scripts_the_tables_and_their_records_are_still_there(browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "index.html").as_uri())
    assert page.locator(f"{FIRST} tbody tr").count() == 6
    assert page.locator(".scripted:visible").count() == 0
    page.locator(f"{FIRST} .runs button").first.click()
    assert page.locator(".run-list:popover-open a").count() >= 2
    context.close()
