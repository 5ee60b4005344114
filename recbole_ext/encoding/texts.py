"""The items' texts as sources read them: those of the items that have any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import SourceDataError
from recbole_ext.hashing import sha256_of, sha256_of_file


@dataclass(frozen=True)
class ItemTexts:
    """Texts by item token, in the order of the ``.item`` file.

    Attributes:
        parts: the template's parts, or the fields that were read as key–value pairs.
        without: items of the file that have no text.
    """

    of_item: dict[str, str]
    parts: list[str]
    without: int

    @cached_property
    def request(self) -> dict[str, Any]:
        """What of a source's request is about texts."""
        return {"template": self.parts, "texts": sha256_of(list(self.of_item.items()))}

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say about items without text."""
        if not self.without:
            return ()
        return (
            f"items without text, which get no vector: {self.without} (what stands for it says `missing`, or "
            "item_embedding_missing)",
        )


def item_texts(dataset: Dataset, template: Sequence[str] | None = None) -> ItemTexts:
    """Each item's line of text.

    Raises:
        SourceDataError: no ``.item`` file, a malformed one, or one without any text.
        ConfigurationError: the template names no field or an unknown one.
    """
    return _read(dataset, "lines", template)


def item_key_values(dataset: Dataset, attributes: Sequence[str] | None = None) -> ItemTexts:
    """Each item's pairs of key and value as one JSON text, as encoders read them that RECFORMER's objectives tuned.

    Raises:
        SourceDataError, ConfigurationError: as :func:`item_texts`.
    """
    return _read(dataset, "pairs", attributes)


READING_KEYS = ("item_text", "ITEM_ID_FIELD", "field_separator", "seq_separator", "encoding")
"""What of a dataset's keys decides its texts."""
_KNOWN: dict[tuple[Any, ...], ItemTexts] = {}
MOST_KNOWN = 2
"""Catalogues whose texts are kept in memory."""


def _read(dataset: Dataset, kind: str, parts: Sequence[str] | None) -> ItemTexts:
    """Rendered once as long as the file and what it is read by stay the same: a request asks for them again."""
    if not dataset.item_file.is_file():
        dataset.item_fields()  # says what is missing
    read_by = [(key, repr(value)) for key, value in sorted(dataset.keys.items()) if key in READING_KEYS]
    key = (sha256_of_file(dataset.item_file), kind, tuple(parts or ()), *read_by)
    known = _KNOWN.pop(key, None) or _rendered(dataset, kind, parts)
    while len(_KNOWN) >= MOST_KNOWN:
        del _KNOWN[next(iter(_KNOWN))]  # that which was asked for longest ago
    _KNOWN[key] = known
    return known


def _rendered(dataset: Dataset, kind: str, parts: Sequence[str] | None) -> ItemTexts:
    rendered: Mapping[Any, str]
    if kind == "lines":
        names = dataset.template(parts)
        rendered = dataset.item_texts(names).to_dict()
    else:
        names = dataset.attributes(parts)
        pairs = dataset.item_key_values(names)
        rendered = {item: json.dumps(of, ensure_ascii=False) if of else "" for item, of in pairs.items()}
    texts = {str(item): text for item, text in rendered.items() if text}
    if not texts:
        raise SourceDataError(
            f"dataset {dataset.name!r}: no item has any text with the template {names}. Choose other fields of its "
            ".item file."
        )
    return ItemTexts(texts, names, len(rendered) - len(texts))
