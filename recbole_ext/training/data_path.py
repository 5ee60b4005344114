"""From a RecBole config to data loaders, and from a model to the fastest exact way of training it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
from recbole.utils import ModelType

from recbole_ext.errors import ConfigurationError
from recbole_ext.training.evaluation import bounded_batch_size
from recbole_ext.training.exactness import (
    loss_is_of_scores_alone,
    one_score_at_a_time_is_all_at_once,
    rows_are_exact,
    scores_are_dot_products,
    trimmed_loss_is_exact,
    trimmed_scores_are_exact,
)
from recbole_ext.training.losses import softmax_loss, training_loss
from recbole_ext.training.masked import MaskedRowLoader, masked_loss
from recbole_ext.training.objective import LossOfRows, loss_at_targets, replace_loss, row_loss
from recbole_ext.training.prefixes import MaskedPrefixLoader, PrefixLoader
from recbole_ext.training.rows import UserRowLoader
from recbole_ext.training.sampled_ranking import SampledRankingLoader, has_one_positive_each
from recbole_ext.training.sequences import SequenceViewDataset
from recbole_ext.training.transformer import fuse_kernels

log = logging.getLogger(__name__)

OWN_SAMPLES = "training_samples"
"""Attribute of a model that reads histories through a trainer of its own: what to call its samples."""

TRAINING_SAMPLES = ("auto", "user", "prefix", "augmented")


@dataclass
class Loaders:
    """The three splits as RecBole's loaders, and the whole dataset they come from."""

    dataset: Any
    train: Any
    valid: Any
    test: Any


@dataclass(frozen=True)
class DataPath:
    """How a model is trained: ``user`` rows, trimmed ``prefix`` samples, or RecBole's ``augmented`` samples."""

    name: str
    train: Any
    loss_of_rows: LossOfRows | None = None


def load(config: Any) -> Loaders:
    """Read and split the dataset of ``config`` by RecBole's own rules."""
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and config["benchmark_filename"] is None:
        dataset = SequenceViewDataset(config)
        config["eval_batch_size"] = bounded_batch_size(config["eval_batch_size"], dataset.item_num)
    else:
        dataset = create_dataset(config)
    return Loaders(dataset, *data_preparation(config, dataset))


def choose_data_path(config: Any, model: Any, loaders: Loaders) -> DataPath:
    """The fastest way of training ``model`` that keeps RecBole's objective, or the one ``training_samples`` names.

    ``user``: one row per user (BERT4Rec: masked rows). ``prefix``: RecBole's batches of samples (BERT4Rec: with
    RecBole's masks) without their padding. ``augmented``: RecBole's samples and evaluation to the last bit. ``auto``
    takes the first of these that the model proves exact; what ``user`` means for BERT4Rec is said in
    :mod:`recbole_ext.training.masked`.

    Raises:
        ConfigurationError: an unknown value, ``user`` or ``prefix`` for a model that it does not fit, or a
            ``training_loss`` that is unknown or does not fit.
    """
    wanted = config["training_samples"] or "auto"
    if wanted not in TRAINING_SAMPLES:
        raise ConfigurationError(
            f"training_samples: {wanted!r} is unknown; choose one of {', '.join(TRAINING_SAMPLES)}."
        )
    if own := getattr(model, OWN_SAMPLES, None):
        _sample_rankings_at_once(model, loaders)
        _read_by_length(loaders)
        return DataPath(own, loaders.train)
    stock = DataPath("augmented", loaders.train)
    if wanted == "augmented" or not isinstance(loaders.dataset, SequenceViewDataset):
        _replace_loss(config, model, loaders)
        return stock
    if not config["single_spec"]:
        log.info("training_samples: several processes train on RecBole's own samples")
        _replace_loss(config, model, loaders)
        return stock
    _sample_rankings_at_once(model, loaders)
    path = _rows(config, model, loaders) if wanted in ("auto", "user") else None
    if path is None and wanted in ("auto", "prefix"):
        path = _trimmed_prefixes(config, model, loaders)
    if path is None:
        if wanted != "auto":
            raise ConfigurationError(
                f"training_samples: {wanted!r} would change what {type(model).__name__} learns; use auto or augmented."
            )
        _replace_loss(config, model, loaders)
        return stock
    if path.loss_of_rows is None:
        _replace_loss(config, model, loaders)
    fuse_kernels(model)
    if type(model).__name__ == "BERT4Rec":
        # RecBole's transform masks evaluation batches too, which nothing reads.
        loaders.valid.transform = loaders.test.transform = lambda _, interaction: interaction
    if trimmed_scores_are_exact(model, loaders.valid._dataset):
        _read_by_length(loaders)
    return path


def _read_by_length(loaders: Loaders) -> None:
    """Let full ranking pad its batches to their own longest history only."""
    for split in (loaders.valid, loaders.test):
        # RecBole's own sampled ranking joins a batch user by user, which needs one width for all.
        if isinstance(split, FullSortEvalDataLoader):
            split._dataset.trim_padding = True
            split._dataset.sort_by_length()


def _sample_rankings_at_once(model: Any, loaders: Loaders) -> None:
    """Replace RecBole's loaders of sampled ranking by those that read a history once, where scores stay the same."""
    for name in ("valid", "test"):
        stock = getattr(loaders, name)
        if (
            isinstance(stock, NegSampleEvalDataLoader)
            and has_one_positive_each(stock)
            and one_score_at_a_time_is_all_at_once(model, stock._dataset)
        ):
            setattr(loaders, name, SampledRankingLoader(stock))


def _rows(config: Any, model: Any, loaders: Loaders) -> DataPath | None:
    dataset, sampler = loaders.train._dataset, loaders.train._sampler
    if type(model).__name__ == "BERT4Rec":
        loss = _loss(config, model, masked_loss, loaders)
        return DataPath("user", MaskedRowLoader(config, dataset, sampler), loss)
    if config["transform"] is not None:
        return None
    loader = UserRowLoader(config, dataset, sampler)
    if not rows_are_exact(model, loader):
        return None
    return DataPath("user", loader, _loss(config, model, row_loss, loaders))


def _loss(config: Any, model: Any, own: LossOfRows, loaders: Loaders) -> LossOfRows:
    """The loss that ``training_loss`` names; where the model's own is a softmax over its items, a fast exact one."""
    loss, dataset = training_loss(config), loaders.valid._dataset
    if type(model).__name__ == "BERT4Rec":
        return own if loss is None else loss_at_targets(loss)
    by_dot_product = scores_are_dot_products(model, dataset)
    if loss is None:
        is_softmax = (
            getattr(model, "loss_type", "") == "CE" and by_dot_product and loss_is_of_scores_alone(model, dataset)
        )
        return loss_at_targets(softmax_loss) if is_softmax else own
    if not by_dot_product:
        raise _no_dot_product(model)
    return loss_at_targets(loss)


def _replace_loss(config: Any, model: Any, loaders: Loaders) -> None:
    """Put the loss that ``training_loss`` names into a model that trains on RecBole's samples."""
    loss, dataset = training_loss(config), loaders.valid._dataset
    if loss is None:
        return
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL or not scores_are_dot_products(model, dataset):
        raise _no_dot_product(model)
    if not loss_is_of_scores_alone(model, dataset):
        raise ConfigurationError(
            f"training_loss: {type(model).__name__} adds to the loss of its scores something that "
            f"{config['training_loss']!r} would drop; leave the key out."
        )
    replace_loss(model, loss)


def _no_dot_product(model: Any) -> ConfigurationError:
    return ConfigurationError(
        f"training_loss: {type(model).__name__} does not score by a dot product with its items on these samples; "
        "leave the key out."
    )


def _trimmed_prefixes(config: Any, model: Any, loaders: Loaders) -> DataPath | None:
    dataset = loaders.train._dataset
    if type(model).__name__ == "BERT4Rec":
        loss = _loss(config, model, masked_loss, loaders)
        return DataPath("prefix", MaskedPrefixLoader(loaders.train), loss)
    if config["transform"] is not None:
        return None
    if rows_are_exact(model, UserRowLoader(config, dataset, loaders.train._sampler)):
        return DataPath("prefix", PrefixLoader(loaders.train), _loss(config, model, row_loss, loaders))
    if not trimmed_loss_is_exact(model, dataset):
        return None
    dataset.trim_padding = True
    return DataPath("prefix", loaders.train)
