"""The paper's analyses as Python and the page above all benchmarks show them, read from ``RESULTS/studies/NAME/``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from recbole_ext.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("name", "title", "sentence", "command")


@dataclass(frozen=True)
class Study:
    """One study: the sentence that says what it shows, its figures, its table, and ``text``, Markdown or empty."""

    name: str
    title: str
    sentence: str
    command: str
    folder: Path
    figures: list[Path]
    rows: list[dict[str, Any]]
    text: str

    def to_pandas(self) -> pd.DataFrame:
        """All numbers of the study; its columns differ between studies."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def __str__(self) -> str:
        return f"{self.title}: {self.sentence} ({self.folder})"

    def _repr_html_(self) -> str:
        return f"<h3>{escape(self.title)}</h3><p>{escape(self.sentence)}</p>{as_html(self.text, '')}"

    @property
    def address(self) -> str:
        """Its folder as seen from the page in ``RESULTS``."""
        return quote(f"{self.folder.parent.name}/{self.folder.name}/")

    def text_as_html(self) -> str:
        """``text`` as HTML below the study's own heading."""
        return as_html(self.text, self.address)


def as_html(text: str, address: str) -> str:
    """Markdown as HTML below a heading of the third level: raw HTML shown as text, no images.

    Links that name no server lead below ``address``.
    """
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("js-default").disable("image")
    tokens = markdown.parse(text)
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    highest = min((int(token.tag[1:]) for token in headings), default=1)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1:]) - highest + 4, 6)}"
    for child in (child for token in tokens for child in token.children or []):
        if child.type == "link_open" and not urlsplit(href := str(child.attrs["href"])).scheme:
            child.attrs["href"] = address + href
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def load_studies(folder: Path) -> list[Study]:
    """The studies in ``folder`` (``RESULTS/studies``) by name: every folder in it that holds a ``study.json``.

    Raises ConfigurationError for a damaged ``study.json``, naming its file and key.
    """
    return [load_study(path.parent) for path in sorted(folder.glob("*/study.json"))]


def load_study(folder: Path) -> Study:
    """The study whose ``study.json`` is in ``folder``.

    Raises ConfigurationError where it is damaged, naming its file and key.
    """
    path = folder / "study.json"
    way_out = f"Run `recbole-ext study {folder.name}` again, or delete the folder."
    text = folder / "text.md"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        said = text.read_text(encoding="utf-8") if text.exists() else ""
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not JSON, or text.md can't be read ({error}). {way_out}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: not a study but a {type(content).__name__}. {way_out}")
    for key in _KEYS:
        if not isinstance(content.get(key), str):
            raise ConfigurationError(f"{path}: key `{key}` is missing or not a text. {way_out}")
    rows = content.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigurationError(f"{path}: key `rows` is missing or not a list of rows. {way_out}")
    return Study(
        **{key: content[key] for key in _KEYS},
        folder=folder,
        figures=sorted(folder.glob("*.png")),
        rows=rows,
        text=said,
    )
