"""What is tuned on: the items of the source domains and the sequences of their training splits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import TuningError
from recbole_ext.text import as_sentences
from recbole_ext.tuning.settings import TuneSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Items and training sequences of one or more domains, with items numbered from 1 across all of them.

    Attributes:
        attributes: ``(key, value)`` pairs per item, ``[items]``.
        texts: the item's text as the ``encode`` stage renders it, ``[items]``.
        sequences: items of each user's training split, oldest first; at least two each.
        too_short: users left out, because fewer than two of their training items have text.
        parts: the parts that a text is joined from, ``[items]``.
        first_items: the first item of each domain, ascending from 1, ``[domains]``.
    """

    attributes: list[list[tuple[str, str]]]
    texts: list[str]
    sequences: list[np.ndarray]
    too_short: int
    parts: list[list[str]] = field(default_factory=list)
    first_items: tuple[int, ...] = (1,)

    def domains(self, items: np.ndarray) -> np.ndarray:
        """Which domain each of ``items`` is from, counted from 0."""
        return np.searchsorted(self.first_items, items, side="right") - 1

    def domain_items(self) -> list[range]:
        """The items of each domain."""
        ends = [*self.first_items[1:], len(self.texts) + 1]
        return [range(begin, end) for begin, end in zip(self.first_items, ends, strict=True)]


def read_corpus(sources: Sequence[Dataset], settings: TuneSettings) -> Corpus:
    """Read the items and the *training split* of each dataset, as its keys split it: by default, the last two items of
    every user stay unseen.

    Raises:
        SourceDataError: a dataset or its item text is not there.
        ConfigurationError: a field is not in an ``.item`` file.
        TuningError: a domain without text, with fewer than two items, or without a sequence of two.
    """
    all_attributes: list[list[tuple[str, str]]] = []
    all_parts: list[list[str]] = []
    sequences: list[np.ndarray] = []
    first_items: list[int] = []
    too_short = 0
    for source in sources:
        pairs = source.item_key_values(getattr(settings, "attributes", None))
        parts = source.item_parts()
        read = pairs.values() if settings.reads_key_values else parts
        with_text = {item: row for row, (item, text) in enumerate(zip(pairs, read, strict=True)) if text}
        if len(with_text) < 2:
            raise TuningError(
                f"source domain {source.name!r}: {len(with_text)} of its items have text, and tuning needs at least "
                "two. Convert it with item texts, or choose other fields for its text."
            )
        offset = len(all_attributes) + 1
        found = [
            np.array([with_text[str(item)] + offset for item in history if str(item) in with_text])
            for history in source.training_histories()
        ]
        usable = [sequence for sequence in found if len(sequence) > 1]
        if not usable:
            raise TuningError(
                f"source domain {source.name!r}: no user's training split (all but the last two items, unless a run "
                "splits otherwise) holds two items with text. Choose a domain with longer histories."
            )
        too_short += len(found) - len(usable)
        first_items.append(offset)
        all_attributes += pairs.values()
        all_parts += parts
        sequences += usable
    if too_short:
        log.info("%d users have fewer than two training items with text and are left out", too_short)
    texts = [as_sentences(parts) for parts in all_parts]
    return Corpus(all_attributes, texts, sequences, too_short, all_parts, tuple(first_items))
