"""What a run's configuration must agree with, asked before anything is encoded, tuned or trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_ext.attach import ANY_WIDTH, MISSING, MODES
from recbole_ext.benchmark.keys import PLACES, keys_of
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.benchmark.variant import Variant
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import is_trained, model_class, takes_item_vectors, trainer_class
from recbole_ext.records import RowKey
from recbole_ext.store.transforms import width_after
from recbole_ext.wording import did_you_mean

Settings = dict[str, Any]

WIDEST = 2**20
"""Wider than any vectors, to see whether transforms are such before the vectors' width is known."""


def check_keys(benchmark: Benchmark, model: str, variants: Sequence[Variant], overrides: Settings, where: str) -> None:
    """See that every key is one of the model that it is meant for, of a type that it takes.

    Args:
        variants: the initialisations that the model is run with.

    Raises:
        ConfigurationError: one is not; names the place, the key, and the closest one that there is.
    """
    keys = keys_of(model)
    layers: dict[str, Settings] = {
        "config": benchmark.config,
        f"models.{model}": benchmark.models[model],
        **{f"protocols.{name}": benchmark.protocols[name] for name in benchmark.part(model, "protocols")},
        **{f"initialisations.{variant.name}.config": variant.config for variant in variants},
        "the command line": overrides,
    }
    own_search = model in benchmark.grids and benchmark.grids[model].search is not None
    search = f"grids.{model}.search" if own_search else "search"
    layers |= {
        f"{search}, point {number}": point for number, point in enumerate(benchmark.search_of(model).points(), 1)
    }
    for layer, settings in layers.items():
        may_attach = layer == "the command line" or layer.startswith(search)
        for key, value in settings.items():
            if key in PLACES and not (may_attach and key.startswith("item_embedding_")):
                raise ConfigurationError(
                    f"{where}: {layer}: {key!r} is not set here but by `{PLACES[key]}` of the benchmark."
                )
            keys.check(f"{where}: {layer}", key, value)
    for variant in variants:
        for key, value in variant.attach.items():
            keys.check(f"{where}: initialisations.{variant.name}", key, value)


def check_checkpoints(benchmark: Benchmark, model: str, where: str) -> None:
    """See that a model's runs can keep their weights, where the benchmark asks for it.

    Raises:
        ConfigurationError: they can't: boosted trees have a format of their own.
    """
    if not benchmark.keep_checkpoints:
        return
    found = model_class(model)
    from recbole.utils import ModelType

    if found.type == ModelType.DECISIONTREE:
        raise ConfigurationError(
            f"{where}: keep_checkpoints: {model} is a boosted tree, whose file is no checkpoint of tensors. Leave the "
            "key or the model out."
        )


def check_processes(benchmark: Benchmark, model: str, config: Settings, where: str) -> None:
    """See that a run can be shared by as many processes as ``nproc`` says.

    Raises:
        ConfigurationError: it can't: the model is not sequential or has a trainer of its own, or Ray is to give a run
            another number of GPUs.
    """
    processes = int(config.get("nproc") or 1)
    if processes == 1:
        return
    from recbole.trainer import Trainer
    from recbole.utils import ModelType

    found = model_class(model)
    if found.type != ModelType.SEQUENTIAL or trainer_class(found) is not Trainer:
        why = "is no sequential model" if found.type != ModelType.SEQUENTIAL else "is trained in a way of its own"
        raise ConfigurationError(
            f"{where}: nproc: {model} {why}, so that processes can't share its runs. Set nproc below the models that "
            "are to be shared (models.NAME) instead of for all."
        )
    if config.get("training_loss") == "sce":
        raise ConfigurationError(
            f"{where}: nproc: the loss sce is one of all targets together, so that processes can't share them. Choose "
            "another training_loss, or leave nproc out."
        )
    on_gpus = config.get("use_gpu") is not False
    if benchmark.executor == "ray" and on_gpus and benchmark.gpus_per_run != processes:
        raise ConfigurationError(
            f"{where}: nproc: {processes} processes take a GPU each, but gpus_per_run is {benchmark.gpus_per_run:g}. "
            f"Set gpus_per_run to {processes}."
        )


def check_gpus(benchmark: Benchmark, config: Settings, where: str) -> None:
    """See that runs that are to use a GPU get one from Ray.

    Raises:
        ConfigurationError: ``use_gpu: true``, and Ray gives runs no GPU.
    """
    if benchmark.executor == "ray" and config.get("use_gpu") is True and not benchmark.gpus_per_run:
        raise ConfigurationError(
            f"{where}: use_gpu: true, but gpus_per_run is 0, so that runs on Ray get no GPU. Set gpus_per_run to 1, or "
            "to 0.5 for two runs a GPU."
        )


def check_budgets(trials: Mapping[RowKey, int], where: str) -> None:
    """See that the search has the same number of trials for every variant of a model: what is searched more wins more.

    Raises:
        ConfigurationError: it has not.
    """
    budgets: dict[tuple[str, str, str], dict[str, int]] = {}
    for row, number in trials.items():
        budgets.setdefault((row.dataset, row.model, row.protocol), {})[row.variant] = number
    for (dataset, model, _), by_variant in budgets.items():
        if len(set(by_variant.values())) > 1:
            listed = ", ".join(f"{name}: {number}" for name, number in by_variant.items())
            raise ConfigurationError(
                f"{where}: {dataset}, {model}: the search tries another number of points for each initialisation "
                f"({listed}), for some of its keys say nothing about random vectors. Search over keys that say "
                "something about all of them (item_embedding_scale does), or give each its own part by `grids`."
            )


def check_choices(config: Settings, where: str) -> None:
    """See that values fit that a run would find out about: words, transforms, the width of heads, the windows' stride.

    Args:
        config: with the model's defaults.

    Raises:
        ConfigurationError: one does not; names the key and what it may be.
    """
    from recbole_ext.training.loaders import RANK_SEEN_ITEMS
    from recbole_ext.training.losses import TRAINING_LOSSES
    from recbole_ext.training.samples import TRAINING_SAMPLES

    choices = {
        "item_embedding_mode": MODES,
        "item_embedding_missing": MISSING,
        "rank_seen_items": RANK_SEEN_ITEMS,
        "training_loss": TRAINING_LOSSES,
        "training_samples": TRAINING_SAMPLES,
    }
    for key, words in choices.items():
        value = config.get(key)
        if value is not None and value not in words:
            named = ", ".join(str(word).lower() for word in words)
            hint = did_you_mean(str(value), [str(word) for word in words])
            raise ConfigurationError(f"{where}: {key}: {value!r} is unknown; choose one of {named}. {hint}".rstrip())
    width, heads = config.get("hidden_size"), config.get("n_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads and width % heads:
        raise ConfigurationError(
            f"{where}: hidden_size {width} is no multiple of n_heads {heads}, among which it is divided. Change one."
        )
    longest, stride = config.get("MAX_ITEM_LIST_LENGTH"), config.get("window_stride")
    if longest is not None and stride is not None and not 1 <= stride <= longest:
        raise ConfigurationError(
            f"{where}: window_stride: {stride} is not from 1 to MAX_ITEM_LIST_LENGTH, {longest}: items between two "
            "windows would have no history. Lower it, or leave it out for windows that begin at every item."
        )
    frozen, blocks = config.get("frozen_blocks"), config.get("n_layers")
    if isinstance(frozen, int) and isinstance(blocks, int) and frozen > blocks:
        raise ConfigurationError(
            f"{where}: frozen_blocks: {frozen} are more than the model's n_layers, {blocks}. Lower it, or leave it out."
        )
    _width_after(config, WIDEST, where)


def check_scale(model: str, is_random: bool, config: Settings, where: str) -> None:
    """See that where ``item_embedding_scale`` is set, there are vectors to scale.

    Raises:
        ConfigurationError: the model has none, or, begun at random (``is_random``), none of its own; or a transform
            scales them too, which would have no effect.
    """
    if config.get("item_embedding_scale") is None:
        return
    steps = config.get("item_embedding_transform") or []
    if twice := [step for step in steps if isinstance(step, dict) and "scale" in step]:
        raise ConfigurationError(
            f"{where}: item_embedding_scale: it scales the vectors after all transforms, so that {twice[-1]} among "
            "them would have no effect. Leave one of the two out."
        )
    if not takes_item_vectors(model) or (is_random and not is_trained(model)):
        raise ConfigurationError(
            f"{where}: item_embedding_scale: there are no item vectors of {model} to scale. Leave it out of the "
            f"model's search (grids.{model}.search: {{}}) or of its initialisation (scale), and off the command line."
        )


def check_width(width: int | None, config: Settings, effective: Mapping[str, Any], where: str) -> None:
    """See that vectors of this width, once transformed, fit the model's items.

    Raises:
        ConfigurationError: they don't, and nothing bridges the two; or a transform asks for more than there is.
    """
    if width is None:
        return
    transformed = _width_after(config, width, where)
    wanted = effective.get("embedding_size") or effective.get("hidden_size")
    if wanted is None or config.get("item_embedding_mode") in ANY_WIDTH or transformed == int(wanted):
        return
    bridge = "pca" if transformed > int(wanted) else "width"  # a projection, or zeros behind the vectors
    raise ConfigurationError(
        f"{where}: the vectors are {transformed} wide, the model's items {wanted}. Bridge them with transform: "
        f"[{{{bridge}: {wanted}}}], with mode: adapter, or give the model the vectors' width "
        f"(hidden_size or embedding_size: {transformed})."
    )


def _width_after(config: Settings, width: int, where: str) -> int:
    try:
        return width_after(config.get("item_embedding_transform"), width)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def refuse_equal_trials(trials: Sequence[RunSpec], where: str) -> None:
    """See that no two trials of a search are the same run.

    Raises:
        ConfigurationError: two are; names their points.
    """
    seen: dict[str, Settings] = {}
    for spec in trials:
        if spec.identity in seen:
            raise ConfigurationError(
                f"{where}: search: {seen[spec.identity]} and {spec.trial} make the same run: a layer above the search "
                "(the command line) sets these keys, or they decide nothing of what a run finds. Leave them out of the "
                "search."
            )
        seen[spec.identity] = spec.trial


def check_negatives(config: Settings, where: str) -> None:
    """See that negatives can be sampled as asked for: RecBole looks at their distribution alone before it trains.

    Raises:
        ConfigurationError: they can't; names the key.
    """
    negatives = config.get("train_neg_sample_args")
    if not isinstance(negatives, dict):
        return
    number, alpha = negatives.get("sample_num", 1), negatives.get("alpha", 1.0)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigurationError(
            f"{where}: train_neg_sample_args.sample_num: a whole number from 1 on; got {number!r}."
        )
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not math.isfinite(alpha):
        raise ConfigurationError(f"{where}: train_neg_sample_args.alpha: a number is needed; got {alpha!r}.")
    for key in ("dynamic", "candidate_num"):
        value = negatives.get(key, 0)
        if not isinstance(value, int) or value < 0:
            wanted = "true or false" if key == "dynamic" else "a whole number from 0 on"
            raise ConfigurationError(f"{where}: train_neg_sample_args.{key}: {wanted}; got {value!r}.")
