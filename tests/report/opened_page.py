"""A page that a real browser has open, as its reader sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
