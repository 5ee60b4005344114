"""The paper's analyses as the page above all benchmarks shows them, read from ``RESULTS/studies/NAME/``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from recbole_ext.errors import ConfigurationError

_KEYS = ("name", "title", "sentence", "command")


@dataclass(frozen=True)
class Study:
    """One study: the sentence that says what it shows, its figures, and ``text``, Markdown or empty."""

    name: str
    title: str
    sentence: str
    command: str
    folder: Path
    figures: list[Path]
    text: str

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
    return [_load_study(path) for path in sorted(folder.glob("*/study.json"))]


def _load_study(path: Path) -> Study:
    way_out = f"Run `recbole-ext study {path.parent.name}` again, or delete the folder."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not JSON ({error}). {way_out}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: not a study but a {type(content).__name__}. {way_out}")
    for key in _KEYS:
        if not isinstance(content.get(key), str):
            raise ConfigurationError(f"{path}: key `{key}` is missing or not a text. {way_out}")
    text = path.with_name("text.md")
    return Study(
        **{key: content[key] for key in _KEYS},
        folder=path.parent,
        figures=sorted(path.parent.glob("*.png")),
        text=text.read_text(encoding="utf-8") if text.exists() else "",
    )
