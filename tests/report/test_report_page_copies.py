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
    heads = opened.heads()[:-1]
    named = heads.index("Initialisation")  # below its name stand its vectors, which are not copied
    for row in rows:
        row[named] = next(name for name in ("none", "minilm", "kept") if row[named].startswith(name))
    return heads, rows


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
    kinds = {"Model": "---", "Initialisation": "---", "Mark": "---"}
    assert cells[1] == [kinds.get(head, "---:") for head in heads]
    marks = {"&lt;": "<", "**": "", "<u>": "", "</u>": "", "\\[": "["}
    for mark, plain in marks.items():
        cells = [[cell.replace(mark, plain) for cell in row] for row in cells]
    assert cells[2:] == rows
    best = opened.page.locator(f"{FIRST} tr:not([hidden]) [data-place='1'] .text").all_inner_texts()
    assert re.findall(r"\*\*(\d[\d.]*) ±", "\n".join(lines)) == best


@ways
def test_csv_is_what_is_shown_as_numbers(opened: Opened) -> None:
    heads, rows = arranged(opened)
    header, *lines = csv.reader(copied(opened, "CSV").splitlines())
    assert header[:7] == ["rank", "model", "variant", "n_seeds", "ndcg@10", "ndcg@10_std", "recall@10"]
    changes = [f"recall@10_{name}" for name in ("improvement_%", "low_%", "high_%", "p_holm", "mark")]
    assert header[-7:] == [*changes, "parameters", "seconds_training"]
    at = header.index("ndcg@10")
    shown = heads.index("NDCG@10")
    assert [f"{line[at]} ± {line[at + 1]}" for line in lines] == [row[shown] for row in rows]
    assert [line[:4] for line in lines] == [row[:4] for row in rows]
    at, shown = header.index("ndcg@10_improvement_%"), heads.index("NDCG@10 vs baseline")
    percents = [row[shown] for row in rows]
    as_numbers = [re.findall(r"[−+]?[\d.]+", percent) or [""] * 3 for percent in percents]
    assert [line[at : at + 3] for line in lines] == [
        [n.strip("+").replace("−", "-") for n in row] for row in as_numbers
    ]
    assert any(line[at].startswith("-") for line in lines)


@ways
def test_latex_is_what_is_shown(opened: Opened) -> None:
    heads, rows = arranged(opened)
    text = copied(opened, "LaTeX")
    assert r"\caption{Arts \& Crafts, $<$50 \%, full ranking}" in text
    kinds = {"Model": "l", "Initialisation": "l", "Mark": "l"}
    assert rf"\begin{{tabular}}{{{''.join(kinds.get(head, 'r') for head in heads)}}}" in text
    body = text.split("\\toprule\n")[1].split("\n\\bottomrule")[0].replace("\\midrule\n", "")
    body = re.sub(r"\\(?:textbf|underline)\{([^}]*)\}", r"\1", body)
    symbols = {r"$\pm$": "±", "$-$": "−", "--": "–", "$<$": "<", r"\%": "%", r"\_": "_", r"\#": "#"}
    symbols |= {r"$\blacktriangle$": "▲", r"$\blacktriangledown$": "▼", r"$\circ$": "○"}
    for symbol, plain in symbols.items():
        body = body.replace(symbol, plain)
    assert [line.removesuffix(r" \\").split(" & ") for line in body.splitlines()] == [heads, *rows]


@pytest.mark.parametrize("opened", [WITHOUT_ANY], indirect=True)
def test_where_no_page_may_copy_the_text_is_shown_selected(opened: Opened) -> None:
    opened.page.get_by_role("group", name="Copy Office, full ranking as").get_by_role("button", name="CSV").click()
    area = opened.page.get_by_role("dialog").locator("textarea")
    assert area.input_value().startswith("rank,model,variant,n_seeds,")
    assert area.evaluate("area => area.selectionEnd - area.selectionStart === area.value.length")
    opened.page.keyboard.press("Escape")
    assert not area.is_visible()


def test_the_command_copies(opened: Opened) -> None:
    opened.page.get_by_role("button", name="Copy command that reproduces this").click()
    opened.page.locator("#said", has_text="Copied").wait_for()
    assert opened.clipboard() == "recbole-ext run amazon.yaml"
