"""MkDocs' hooks: what the pages link to outside ``docs/`` comes into the site, and notebooks become pages.

A link in ``docs/`` is written as it works in the repository (``../results/README.md``). In the site a Markdown file
from outside is a page, a folder a page of its files, YAML and Python a page of their text; the rest are files.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_HTML_LINK = re.compile(r'(?:href|src)="([^":#]+)"')
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):<code>~?(?:\w+\.)*(\w+)</code>")
_SHOWN = {".yaml": "yaml", ".py": "python", ".toml": "toml", ".j2": "jinja"}
_source_of: dict[str, Path] = {}
"""URI of a page in the site: the file or folder that it is made of."""


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each notebook, and all that is linked to outside ``docs/``, to the end."""
    _source_of.clear()
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            _add(files, config, Path(str(file.abs_src_path)))
    waiting = [_source(file.src_uri) for file in files.documentation_pages()]
    while waiting:
        for target in _linked_from(waiting.pop()):
            uri = _uri_of(target)
            if target.is_relative_to(DOCS) or uri in _source_of:
                continue
            _add(files, config, target)
            if uri.endswith((".md", ".html")):
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links that work in the repository into those that work in the site."""
    source = _source(page.file.src_uri)
    folder = posixpath.dirname(page.file.src_uri)

    def in_the_site(match: re.Match[str]) -> str:
        target = _target(source, match.group(1))
        return posixpath.relpath(_uri_of(target), folder or ".") if target else match.group(1)

    return _LINK.sub(in_the_site, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Docstrings name others by reStructuredText's roles; here the name alone stands."""
    return _ROLE.sub(r"<code>\1</code>", html)


def on_post_build(config: Any) -> None:
    """Reports are HTML pages that link to Markdown as it is: put that beside the pages that are made of it."""
    for source in list(_source_of.values()):
        if source.suffix == ".html":
            for target in _linked_from(source):
                if target.suffix == ".md":
                    copy = Path(config.site_dir) / target.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(target, copy)


def _source(uri: str) -> Path:
    return _source_of.get(uri, DOCS / uri)


def _add(files: Files, config: Any, source: Path) -> None:
    uri = _uri_of(source)
    if uri in _source_of:
        return
    _source_of[uri] = source
    if uri.endswith(".md") and source.suffix != ".md":
        files.append(File.generated(config, uri, content=_text_of(source)))
    else:
        files.append(File.generated(config, uri, abs_src_path=str(source)))


def _uri_of(target: Path) -> str:
    """Where a file or folder of the repository is in the site."""
    if target.is_relative_to(DOCS):
        path = target.relative_to(DOCS)
        return path.with_suffix(".md").as_posix() if path.suffix == ".ipynb" else path.as_posix()
    path = target.relative_to(ROOT)
    if target.is_dir():
        return (path / "files.md").as_posix()
    if path.name == "README.md":  # which MkDocs would take for the folder's index.html
        return path.with_name("about.md").as_posix()
    return f"{path.as_posix()}.md" if path.suffix in _SHOWN else path.as_posix()


def _linked_from(source: Path) -> Iterator[Path]:
    links = _HTML_LINK if source.suffix == ".html" else _LINK
    for link in links.findall(_text_of(source)):
        if (target := _target(source, link)) is not None:
            yield target


def _target(source: Path, link: str) -> Path | None:
    """The file or folder of the repository that a link leads to; ``None`` where it leads elsewhere or nowhere."""
    path = Path(os.path.normpath((source if source.is_dir() else source.parent) / link))
    return path if path.exists() and path.is_relative_to(ROOT) else None


def _text_of(source: Path) -> str:
    if source.is_dir():
        names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in source.glob("[!._]*"))
        listed = "\n".join(f"- [{name}]({name})" for name in names)
        return f"# `{source.relative_to(ROOT).as_posix()}/`\n\n{listed}\n"
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".ipynb":
        return "\n\n".join(_cell(cell) for cell in json.loads(text)["cells"]) + "\n"
    if source.suffix in _SHOWN:
        return f"# `{source.relative_to(ROOT).as_posix()}`\n\n```{_SHOWN[source.suffix]}\n{text}```\n"
    return text


def _cell(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
