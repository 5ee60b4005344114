"""Item text: from the columns of a ``.item`` atomic file to one clean line of text, or key–value pairs, per item."""

from __future__ import annotations

from recbole_ext.text.atomic import open_text, parse_header
from recbole_ext.text.cleaning import clean
from recbole_ext.text.item_fields import read_item_fields
from recbole_ext.text.key_values import key_values
from recbole_ext.text.template import as_sentences, default_template, fields_of, render_parts, render_texts

__all__ = [
    "as_sentences",
    "clean",
    "default_template",
    "fields_of",
    "key_values",
    "open_text",
    "parse_header",
    "read_item_fields",
    "render_parts",
    "render_texts",
]
