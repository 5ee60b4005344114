"""What one run costs, counted from its keys and the size of its data, and scaled to what the survey measured.

How the cost grows is counted: with layers, widths, histories and items for sequential models, with what
:func:`_count_without_order` says for the others. How large it is was measured, by the survey of models, for one epoch
on ml-100k. A sequential model that the survey does not know counts as a transformer; of others nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, NamedTuple

from recbole_ext.benchmark.surveyed_epochs import surveyed_epochs
from recbole_ext.capacity import ALL_ITEMS_PER_NEGATIVE
from recbole_ext.data.dataset import Size
from recbole_ext.estimate import EFFICIENCY, LOADED_MB, Estimate
from recbole_ext.models import is_trained, model_class, model_defaults

EPOCHS_BEFORE_STOPPING = 40
"""Epochs that a run is counted with where early stopping is on: SASRec on `Scientific` and `Office` takes 20 to 45."""
SECONDS_OF_A_RUN = 0.5
"""Before its first epoch, in a process that is forked with everything loaded: reading, setting up, asking which samples
are exact."""
SECONDS_OF_A_BATCH = 0.008
"""What a step costs that arithmetic does not count: small models wait for it more than for products."""
OPERATIONS_OF_A_PARAMETER = 150
"""Of an update, in the time that it takes to read and write a parameter, its gradient and two means."""
SECONDS_OF_A_RANKED_USER = 3e-5
OPERATIONS_OF_A_RANKED_ITEM = 500
"""What finding a user's best items costs beside their scores: `LastItem` and `NearestNeighbour` do little else."""
SAMPLED = 1000
"""Items that a sampled loss scores for a target where ``training_negatives`` does not say it."""
PRETRAININGS = {"pretrain": 1, "actor_pretrain": 2}
"""How often ``pretrain_epochs`` come before what ``epochs`` limits, by ``train_stage``: S3Rec's, RaCT's."""
WHOLE_GRAPH = ("DGCF", "GCMC", "LightGCN", "NGCF", "SGL", "SpectralCF")
"""Every batch of theirs goes through all interactions, and all users and items."""
INTERACTIONS_OF_A_NODE = 10
"""What a user or an item costs them: between ml-100k and `Scientific`, LightGCN's and NGCF's epochs change so."""
WHOLE_HISTORY = ("FISM", "NAIS")
"""Every sample of theirs, each item that is ranked too, is scored by all that its user did."""
WHOLE_ROWS = ("DMF",)
"""Every sample of theirs reads all that its user did, and all that did something with its item, as rows of numbers."""
COUNTING: dict[str, tuple[int, int]] = {
    "EASE": (0, 4),
    "LastItem": (0, 0),
    "NearestNeighbour": (0, 0),
    "Pop": (0, 0),
    "Random": (0, 0),
    "RecentPop": (0, 0),
    "TransitionGraph": (11_000, 0),
}
"""Operations that a model that learns nothing adds to the ranking: for a score and, once, for the cube of the number of
items. From the records of `Scientific` and `Office` in results/yardsticks; EASE, which they lack,
on `Scientific`: 6.5 s of a core at 119 billion operations per second. Of the others (ItemKNN, SLIMElastic, ...) nobody
measured what they do before their first epoch."""
SURVEY_SIZE = Size(users=943, items=1682, interactions=100_000)
SURVEY = {
    "MAX_ITEM_LIST_LENGTH": 20,
    "train_batch_size": 2048,
    "eval_batch_size": 4096,
    "train_neg_sample_args": {"sample_num": 1},
    "epochs": 1,
    "pretrain_epochs": 1,
}
"""Keys by which the survey trained each model, beside the model's own defaults: RecBole's, and its own length."""
SURVEY_SPEED = 77e9
"""Operations per second of the survey's core, which it did not measure: as fast as this, what is counted for SASRec's
epoch takes the seconds that it found."""


def estimate_run(model: str, config: Mapping[str, Any], size: Size) -> Estimate | None:
    """One run of ``model`` with RecBole's whole configuration ``config``; ``None`` where nothing is known of it.

    Every epoch ends with an evaluation, but those of a pre-training don't, and the run with one. A model that learns
    nothing is evaluated, twice.
    """
    if not is_trained(model):
        return _estimate_untrained(model, config, size)
    row = surveyed_epochs().get(model)
    if model_class(model).type.name != "SEQUENTIAL" and (row is None or row.seconds is None):
        return None
    work, level = _work(model, config, size), _level(model)
    epochs = int(config["epochs"])
    validated_after = int(config.get("eval_step", 1))
    if int(config.get("stopping_step") or 0) and validated_after > 0:
        epochs = min(epochs, EPOCHS_BEFORE_STOPPING)
    evaluations = 1 + (epochs // validated_after if validated_after > 0 else 0)
    trainings = _trainings(config, epochs)
    return Estimate(
        level.times * (trainings * work.training + evaluations * work.evaluation)
        + trainings * work.updating
        + evaluations * work.ranking,
        LOADED_MB + work.megabytes,
        fixed=SECONDS_OF_A_RUN
        + trainings * work.batches * level.seconds_of_a_batch
        + evaluations * (work.evaluation_batches * level.seconds_of_a_batch + size.users * SECONDS_OF_A_RANKED_USER),
    )


def _estimate_untrained(model: str, config: Mapping[str, Any], size: Size) -> Estimate | None:
    """RecBole's take their samples once, for nothing."""
    if model not in COUNTING:
        return None
    of_a_score, of_items_cubed = COUNTING[model]
    candidates = _candidates(config, size)
    evaluation = size.users * candidates * (OPERATIONS_OF_A_RANKED_ITEM + of_a_score)
    megabytes = (24 * size.interactions + 8 * min(int(config["eval_batch_size"]) * size.items, 2**28)) / 2**20
    return Estimate(
        2 * evaluation + of_items_cubed * size.items**3,
        LOADED_MB + megabytes + (24 * size.items**2 / 2**20 if of_items_cubed else 0),
        fixed=SECONDS_OF_A_RUN
        + (surveyed_epochs()[model].seconds or 0.0) * size.interactions / SURVEY_SIZE.interactions
        + 2 * size.users * SECONDS_OF_A_RANKED_USER,
    )


@dataclass(frozen=True)
class _Work:
    """Of an epoch and of an evaluation: operations of the model, and batches; ``updating`` and ``ranking``: operations
    that are the same for all models."""

    training: float
    updating: float
    batches: float
    evaluation: float
    evaluation_batches: float
    ranking: float
    megabytes: float


class _Counted(NamedTuple):
    """Operations and batches of an epoch; operations of an evaluation before users meet items, which they do in
    vectors of ``width``; ``scored``: items of a target."""

    training: float
    batches: int
    evaluation: float
    parameters: int
    width: int
    scored: int


class _Level(NamedTuple):
    """What a model's operations are to be taken ``times`` to be as long as measured, and what a batch adds to them."""

    times: float
    seconds_of_a_batch: float


@cache
def _level(model: str) -> _Level:
    row = surveyed_epochs().get(model)
    if row is None or row.seconds is None:
        return _Level(1.0, SECONDS_OF_A_BATCH)
    config = {**model_defaults(model), **SURVEY}
    work, trainings = _work(model, config, SURVEY_SIZE), _trainings(config, 1)
    seconds = row.seconds / trainings
    of_a_batch = min(SECONDS_OF_A_BATCH, seconds / work.batches)
    operations = (seconds - work.batches * of_a_batch) * SURVEY_SPEED * EFFICIENCY
    return _Level(max(operations - work.updating, 0.0) / work.training, of_a_batch)


def _trainings(config: Mapping[str, Any], epochs: int) -> int:
    """Epochs of all stages."""
    return epochs + PRETRAININGS.get(str(config.get("train_stage")), 0) * int(config.get("pretrain_epochs") or 0)


def _work(model: str, config: Mapping[str, Any], size: Size) -> _Work:
    """Parameters are kept four times (value, gradient, two means)."""
    from recbole_ext.training.evaluation import MAXIMUM_PAIRS, scores_all_items_at_once

    targets = max(size.interactions - 3 * size.users, size.users, 1)
    of_evaluation = int(config["eval_batch_size"])
    candidates = _candidates(config, size)
    count = _count_in_order if model_class(model).type.name == "SEQUENTIAL" else _count_without_order
    counted = count(model, config, size, targets)
    evaluation, evaluation_batches = counted.evaluation, ceil(size.users / of_evaluation)
    if model in WHOLE_HISTORY or not scores_all_items_at_once(model_class(model)):
        # Each candidate is a sample of its own; an epoch has two for a target, and goes forward and backward.
        evaluation = counted.training / 3 * size.users * candidates / (2 * targets)
        evaluation_batches = ceil(size.users * candidates / MAXIMUM_PAIRS)
    logits = min(int(config["train_batch_size"]) * counted.scored, 2**27)
    scores = min(of_evaluation * size.items, 2**28)
    return _Work(
        counted.training,
        counted.batches * counted.parameters * OPERATIONS_OF_A_PARAMETER,
        counted.batches,
        evaluation,
        evaluation_batches,
        ranking=size.users * (2 * counted.width * size.items + OPERATIONS_OF_A_RANKED_ITEM * candidates),
        megabytes=(16 * counted.parameters + 8 * logits + 8 * scores + 24 * size.interactions) / 2**20,
    )


def _count_in_order(model: str, config: Mapping[str, Any], size: Size, targets: int) -> _Counted:
    """Of a transformer with ``hidden_size``, ``n_layers`` and ``inner_size``, or of what is like it.

    Per training token each layer costs 2 (4 d² + 2 d d_inner) operations and its attention 4 L d; per target a softmax
    over all items costs 2 d per item; backward costs twice as much as forward. An epoch has as many targets as RecBole
    has samples.
    """
    width = int(config.get("hidden_size") or config.get("embedding_size") or 64)
    of_item = int(config.get("embedding_size") or width)
    layers = int(config.get("n_layers") or config.get("num_layers") or 1)
    weights = layers * (4 * width**2 + 2 * width * int(config.get("inner_size") or 0))
    length = int(config["MAX_ITEM_LIST_LENGTH"])
    tokens, history = _tokens_read(model, config, size, targets, length)
    per_token = 2 * weights + layers * 4 * history * width
    scored = _scored(config, size)
    training = 3 * (tokens * per_token + targets * 2 * of_item * scored)
    evaluation = size.users * history * per_token
    batches = ceil(targets / int(config["train_batch_size"]))
    return _Counted(training, batches, evaluation, (size.items + length) * of_item + weights, of_item, scored)


def _tokens_read(model: str, config: Mapping[str, Any], size: Size, targets: float, length: int) -> tuple[float, int]:
    """Items that an epoch's forward passes read, and how many of them stand in one history on the average."""
    whole = max((size.interactions - 2 * size.users) // max(size.users, 1), 1)
    history = min(whole, length)
    samples = config.get("training_samples") or "auto"
    if samples == "auto":
        row = surveyed_epochs().get(model)
        samples = row.samples if row else "user"
    if samples == "augmented":
        return targets * length, history
    if samples == "prefix":
        return targets * (history + 1) / 2, history
    if config.get("transform") == "mask_itemseq":
        return targets / float(config["mask_ratio"]), history
    if whole <= length:
        return size.users * whole, history
    # A history longer than the maximum is read in windows, one for every `window_stride` items.
    return size.users * length * (1 + (whole - length) // int(config.get("window_stride") or 1)), history


def _scored(config: Mapping[str, Any], size: Size) -> int:
    """Items that the loss scores for a target, or that scoring a sample of them takes as long as."""
    if (config.get("training_loss") or "model") in ("model", "softmax"):
        drawn = config.get("train_neg_sample_args") and config.get("loss_type") != "CE"
        return 2 if drawn else size.items
    negatives = int(config.get("training_negatives") or SAMPLED)
    return min(size.items, negatives if config.get("training_negatives_shared") else ALL_ITEMS_PER_NEGATIVE * negatives)


def _count_without_order(model: str, config: Mapping[str, Any], size: Size, targets: int) -> _Counted:
    """Of users and items alone: what it grows with, for the survey says how much it is.

    A user's row of all items where the model is an autoencoder, else samples: a batch of them may go through the whole
    graph of interactions, and a sample through its user's history.
    """
    from recbole.model.abstract_recommender import AutoEncoderMixin

    width = int(config.get("embedding_size") or 64)
    layers = int(config.get("n_layers") or 1)
    batch = int(config["train_batch_size"])
    if issubclass(model_class(model), AutoEncoderMixin):
        forward = 2.0 * width * size.users * size.items
        return _Counted(3 * forward, ceil(size.users / batch), forward, 2 * size.items * width, width, size.items)
    batches = ceil(targets / batch)
    training = 3.0 * 2 * width * targets
    if model in WHOLE_GRAPH:
        graph = size.interactions + INTERACTIONS_OF_A_NODE * (size.users + size.items)
        training = 3.0 * 2 * width * layers * batches * graph
    elif model in WHOLE_HISTORY:
        training *= size.interactions / max(size.users, 1)
    elif model in WHOLE_ROWS:
        training *= size.users + size.items
    return _Counted(training, batches, 0.0, (size.users + size.items) * width, width, 2)


def _candidates(config: Mapping[str, Any], size: Size) -> int:
    """Items that are ranked for a user; where labels are predicted, those that it has."""
    modes = (config.get("eval_args") or {}).get("mode", "full")
    mode = str(modes if isinstance(modes, str) else modes["test"])
    if mode == "labeled":
        return max(size.interactions // (10 * max(size.users, 1)), 1)
    sampled = mode.removeprefix("uni").removeprefix("pop")
    return min(int(sampled) + 1, size.items) if sampled.isdigit() else size.items
