"""What is tuned on: the items of the source domains and the sequences of their training splits."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.data.files import read_dataset_config, recbole_keys, require_dataset
from recbole_ext.data.fingerprints import dataset_fingerprint
from recbole_ext.data.protocol import PROTOCOL
from recbole_ext.encode.item_file import locate_item_file
from recbole_ext.errors import TuningError
from recbole_ext.text import default_template, fields_of, key_values, read_item_fields, render_texts

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


def read_corpus(
    datasets: Sequence[str], data_path: Path | str, dataset_configs: Path, attributes: Sequence[str] | None
) -> Corpus:
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
    for name in datasets:
        settings = read_dataset_config(dataset_configs / f"{name}.yaml")
        fields = read_item_fields(locate_item_file(name, data_path), settings.get("ITEM_ID_FIELD", "item_id"))
        template = settings.get("item_text") or default_template(fields)
        pairs = key_values(fields, attributes or fields_of(template))
        with_text = {item: row for row, (item, values) in enumerate(zip(fields.index, pairs, strict=True)) if values}
        if len(with_text) < 2:
            raise TuningError(
                f"source domain {name!r}: {len(with_text)} of its items have text, and tuning needs at least two. "
                "Convert it with item texts, or choose other `attributes`."
            )
        histories = training_histories(name, data_path, settings)
        offset = len(all_attributes) + 1
        found = [np.array([with_text[item] + offset for item in history if item in with_text]) for history in histories]
        usable = [sequence for sequence in found if len(sequence) > 1]
        if not usable:
            raise TuningError(
                f"source domain {name!r}: no user's training split (all but the last two items) holds two items with "
                "text. Choose a domain with longer histories."
            )
        too_short += len(found) - len(usable)
        all_attributes += pairs
        texts += [str(text) for text in render_texts(fields, template)]
        sequences += usable
    if too_short:
        log.info("%d users have fewer than two training items with text and are left out", too_short)
    return Corpus(all_attributes, texts, sequences, too_short)


def training_histories(dataset: str, data_path: Path | str, settings: dict[str, Any]) -> list[np.ndarray]:
    """Every user's training items as tokens, oldest first, under RecBole's filters and leave-one-out split."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.models import recbole_config
    from recbole_ext.training import load

    require_dataset(dataset, str(data_path))
    keys = {**PROTOCOL, **(recbole_keys(settings) or {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}})}
    keys |= {"data_path": str(data_path), "train_neg_sample_args": None, "show_progress": False}
    train = load(recbole_config("SASRec", dataset, keys)).train._dataset
    items = train.history[train.iid_field].numpy()
    return [
        train.id2token(train.iid_field, items[begin : begin + length])
        for begin, length in zip(*train.training_histories(), strict=True)
    ]


def source_fingerprints(datasets: Sequence[str], data_path: Path | str) -> dict[str, str]:
    """What the sequences and texts of each source come from."""
    return {
        name: f"{dataset_fingerprint(name, str(data_path))}:"
        f"{hashlib.sha256(locate_item_file(name, data_path).read_bytes()).hexdigest()}"
        for name in datasets
    }
