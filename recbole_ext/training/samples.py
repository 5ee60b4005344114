"""Which samples a model is trained on: the fastest way that keeps RecBole's objective."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
from recbole.data.transform import Equal
from recbole.utils import EvaluatorType

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.training.exactness import (
    masks_are_exact,
    one_score_at_a_time_is_all_at_once,
    own_random_numbers,
    rows_are_exact,
    scores_are_dot_products,
    trimmed_loss_is_exact,
    trimmed_scores_are_exact,
)
from recbole_ext.training.loaders import Loaders
from recbole_ext.training.losses import MAXIMUM_LOGITS
from recbole_ext.training.masked import MaskedRowLoader, masked_loss
from recbole_ext.training.objective import TRAINING_LOSSES, LossOfRows, dot_product_loss, learns_masked_items, row_loss
from recbole_ext.training.prefixes import MaskedPrefixLoader, PrefixLoader
from recbole_ext.training.rows import UserRowLoader
from recbole_ext.training.sampled_ranking import SampledRankingLoader, has_one_positive_each
from recbole_ext.training.transformer import fuse_kernels

log = logging.getLogger(__name__)

OWN_SAMPLES = "training_samples"
"""Attribute of a model that reads histories through a trainer of its own: what to call its samples."""

MASKS = "mask_itemseq"
"""RecBole's ``transform`` that masks items."""

TRAINING_SAMPLES = ("auto", "user", "prefix", "augmented")


@dataclass(frozen=True)
class TrainingSamples:
    """What a model is trained on.

    Attributes:
        name: ``user`` rows, trimmed ``prefix`` samples, RecBole's ``augmented`` samples, or a model's own kind.
        loader: gives an epoch's batches.
        loss_of_rows: loss of a part of a batch, where batches come as rows; ``None`` = the model's ``calculate_loss``.
    """

    name: str
    loader: Any
    loss_of_rows: LossOfRows | None = None


def choose_samples(config: Any, model: Any, loaders: Loaders) -> TrainingSamples:
    """The fastest way of training ``model`` that keeps RecBole's objective, or the one ``training_samples`` names.

    ``user``: one row per user. ``prefix``: RecBole's batches of samples without their padding. ``augmented``: RecBole's
    samples and evaluation to the last bit. ``auto`` takes the first of these that the model proves exact. What ``user``
    means for a model that learns masked items (BERT4Rec) is said in :mod:`recbole_ext.training.masked`; its ``prefix``
    has RecBole's masks.

    Raises:
        ConfigurationError: an unknown value, or ``user`` or ``prefix`` for a model that it does not fit.
    """
    wanted = config["training_samples"] or "auto"
    if wanted not in TRAINING_SAMPLES:
        raise ConfigurationError(
            f"training_samples: {wanted!r} is unknown; choose one of {', '.join(TRAINING_SAMPLES)}."
        )
    if own := getattr(model, OWN_SAMPLES, None):
        with own_random_numbers():
            _sample_rankings_at_once(config, model, loaders)
        _read_by_length(loaders)
        return TrainingSamples(own, loaders.train)
    stock = TrainingSamples("augmented", loaders.train)
    if wanted == "augmented" or not isinstance(loaders.dataset, SequenceViewDataset):
        return stock
    if not config["single_spec"]:
        log.info("training_samples: several processes train on RecBole's own samples")
        return stock
    with own_random_numbers():
        return _shortcut(config, model, loaders, wanted) or stock


def _shortcut(config: Any, model: Any, loaders: Loaders, wanted: str) -> TrainingSamples | None:
    """What ``wanted`` names, with evaluation that reads every history once, where all of it is exact."""
    _sample_rankings_at_once(config, model, loaders)
    samples = _rows(config, model, loaders) if wanted in ("auto", "user") else None
    if samples is None and wanted in ("auto", "prefix"):
        samples = _trimmed_prefixes(config, model, loaders)
    if samples is None:
        if wanted != "auto":
            raise ConfigurationError(
                f"training_samples: {wanted!r} would change what {type(model).__name__} learns; use auto or augmented."
            )
        return None
    fuse_kernels(model)
    if learns_masked_items(model):
        # RecBole's transform masks evaluation batches too, which nothing reads.
        loaders.valid.transform = loaders.test.transform = Equal(config)
    if trimmed_scores_are_exact(model, loaders.train._dataset):
        _read_by_length(loaders)
    return samples


def _read_by_length(loaders: Loaders) -> None:
    """Let full ranking pad its batches to their own longest history only."""
    for split in (loaders.valid, loaders.test):
        # RecBole's own sampled ranking joins a batch user by user, which needs one width for all.
        if isinstance(split, FullSortEvalDataLoader):
            split._dataset.trim_padding = True
            split._dataset.sort_by_length()


def _sample_rankings_at_once(config: Any, model: Any, loaders: Loaders) -> None:
    """Replace RecBole's loaders of sampled ranking by those that read a history once, where scores stay the same."""
    if config["eval_type"] != EvaluatorType.RANKING:
        return
    for name in ("valid", "test"):
        stock = getattr(loaders, name)
        if (
            isinstance(stock, NegSampleEvalDataLoader)
            and has_one_positive_each(stock)
            and one_score_at_a_time_is_all_at_once(model, stock._dataset)
        ):
            setattr(loaders, name, SampledRankingLoader(stock))


def _rows(config: Any, model: Any, loaders: Loaders) -> TrainingSamples | None:
    dataset, sampler = loaders.train._dataset, loaders.train._sampler
    if config["transform"] == MASKS:
        if not masks_are_exact(model, MaskedPrefixLoader(loaders.train)):
            return None
        return TrainingSamples("user", MaskedRowLoader(config, dataset, sampler), _masked_loss(config, model))
    if config["transform"] is not None or config["train_neg_sample_args"]["dynamic"]:
        return None
    loader = UserRowLoader(config, dataset, sampler)
    if not rows_are_exact(model, loader):
        return None
    return TrainingSamples("user", loader, _row_loss(config, model, dataset))


def _trimmed_prefixes(config: Any, model: Any, loaders: Loaders) -> TrainingSamples | None:
    dataset = loaders.train._dataset
    if config["transform"] == MASKS:
        loader = MaskedPrefixLoader(loaders.train)
        exact = masks_are_exact(model, loader)
        return TrainingSamples("prefix", loader, _masked_loss(config, model)) if exact else None
    if config["transform"] is not None or config["train_neg_sample_args"]["dynamic"]:
        return None
    if rows_are_exact(model, UserRowLoader(config, dataset, loaders.train._sampler)):
        return TrainingSamples("prefix", PrefixLoader(loaders.train), _row_loss(config, model, dataset))
    if not trimmed_loss_is_exact(model, dataset):
        return None
    dataset.trim_padding = True
    return TrainingSamples("prefix", loaders.train)


def _masked_loss(config: Any, model: Any) -> LossOfRows:
    return _loss(config, model, masked_loss, lambda: True)


def _row_loss(config: Any, model: Any, dataset: SequenceViewDataset) -> LossOfRows:
    return _loss(config, model, row_loss, lambda: scores_are_dot_products(model, dataset))


def _loss(config: Any, model: Any, own: LossOfRows, is_dot_product: Callable[[], bool]) -> LossOfRows:
    """The loss that ``training_loss`` names; a large catalogue's softmax goes in bounded memory by itself."""
    kind = config["training_loss"] or "model"
    if kind not in TRAINING_LOSSES:
        raise ConfigurationError(f"training_loss: {kind!r} is unknown; choose one of {', '.join(TRAINING_LOSSES)}.")
    large = config["train_batch_size"] * model.n_items > MAXIMUM_LOGITS and getattr(model, "loss_type", "") == "CE"
    if kind == "model" and not (large and is_dot_product()):
        return own
    if not is_dot_product():
        raise ConfigurationError(
            f"training_loss: {type(model).__name__} does not score by a dot product with its items; use model."
        )
    return dot_product_loss("softmax" if kind == "model" else kind, config["training_negatives"])
