"""The page in a real browser, from disk. Every test also fails on a console error or an outgoing request."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from opened_page import FIRST, Opened


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
        assert opened.sort("NDCG@10 vs baseline") == direction
        changes = opened.column("NDCG@10 vs baseline")
        assert changes[-2:] == ["–", "–"]
        assert "–" not in changes[:-2]


def test_words_sort_by_the_alphabet_and_other_tables_stay_as_they_are(opened: Opened) -> None:
    others = opened.rows("#board-2")
    assert opened.sort("Model") == "ascending"
    assert opened.sort("Model") == "descending"
    assert opened.column("Model") == ["SASRec"] * 3 + ["BERT4Rec"] * 3
    assert opened.page.locator("[aria-sort]").count() == 1
    assert opened.rows("#board-2") == others


def test_choices_and_words_filter_all_tables_and_clearing_brings_all_back(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Initialisation", exact=True).select_option("kept")
    assert {text.split(" ")[0].removesuffix("encoder") for text in opened.column("Initialisation")} == {"kept"}
    assert page.locator("output").inner_text() == "4 of 13 rows"
    page.get_by_label("Words").fill("KEPT off")
    assert page.locator("output").inner_text() == "2 of 13 rows"
    assert not page.locator(FIRST).is_visible()
    assert opened.column("Model", "#board-2") == ["SASRec", "BERT4Rec"]
    assert [row[:3] for row in opened.rows("#costs")] == [
        ["Office", "SASRec", "kept"],
        ["Office", "BERT4Rec", "kept"],
    ]
    page.get_by_role("button", name="Clear").click()
    page.locator(FIRST).wait_for()
    assert len(opened.rows()) == 6
    assert page.locator("output").inner_text() == ""


def test_all_metrics_are_a_tick_away(opened: Opened) -> None:
    few = len(opened.heads())
    opened.page.get_by_label("All metrics").check()
    assert len(opened.heads()) == few + 13 + 6  # 15 means, of which two were there, and two more comparisons
    opened.page.get_by_label("All metrics").uncheck()
    assert len(opened.heads()) == few


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
            assert opened.column("Model")[0] == "SASRec"
        if name.startswith("3 runs of SASRec, minilm"):
            page.keyboard.press("Enter")
            shown = page.locator(".run-list:popover-open")
            assert shown.get_by_role("link").count() == 6
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.closest('.run-list') !== null")
            page.keyboard.press("Escape")
            assert shown.count() == 0
            assert page.evaluate("document.activeElement.textContent").startswith("3 runs of SASRec, minilm")
        if name == "Markdown":
            page.keyboard.press("Space")
            page.locator("#said", has_text="Copied").wait_for()
            assert page.evaluate("document.activeElement.textContent") == "Markdown"
            break
    assert {"The test behind the marks", "words", "Clear", "Model", "Markdown"} <= set(reached)


def test_a_number_leads_to_the_records_of_its_seeds(opened: Opened, folder: Path) -> None:
    row = opened.page.locator("#board-2 tr[data-model=SASRec][data-variant=minilm]")
    row.get_by_role("button", name=re.compile(r"^0\.\d+ ± ")).first.click()
    shown = opened.page.locator(".run-list:popover-open")
    links = [link.get_attribute("href") for link in shown.get_by_role("link").all()]
    assert links == [
        f"runs/Office-SASRec-{variant}-full-s{seed}.json" for variant in ("minilm", "none") for seed in (42, 43, 44)
    ]
    assert all((folder / link).exists() for link in links)
    shown.get_by_role("button", name="Close").click()
    assert shown.count() == 0


def test_a_number_of_a_single_run_is_a_link_to_its_record(opened: Opened) -> None:
    row = opened.page.locator("#board-2 tr[data-model=GRU_4]")
    links = {link.get_attribute("href") for link in row.get_by_role("link").all()}
    assert links == {"runs/Office-GRU_4-none-full-s42.json"}
    numbers = "td.number:not(.nothing, .rank):visible"
    assert row.locator(numbers).count() == row.locator(f"{numbers} > :is(a, button)").count() == 5


def test_a_study_appears_on_the_page_above_with_its_figure_its_sentence_and_its_command(above: Opened) -> None:
    study = above.page.get_by_role("article", name="What layers show")
    assert study.get_by_role("img", name="What layers show, layers").is_visible()
    assert study.locator("figcaption").inner_text() == "Six of twelve layers are enough."
    assert study.locator("code").inner_text() == "recbole-ext study layers layers.yaml"
    study.locator("summary").click()
    links = [link.get_attribute("href") for link in study.get_by_role("link").all()]
    assert links == [f"studies/layers/{name}" for name in ("more.csv", "study.json", "layers.png")]


def test_the_page_above_sorts_and_leads_to_its_benchmarks(above: Opened, folder: Path) -> None:
    reported = above.rows("#benchmarks")
    assert [row[0] for row in reported] == ["amazon", "amazon"]
    assert above.sort("Score", "#benchmarks") == "descending"
    assert above.page.locator("#benchmarks th a").first.get_attribute("href") == "amazon/index.html"
    for width in (390, 1280):
        above.page.set_viewport_size({"width": width, "height": 844})
        assert above.page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        above.page.emulate_media(color_scheme=scheme)
        assert above.page.evaluate(CONTRASTS) == []


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(opened: Opened, width: int) -> None:
    opened.page.set_viewport_size({"width": width, "height": 844})
    opened.page.get_by_label("All metrics").check()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.page.locator("#board-2 tr[data-variant=minilm] .source:visible").first.click()
    box = opened.page.locator(".run-list:popover-open").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


TOO_WIDE = """() => [...document.querySelectorAll('.board .scroll, .prose')].filter(e => e.scrollWidth > e.clientWidth)
  .map(e => e.textContent)"""


def test_a_laptop_shows_every_column_of_every_table(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 1280, "height": 844})
    assert opened.page.evaluate(TOO_WIDE) == []


def test_a_phone_shows_every_column_of_a_table_of_performance(above: Opened) -> None:
    above.page.set_viewport_size({"width": 390, "height": 844})
    assert above.page.locator("#performance table").count() == 1
    assert above.page.evaluate(TOO_WIDE) == []


def test_on_a_phone_the_rows_name_takes_in_what_its_columns_said(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    assert "Initialisation" not in opened.heads()
    second = opened.page.locator(f"{FIRST} tbody tr").nth(1)
    assert second.locator("th").inner_text().split("\n") == ["BERT4Rec", "minilm"]
    rank, name = (second.locator(cell).bounding_box() for cell in ("td.rank", "th"))
    assert abs(rank["y"] - name["y"]) < 12 and rank["x"] > 200  # beside the name


BEYOND = """() => [...document.querySelectorAll('.board td, .board th')].filter(cell => {
  if (!cell.checkVisibility()) return false;
  const box = cell.getBoundingClientRect();
  const cut = cell.scrollWidth > cell.clientWidth + 1 && getComputedStyle(cell).overflowX !== 'visible';
  return box.left < 0 || box.right > innerWidth || cut;
}).map(cell => cell.textContent)"""


@pytest.mark.parametrize("all_metrics", [False, True])
def test_on_a_phone_every_score_is_seen_without_scrolling_sideways_and_named(opened: Opened, all_metrics: bool) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    if all_metrics:
        opened.page.get_by_label("All metrics").check()
    assert opened.page.evaluate(BEYOND) == []
    boards = opened.page.locator(".board .scroll").all()
    assert all(board.evaluate("e => e.scrollWidth <= e.clientWidth") for board in boards)
    names = opened.page.evaluate(
        f"[...document.querySelector('{FIRST} tbody tr').cells].filter(cell => cell.matches('td.number:not(.nothing)')"
        " && cell.checkVisibility()).map(cell => getComputedStyle(cell, '::before').content)"
    )
    assert names[:3] == ['"#"', '"NDCG@10"', '"Recall@10"']
    assert len(set(names)) == len(names) - (2 if all_metrics else 0)  # three comparisons, a p beside each


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
    for name in ("Office, full ranking", "What each row costs (full)", "Versions"):
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
    assert len(fields) == 5
    assert all(field.evaluate("field => field.labels.length") == 1 for field in fields)
    row = page.locator("#board-2 tr[data-model=SASRec][data-variant=minilm]")
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
