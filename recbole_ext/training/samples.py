"""Which samples a model is trained on: the fastest way that keeps RecBole's objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader
from recbole.data.transform import Equal
from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import has_recboles_epochs, trainer_class
from recbole_ext.training.exactness import (
    has_known_loss,
    loss_ignores_labels,
    loss_is_of_scores_alone,
    masks_are_exact,
    one_score_at_a_time_is_all_at_once,
    own_random_numbers,
    rows_are_exact,
    scores_are_dot_products,
    trimmed_loss_is_exact,
    trimmed_scores_are_exact,
)
from recbole_ext.training.loaders import Loaders
from recbole_ext.training.losses import softmax_loss, training_loss
from recbole_ext.training.masked import MaskedRowLoader, mask_ends_at_once, masked_loss
from recbole_ext.training.new_items import refuse_to_learn_from_new_items
from recbole_ext.training.objective import LossOfRows, learns_masked_items, loss_at_targets, replace_loss, row_loss
from recbole_ext.training.prefixes import MaskedPrefixLoader, PrefixLoader
from recbole_ext.training.rows import UserRowLoader
from recbole_ext.training.sampled_ranking import SampledRankingLoader, has_one_positive_each
from recbole_ext.training.transformer import fuse_kernels

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
    has RecBole's masks. A trainer with a ``_train_epoch`` of its own, which is written for them, gets
    ``augmented`` samples.

    Raises:
        ConfigurationError: an unknown value, ``user`` or ``prefix`` for a model or a trainer that it does not fit, a
            ``training_loss`` that is unknown or does not fit, or negatives that the model would take for targets.
    """
    wanted = config["training_samples"] or "auto"
    if wanted not in TRAINING_SAMPLES:
        raise ConfigurationError(
            f"training_samples: {wanted!r} is unknown; choose one of {', '.join(TRAINING_SAMPLES)}."
        )
    mask_ends_at_once(model)
    if own := getattr(model, OWN_SAMPLES, None):
        with own_random_numbers():
            _sample_rankings_at_once(config, model, loaders)
        _read_by_length(loaders)
        return TrainingSamples(own, loaders.train)
    with own_random_numbers():
        _refuse_negatives_as_targets(config, model, loaders)
    samples = None
    if wanted != "augmented" and isinstance(loaders.dataset, SequenceViewDataset):
        with own_random_numbers():
            samples = _shortcut(config, model, loaders, wanted)
    samples = samples or TrainingSamples("augmented", loaders.train)
    if samples.loss_of_rows is None:
        _replace_loss(config, model, loaders)
    if samples.loss_of_rows in (None, row_loss):
        with own_random_numbers():
            refuse_to_learn_from_new_items(config, model, loaders.train)
    return samples


def _refuse_negatives_as_targets(config: Any, model: Any, loaders: Loaders) -> None:
    """RecBole gives a model whose ``input_type`` is ``POINTWISE`` sampled items as samples of their own, which their
    label alone tells from interactions."""
    draws = config["train_neg_sample_args"]["distribution"] != "none"
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL or not draws or has_known_loss(model):
        return
    if config["MODEL_INPUT_TYPE"] == InputType.POINTWISE and loss_ignores_labels(
        model, loaders.train, config["LABEL_FIELD"]
    ):
        raise ConfigurationError(
            f"train_neg_sample_args: the loss of {type(model).__name__} reads no label ({config['LABEL_FIELD']}), and "
            "would take the items that are sampled as negatives for targets. Set train_neg_sample_args: null, best in "
            "the `defaults` of the class."
        )


def _shortcut(config: Any, model: Any, loaders: Loaders, wanted: str) -> TrainingSamples | None:
    """What ``wanted`` names, with evaluation that reads every history once, where all of it is exact."""
    _sample_rankings_at_once(config, model, loaders)
    if not has_recboles_epochs(config.model_class):
        if wanted != "auto":
            raise ConfigurationError(
                f"training_samples: {wanted!r} would go past the _train_epoch of "
                f"{trainer_class(config.model_class).__name__}; use auto or augmented."
            )
        return None
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
        # RecBole's own sampled ranking joins a batch user by user, which needs one width for all; given histories stay
        # as they are.
        if isinstance(split, FullSortEvalDataLoader) and isinstance(split._dataset, SequenceViewDataset):
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
        return TrainingSamples(
            "user", MaskedRowLoader(config, dataset, sampler), _loss(config, model, masked_loss, dataset)
        )
    if config["transform"] is not None or config["train_neg_sample_args"]["dynamic"]:
        return None
    loader = UserRowLoader(config, dataset, sampler)
    if not rows_are_exact(model, loader):
        return None
    return TrainingSamples("user", loader, _loss(config, model, row_loss, dataset))


def _trimmed_prefixes(config: Any, model: Any, loaders: Loaders) -> TrainingSamples | None:
    dataset = loaders.train._dataset
    if config["transform"] == MASKS:
        loader = MaskedPrefixLoader(loaders.train)
        exact = masks_are_exact(model, loader)
        return TrainingSamples("prefix", loader, _loss(config, model, masked_loss, dataset)) if exact else None
    if config["transform"] is not None or config["train_neg_sample_args"]["dynamic"]:
        return None
    if rows_are_exact(model, UserRowLoader(config, dataset, loaders.train._sampler)):
        return TrainingSamples("prefix", PrefixLoader(loaders.train), _loss(config, model, row_loss, dataset))
    if not trimmed_loss_is_exact(model, dataset):
        return None
    dataset.trim_padding = True
    return TrainingSamples("prefix", loaders.train)


def _loss(config: Any, model: Any, own: LossOfRows, dataset: SequenceViewDataset) -> LossOfRows:
    """The loss that ``training_loss`` names; where the model's own is a softmax over its items, a fast exact one."""
    loss = training_loss(config)
    if learns_masked_items(model):
        return own if loss is None else loss_at_targets(loss)
    by_dot_product = scores_are_dot_products(model, dataset)
    if loss is None:
        is_softmax = (
            getattr(model, "loss_type", "") == "CE"
            and by_dot_product
            and has_known_loss(model)
            and loss_is_of_scores_alone(model, dataset)
        )
        return loss_at_targets(softmax_loss) if is_softmax else own
    if not by_dot_product:
        raise _no_dot_product(model)
    if not has_known_loss(model) and not loss_is_of_scores_alone(model, dataset):
        raise _more_than_scores(config, model)
    return loss_at_targets(loss)


def _replace_loss(config: Any, model: Any, loaders: Loaders) -> None:
    """Put the loss that ``training_loss`` names into a model that trains on RecBole's samples."""
    loss, dataset = training_loss(config), loaders.train._dataset
    if loss is None:
        return
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise _no_dot_product(model)
    with own_random_numbers():
        by_dot_product = scores_are_dot_products(model, dataset)
        of_scores_alone = by_dot_product and loss_is_of_scores_alone(model, dataset)
    if not by_dot_product:
        raise _no_dot_product(model)
    if not of_scores_alone:
        raise _more_than_scores(config, model)
    replace_loss(model, loss)


def _more_than_scores(config: Any, model: Any) -> ConfigurationError:
    return ConfigurationError(
        f"training_loss: {type(model).__name__} adds to the loss of its scores something that "
        f"{config['training_loss']!r} would drop; leave the key out."
    )


def _no_dot_product(model: Any) -> ConfigurationError:
    return ConfigurationError(
        f"training_loss: {type(model).__name__} does not score by a dot product with its items on these samples; "
        "leave the key out."
    )
