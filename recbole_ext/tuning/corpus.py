"""What is tuned on: the items of the source domains and the sequences of their training splits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import TuningError
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
    """

    attributes: list[list[tuple[str, str]]]
    texts: list[str]
    sequences: list[np.ndarray]
    too_short: int


def read_corpus(sources: Sequence[Dataset], settings: TuneSettings) -> Corpus:
    """Read the items and the *training split* of each dataset: the last two items of every user stay unseen.

    Raises:
        SourceDataError: a dataset or its item text is not there.
        ConfigurationError: a field is not in an ``.item`` file.
        TuningError: a domain without text, with fewer than two items, or without a sequence of two.
    """
    all_attributes: list[list[tuple[str, str]]] = []
    texts: list[str] = []
    sequences: list[np.ndarray] = []
    too_short = 0
    for source in sources:
        pairs = source.item_key_values(getattr(settings, "attributes", None))
        lines = source.item_texts()
        read = pairs.values() if settings.reads_key_values else lines
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
                f"source domain {source.name!r}: no user's training split (all but the last two items) holds two items "
                "with text. Choose a domain with longer histories."
            )
        too_short += len(found) - len(usable)
        all_attributes += pairs.values()
        texts += [str(text) for text in lines]
        sequences += usable
    if too_short:
        log.info("%d users have fewer than two training items with text and are left out", too_short)
    return Corpus(all_attributes, texts, sequences, too_short)
