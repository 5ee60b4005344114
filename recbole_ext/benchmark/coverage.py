"""Whether every item that a run ranks has a vector, asked before the runs; of texts, before the vectors are made."""

from __future__ import annotations

import json
from collections.abc import Collection

from recbole_ext.attach import count_covered
from recbole_ext.data.config import about_data
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.stock import stock_dataset
from recbole_ext.data.temporal import Temporal
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.vectors import VectorSource

_KNOWN: dict[tuple[str, ...], list[str]] = {}


def check_texts(dataset: Dataset, source: VectorSource, where: str) -> None:
    """See that all items of ``dataset`` have a text, if ``source`` reads texts.

    Raises:
        ConfigurationError: some have none.
    """
    try:
        texts = source.texts(dataset)
    except RecboleExtError:
        return  # what is wrong with them is said where they are read
    items = dataset.items() if texts is not None else None
    if texts is None or items is None or not (lacking := items.difference(texts.of_item)):
        return
    ranked = _ranked(dataset)
    if absent := [token for token in ranked if token in lacking]:
        raise ConfigurationError(
            f"{where}: {len(absent)} of {len(ranked)} items have no text, and so no vector, the first "
            f"{', '.join(absent[:5])}. Give them one in the .item file, or say in the initialisation what stands for "
            "it: missing: mean, or missing: random."
        )


def check_items(dataset: Dataset, items: set[str], there: Collection[str], policy: str, store: str) -> None:
    """See that ``items``, those of the dataset's files, are ``there``, in a store, or that ``policy`` says what else.

    Raises:
        AttachError: none is, or some are not, and nothing says what becomes of them.
    """
    lacking = items.difference(there)
    if not lacking or (policy != "error" and len(lacking) < len(items)):
        return
    tokens = _ranked(dataset)
    count_covered(tokens, [token in there for token in tokens], policy, store)


def _ranked(dataset: Dataset) -> list[str]:
    """The items that RecBole's filters leave; asked once for all sources, for RecBole takes its time."""
    about = json.dumps(about_data(dataset.effective_keys), sort_keys=True, default=str)
    key = (dataset.name, str(dataset.folder), dataset.fingerprint(), about)
    if key not in _KNOWN:
        if len(_KNOWN) >= 8:
            _KNOWN.clear()
        _KNOWN[key] = _filtered(dataset)
    return _KNOWN[key]


def _filtered(dataset: Dataset) -> list[str]:
    cut = Temporal.of(dataset.keys.get("eval_args")) is not None
    filtered = stock_dataset(dataset.name, dataset.folder, dataset.effective_keys, cut)
    return [str(token) for token in filtered.field2id_token[filtered.iid_field][1:]]
