"""Which shortcuts are exact for a model is asked of the model itself, not read from a list of names.

Each question is answered by computing a few samples both ways, without dropout and in double precision, so that
rounding can't be taken for a difference nor a difference for rounding. Parameters that begin as one number (a bias of
zeros, a temperature of 1) are moved from it meanwhile: what they do could not be seen otherwise.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.loss import BPRLoss
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.training.masked import masked_loss
from recbole_ext.training.new_items import n_trained_items
from recbole_ext.training.objective import gathering, learns_masked_items, outputs_of, row_loss, scored_items
from recbole_ext.training.prefixes import MaskedPrefixLoader
from recbole_ext.training.rows import TARGET_POSITION, TARGET_ROW, UserRowLoader

log = logging.getLogger(__name__)

PROBED_SAMPLES = 12
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}

Pairs = list[tuple[torch.Tensor, torch.Tensor]]


def has_known_loss(model: Any) -> bool:
    """Is ``calculate_loss`` RecBole's or this package's, and not one of the user's?

    What another adds while it trains alone, such as the distance of two passes with dropout, no comparison without
    dropout can see: it is never replaced by a loss that is equal without it.
    """
    inner = getattr(model, "loss_fct", None)
    return _is_known(model, "calculate_loss") and (inner is None or _of_packages(type(inner).__module__, "torch"))


def _is_known(model: Any, method: str) -> bool:
    """Whether RecBole or this package has written it: the class's, and what may have been put over it in the model."""
    owner = next((kind for kind in type(model).__mro__ if method in vars(kind)), None)
    if owner is None or not _of_packages(owner.__module__):
        return False
    # This package's way of leaving new items out is such a function; its globals tell whose it is.
    over = vars(model).get(method)
    return over is None or _of_packages(str(getattr(over, "__globals__", {}).get("__name__")))


def _of_packages(module: str, *others: str) -> bool:
    return module.partition(".")[0] in ("recbole", "recbole_ext", *others)


def normalises_over_the_batch(model: Any) -> bool:
    """Whether something in the model is normalised by its mean over all that a training step computes together.

    No comparison without dropout sees it, for then it takes the means that it has kept.
    """
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def trimmed_scores_are_exact(model: Any, dataset: SequenceViewDataset) -> bool:
    """Do scores stay the same when padding beyond the batch's longest history is cut off?

    False for models built for a fixed length (Caser's filters, FEARec's Fourier transform, …).
    """

    def compare() -> Pairs:
        padded, trimmed = _padded_and_trimmed(model, dataset)
        return [(_scores(model, padded), _scores(model, trimmed))]

    return _all_equal(model, compare)


def trimmed_loss_is_exact(model: Any, dataset: SequenceViewDataset) -> bool:
    """The same for scores and loss; also false for a loss that is random even without dropout, and where padding is
    normalised with the rest."""
    if normalises_over_the_batch(model):
        return False

    def compare() -> Pairs:
        padded, trimmed = _padded_and_trimmed(model, dataset)
        return [
            (_scores(model, padded), _scores(model, trimmed)),
            (model.calculate_loss(padded), model.calculate_loss(trimmed)),
        ]

    return _all_equal(model, compare)


def rows_are_exact(model: Any, loader: UserRowLoader) -> bool:
    """Does a row give the outputs and the mean loss of all its prefixes?

    True for causal models whose ``forward`` ends with ``gather_indexes`` and whose loss reads nothing but that
    output and the targets, each by itself: SASRec, GRU4Rec and those like them. False where samples of a batch are
    compared with each other: rows would be compared with others.
    """
    dataset, table = loader._dataset, loader.rows
    if len(table) == 0 or not hasattr(model, "gather_indexes") or model.max_seq_length != dataset.max_item_list_len:
        return False
    if normalises_over_the_batch(model):
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

    def compare() -> Pairs:
        with gathering(model, in_rows):
            row_outputs = model.forward(in_rows[model.ITEM_SEQ], in_rows[model.ITEM_SEQ_LEN])
        outputs = model.forward(as_prefixes[model.ITEM_SEQ], as_prefixes[model.ITEM_SEQ_LEN])
        loss = model.calculate_loss(as_prefixes)
        return [(outputs, row_outputs), (loss, row_loss(model, in_rows)), (loss, _loss_by_shares(model, as_prefixes))]

    return _all_equal(model, compare)


def masks_are_exact(model: Any, loader: MaskedPrefixLoader) -> bool:
    """Is the model's loss of RecBole's masked samples the loss at the masked positions alone? (BERT4Rec)"""
    if not learns_masked_items(model) or not has_known_loss(model) or normalises_over_the_batch(model):
        return False
    dataset = loader._dataset
    samples = dataset[np.linspace(0, len(dataset) - 1, min(PROBED_SAMPLES, len(dataset))).astype(int)]
    masked = loader.samples.transform(dataset, samples)
    at_masks = loader.part(masked)

    def compare() -> Pairs:
        whole, part = masked.to(model.device), at_masks.to(model.device)
        return [(model.calculate_loss(whole), masked_loss(model, part))]

    return _all_equal(model, compare)


def scores_are_dot_products(model: Any, dataset: SequenceViewDataset) -> bool:
    """Does the model score an item by the dot product of its output with the item's vector?"""

    def compare() -> Pairs:
        padded, _ = _padded_and_trimmed(model, dataset)
        outputs = outputs_of(model, padded)
        return [(_scores(model, padded), outputs @ scored_items(model).T)]

    return _all_equal(model, compare)


def loss_is_of_scores_alone(model: Any, dataset: SequenceViewDataset) -> bool:
    """Is the loss the softmax over the scores of all items (``loss_type: CE``) or the BPR of two, and nothing more?"""

    def compare() -> Pairs:
        samples, _ = _padded_and_trimmed(model, dataset)
        scores, target = _scores(model, samples), samples[model.POS_ITEM_ID]
        if model.loss_type == "CE":
            return [(cross_entropy(scores[:, : n_trained_items(model)], target), model.calculate_loss(samples))]
        positive, negative = (
            scores.gather(1, items.unsqueeze(1)).squeeze(1) for items in (target, samples[model.NEG_ITEM_ID])
        )
        return [(BPRLoss()(positive, negative), model.calculate_loss(samples))]

    return _all_equal(model, compare)


def loss_is_a_mean_over_samples(model: Any, loader: Any) -> bool:
    """Is the loss of samples together the mean of their losses, whichever others are computed with them?

    False where samples of a batch are compared with each other. What depends on parameters alone may be added.

    Args:
        loader: RecBole's, of training samples.
    """

    def compare() -> Pairs:
        n_samples = loader.sample_size
        some = np.linspace(0, n_samples - 1, min(PROBED_SAMPLES, n_samples)).astype(int)
        samples = loader.collate_fn(some).to(model.device)
        return [(_whole(model.calculate_loss(samples)), _loss_by_shares(model, samples))]

    return _all_equal(model, compare)


def loss_ignores_labels(model: Any, loader: Any, label: str) -> bool:
    """Is the loss of RecBole's training samples the same, to the last bit, whether their field ``label`` says that all
    were taken or that none was? (Turning the labels round may leave a loss nearly as it is: scores begin near zero.)"""

    def compare() -> Pairs:
        n_samples = loader.sample_size
        some = np.linspace(0, n_samples - 1, min(PROBED_SAMPLES, n_samples)).astype(int)
        samples = loader.collate_fn(some).to(model.device)
        losses = []
        for of_all in (torch.ones_like, torch.zeros_like):
            samples.update(Interaction({label: of_all(samples[label])}))
            losses.append(_whole(model.calculate_loss(samples)))
        return [(torch.ones(1), torch.tensor([float(torch.equal(*losses))]))]

    return _all_equal(model, compare)


def one_score_at_a_time_is_all_at_once(model: Any, dataset: SequenceViewDataset) -> bool:
    """Does scoring all items of a history give an item the score that it gets alone?"""

    def compare() -> Pairs:
        samples = dataset[np.linspace(0, len(dataset) - 1, min(PROBED_SAMPLES, len(dataset))).astype(int)]
        samples = samples.to(model.device)
        scores = model.full_sort_predict(samples).view(len(samples), -1)
        return [(model.predict(samples), scores.gather(1, samples[model.ITEM_ID].unsqueeze(1)).squeeze(1))]

    return _all_equal(model, compare)


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """Leave the random numbers of the training as they were: a probe may draw some, and RecBole makes none."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@torch.no_grad()
def _all_equal(model: Any, compare: Callable[[], Pairs]) -> bool:
    """Whether ``compare`` gives equal pairs; a model that can't compute one of them does not qualify."""
    was_training = model.training
    precision = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    model.eval()
    # Without dropout, but with what a model of the user's does in training alone.
    model.training = not (has_known_loss(model) and _is_known(model, "forward"))
    try:
        for dtype in (torch.float64, precision):
            try:
                with _lent(model, dtype):
                    return all(_equal(expected, found) for expected, found in compare())
            # Whatever a model does not bear says no; in double precision perhaps only for a constant of another type.
            except Exception as error:
                log.log(
                    logging.INFO if dtype == precision else logging.DEBUG,
                    "%s: trained and evaluated in RecBole's own way; no faster one could be compared (%s: %s)",
                    type(model).__name__,
                    type(error).__name__,
                    error,
                )
        return False
    finally:
        model.train(was_training)


@contextmanager
def _lent(model: Any, dtype: torch.dtype) -> Iterator[None]:
    """The model with copies of its parameters and buffers in this precision, in which a little noise is added to every
    parameter that is made of one number or two (zeros, ones, the identity), for these may leave out what training does
    with it. Its own ones are put back as they were, and so are numbers that it counts with."""
    attributes = [(part, dict(vars(part))) for part in model.modules()]
    kept = [(tensor, tensor.data) for tensor in (*model.parameters(), *model.buffers())]
    try:
        for tensor, data in kept:
            tensor.data = data.to(dtype, copy=True) if data.is_floating_point() else data.clone()
            if isinstance(tensor, torch.nn.Parameter) and data.is_floating_point() and _is_plain_matrix(data):
                noise = torch.randn(data.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
                tensor.data += 0.1 * noise.to(data.device)
        yield
    finally:
        for tensor, data in kept:
            tensor.data = data
        for part, before in attributes:
            _put_back(part, before)


def _is_plain_matrix(data: torch.Tensor) -> bool:
    return bool(data.numel()) and bool(((data == data.min()) | (data == data.max())).all())


def _put_back(part: Any, before: dict[str, Any]) -> None:
    """Attributes that are a number, a text or nothing, or were it, as they were ``before``."""
    for name, now in list(vars(part).items()):
        if name not in before:
            if _is_value(now):
                delattr(part, name)  # it was its class's
        elif now is not before[name] and (_is_value(now) or _is_value(before[name])):
            vars(part)[name] = before[name]


def _is_value(attribute: Any) -> bool:
    return attribute is None or isinstance(attribute, int | float | str)


def _equal(expected: torch.Tensor, found: torch.Tensor) -> bool:
    """Equal but for rounding, measured against the spread of the values: fresh models score everything near 0."""
    if isinstance(expected, tuple) or expected.shape != found.shape:
        return False
    spread = expected.std() if expected.numel() > 1 else expected.abs()
    return bool((expected - found).abs().max() <= TOLERANCE[expected.dtype] * spread.clamp_min(1e-30))


def _padded_and_trimmed(model: Any, dataset: SequenceViewDataset) -> tuple[Interaction, Interaction]:
    """A few of the shorter samples, once padded to the maximum and once to their own longest.

    Raises:
        IndexError: no sample is shorter than the maximum.
    """
    length = dataset.inter_feat[dataset.item_list_length_field].numpy()
    shortest = np.argsort(length, kind="stable")[: len(length) // 2 or 1]
    samples = shortest[np.linspace(0, len(shortest) - 1, min(PROBED_SAMPLES, len(shortest))).astype(int)]
    samples = samples[length[samples] < dataset.max_item_list_len]
    if not len(samples):
        raise IndexError("every history is as long as the maximum")
    before = dataset.trim_padding
    read = []
    try:
        for dataset.trim_padding in (False, True):
            interaction = dataset[samples]
            interaction.update(Interaction({model.NEG_ITEM_ID: interaction[model.ITEM_ID].roll(1)}))
            read.append(interaction.to(model.device))
    finally:
        dataset.trim_padding = before
    return read[0], read[1]


def _loss_by_shares(model: Any, samples: Interaction) -> torch.Tensor:
    """The mean of the losses of a third of the samples and of the rest, each counted by its samples."""
    shares = [share for share in (samples[: len(samples) // 3], samples[len(samples) // 3 :]) if len(share)]
    losses = [_whole(model.calculate_loss(share)) * (len(share) / len(samples)) for share in shares]
    return torch.stack(losses).sum()


def _whole(loss: Any) -> torch.Tensor:
    return torch.stack(loss).sum() if isinstance(loss, tuple) else loss


def _scores(model: Any, samples: Interaction) -> torch.Tensor:
    try:
        return model.full_sort_predict(samples)
    except NotImplementedError:
        return model.predict(samples)
