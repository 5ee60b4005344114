"""What is copied from the page, in a real browser: the table as it is shown then, in each of the three ways."""

from __future__ import annotations

import csv
import re

import pytest
from opened_page import FIRST, Opened

WITHOUT_CLIPBOARD = "Object.defineProperty(Navigator.prototype, 'clipboard', {value: undefined});"
WITHOUT_ANY = WITHOUT_CLIPBOARD + "document.execCommand = () => false;"


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
