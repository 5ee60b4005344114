"""Which shortcuts are exact for a model is asked of the model itself, not read from a list of names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_ext.training.objective import gathering, row_loss
from recbole_ext.training.rows import TARGET_POSITION, TARGET_ROW, UserRowLoader
from recbole_ext.training.sequences import SequenceViewDataset

log = logging.getLogger(__name__)

PROBED_SAMPLES = 12
TOLERANCE = 1e-4
PROBE_ERRORS = (TypeError, RuntimeError, IndexError, KeyError, AttributeError, NotImplementedError)


@torch.no_grad()
def trimmed_scores_are_exact(model: Any, dataset: SequenceViewDataset) -> bool:
    """Do scores stay the same when padding beyond the batch's longest history is cut off?

    False for models built for a fixed length (Caser's filters, FEARec's Fourier transform, …).
    """
    return _same_when_trimmed(model, dataset, _scores)


@torch.no_grad()
def trimmed_loss_is_exact(model: Any, dataset: SequenceViewDataset) -> bool:
    """The same for the loss; also false for a loss that is random even without dropout."""
    return _same_when_trimmed(model, dataset, lambda model, samples: model.calculate_loss(samples))


def _same_when_trimmed(model: Any, dataset: SequenceViewDataset, compute: Callable[[Any, Any], torch.Tensor]) -> bool:
    samples = _short_samples(dataset)
    if not len(samples):
        return False
    model.eval()
    try:
        padded, trimmed = (compute(model, _read(model, dataset, samples, trim)) for trim in (False, True))
    except PROBE_ERRORS as error:
        log.debug("%s needs its fixed length: %s", type(model).__name__, error)
        return False
    return _equal(padded, trimmed)


@torch.no_grad()
def rows_are_exact(model: Any, loader: UserRowLoader) -> bool:
    """Does a row give the outputs and the mean loss of all its prefixes?

    True for causal models whose ``forward`` ends with ``gather_indexes`` and whose loss reads nothing but that
    output and the targets: SASRec, GRU4Rec and those like them.
    """
    dataset, table = loader._dataset, loader.rows
    if not hasattr(model, "gather_indexes") or model.max_seq_length != dataset.max_item_list_len:
        return False
    rows = np.argsort(np.diff(table.first_target), kind="stable")[-2:]
    in_rows = loader.batch(rows)
    start = torch.from_numpy(table.start[rows])[in_rows[TARGET_ROW]]
    length = in_rows[TARGET_POSITION] + 1
    as_prefixes = Interaction(
        dataset.padded_histories(start, length)
        | {field: in_rows[field] for field in (model.ITEM_ID, model.NEG_ITEM_ID) if field in in_rows}
        | {model.ITEM_SEQ_LEN: length}
    )
    in_rows, as_prefixes = in_rows.to(model.device), as_prefixes.to(model.device)
    model.eval()
    try:
        with gathering(model, in_rows[TARGET_ROW], in_rows[TARGET_POSITION]):
            row_outputs = model.forward(in_rows[model.ITEM_SEQ], in_rows[model.ITEM_SEQ_LEN])
        outputs = model.forward(as_prefixes[model.ITEM_SEQ], as_prefixes[model.ITEM_SEQ_LEN])
        return _equal(outputs, row_outputs) and _equal(model.calculate_loss(as_prefixes), row_loss(model, in_rows))
    except PROBE_ERRORS as error:
        log.debug("%s can't be trained on rows: %s", type(model).__name__, error)
        return False


def _equal(expected: torch.Tensor, found: torch.Tensor) -> bool:
    """Equal but for rounding, measured against the spread of the values: fresh models score everything near 0."""
    if isinstance(expected, tuple) or expected.shape != found.shape:
        return False
    spread = expected.std() if expected.numel() > 1 else expected.abs()
    return bool((expected - found).abs().max() <= TOLERANCE * spread.clamp_min(1e-12))


def _short_samples(dataset: SequenceViewDataset) -> np.ndarray:
    length = dataset.inter_feat[dataset.item_list_length_field].numpy()
    shortest = np.argsort(length, kind="stable")[: len(length) // 2 or 1]
    samples = shortest[np.linspace(0, len(shortest) - 1, min(PROBED_SAMPLES, len(shortest))).astype(int)]
    return samples[length[samples] < dataset.max_item_list_len]


def _read(model: Any, dataset: SequenceViewDataset, samples: np.ndarray, trim: bool) -> Interaction:
    before, dataset.trim_padding = dataset.trim_padding, trim
    try:
        interaction = dataset[samples]
    finally:
        dataset.trim_padding = before
    interaction.update(Interaction({model.NEG_ITEM_ID: interaction[model.ITEM_ID].roll(1)}))
    return interaction.to(model.device)


def _scores(model: Any, samples: Interaction) -> torch.Tensor:
    try:
        return model.full_sort_predict(samples)
    except NotImplementedError:
        return model.predict(samples)
