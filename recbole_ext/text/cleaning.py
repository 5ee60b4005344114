"""Cleaning: what shops, crawlers and word processors leave in a text is taken out, once."""

from __future__ import annotations

import html
import html.entities
import re

# Separators of lines and fields, control characters, and code points that stand for "unreadable".
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]+")
# Code points without width or meaning inside a line; joiners that change how letters or emoji look are kept.
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
# Only references that end in a semicolon: "AT&T", "R&D" and "?a=1&copy=2" mean what they say.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")

_INLINE_TAGS = "a abbr b big cite code del em font i ins kbd q s small span strike strong sub sup tt u var wbr"
_BLOCK_TAGS = (
    "address blockquote body br button caption center col colgroup dd div dl dt embed form h1 h2 h3 h4 h5 h6"
    " head hr html iframe img input li link meta noscript object ol option p param pre script select style"
    " table tbody td textarea tfoot th thead title tr ul xml"
)
_ATTRIBUTES = r"""(?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*\s*/?"""
_HIDDEN = re.compile(  # what no reader of the page ever saw, content and all
    r"<(script|style|xml)\b[^<>]*>.*?</\1\s*>"
    r"|<!(?:--)?\[(?:if|endif)[^\]<>]*\](?:-->|>)?|\[if [^\]<>]*\]>|<!--(?:-?>|.*?-->)?"
    r"|<!doctype\b[^<>]*>|<\?xml\b[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = re.compile(rf"</?(?:{_INLINE_TAGS.replace(' ', '|')}){_ATTRIBUTES}>", re.IGNORECASE)
_BLOCK = re.compile(  # with the namespaced tags that word processors leave behind, such as <o:p>
    rf"</?(?:{_BLOCK_TAGS.replace(' ', '|')}|[a-z]{{1,6}}:[a-z]\w*){_ATTRIBUTES}>", re.IGNORECASE
)


def clean(text: str) -> str:
    """One line of plain text: what a reader of the web page that ``text`` comes from would have seen.

    HTML entities are resolved until none is left (shop data is often escaped twice), HTML tags and comments
    are removed, control characters, tabs and line ends become spaces, and runs of spaces become one. Tags are
    known by name and form, so ``"< 5 V"`` and ``"<b and c>"`` stay. ``clean(clean(text)) == clean(text)``.
    """
    text = _squeeze(text)
    while "&" in text or "<" in text:
        simpler = _squeeze(_without_markup(_REFERENCE.sub(_resolve, text)))
        if simpler == text:
            break
        text = simpler
    return text


def _squeeze(text: str) -> str:
    return _BLANK.sub(" ", _INVISIBLE.sub("", text)).strip()


def _resolve(reference: re.Match[str]) -> str:
    body = reference[0][1:]
    # html.unescape would also resolve a prefix ("&notes;" to "¬es;"), so names are looked up whole.
    return html.unescape(reference[0]) if body[0] == "#" else html.entities.html5.get(body, reference[0])


def _without_markup(text: str) -> str:
    return _BLOCK.sub(" ", _INLINE.sub("", _HIDDEN.sub(" ", text)))
