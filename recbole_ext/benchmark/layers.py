"""The order of the layers that a run's configuration is made of: written down here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from recbole_ext.benchmark.protocol import PROTOCOL, nearest_valid_metric
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.variant import Variant
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import model_defaults, own_model_defaults, reads_text

Settings = dict[str, Any]

LAYERS = ("defaults", "protocol", "model defaults", "dataset", "benchmark", "model", "variant", "trial", "command line")
"""From the lowest to the highest; a higher one's key replaces a lower one's. The ``defaults`` are this package's."""


def layers_of(
    benchmark: Benchmark, overrides: Settings, model: str, dataset: Dataset, protocol: str, variant: Variant
) -> dict[str, Settings]:
    """What each layer says of the runs of one row; the trial's comes on top (:func:`config_of`)."""
    return {
        "defaults": PROTOCOL,
        "protocol": benchmark.protocols[protocol],
        # RecBole's own defaults are fixed by its version; this package's are not, and so part of the identity.
        "model defaults": own_model_defaults(model) or {},
        "dataset": Dataset.named(dataset.name, dataset.data_path, benchmark.dataset_configs).recbole_keys,
        "benchmark": benchmark.config,
        "model": benchmark.models[model],
        "variant": {**_applying(variant.attach, model, variant), **variant.config},
        "command line": _applying(overrides, model, variant),
    }


def points_of(benchmark: Benchmark, model: str, variant: Variant) -> list[Settings]:
    """The search's points as far as they say something about this variant, each once."""
    points = [_applying(point, model, variant) for point in benchmark.search_of(model).points()]
    return list({json.dumps(point, sort_keys=True): point for point in points}.values())


def config_of(model: str, layers: Mapping[str, Settings], point: Settings) -> Settings:
    """The configuration of the trial ``point``."""
    layers = {**layers, "trial": point}
    config = merged(layers)
    loss = config.get("loss_type", model_defaults(model).get("loss_type"))
    if loss == "CE" and "train_neg_sample_args" not in config:
        config["train_neg_sample_args"] = None
    if not chosen_by_user(layers, "valid_metric"):
        config["valid_metric"] = nearest_valid_metric(config)
    return config


def chosen_by_user(layers: Mapping[str, Settings], key: str) -> bool:
    """Whether a layer above the package's own defaults says something of ``key``."""
    return any(key in settings for name, settings in layers.items() if name != "defaults")


def _applying(settings: Settings, model: str, variant: Variant) -> Settings:
    """The keys that say something about this variant: of the hook's, random vectors have a scale and no more."""
    if reads_text(model):
        return {key: value for key, value in settings.items() if not key.startswith("item_embedding_")}
    if variant.is_random:
        return {
            key: value
            for key, value in settings.items()
            if key == "item_embedding_scale" or not key.startswith("item_embedding_")
        }
    return settings


def merged(layers: Mapping[str, Settings]) -> Settings:
    """One configuration from settings by layer; every name is one of :data:`LAYERS`.

    ``eval_args`` go together part by part: who sets the mode keeps the split, where RecBole's own default would split
    at random.
    """
    config: Settings = {}
    eval_args: Settings = {}
    for name in LAYERS:
        settings = layers.get(name, {})
        config |= settings
        eval_args |= settings.get("eval_args") or {}
    if eval_args:
        config["eval_args"] = eval_args
    return config


def refuse_contradictions(layers: Mapping[str, Settings], where: str) -> None:
    """See that no layer above sets otherwise what a protocol of the benchmark says; the command line may.

    Raises:
        ConfigurationError: one does; names both places.
    """
    protocol = layers.get("protocol", {})
    for layer in LAYERS[LAYERS.index("protocol") + 1 : -1]:
        for key, value in layers.get(layer, {}).items():
            if key not in protocol:
                continue
            ours, theirs = protocol[key], value
            if key == "eval_args":
                theirs = {part: value[part] for part in value if part in ours}
                ours = {part: ours[part] for part in theirs}
            if ours != theirs:
                raise ConfigurationError(
                    f"{where} sets {key} to {protocol[key]!r}, and the layer `{layer}` to {value!r}. Set it in "
                    "one of the two places."
                )


def refuse_what_is_searched(layers: Mapping[str, Settings], point: Settings, where: str) -> None:
    """See that a model and an initialisation set no key that the search tries values of: theirs would go unused.

    Raises:
        ConfigurationError: one does; names the layer and the key.
    """
    for layer, words in (("model", "the model"), ("variant", "the initialisation")):
        for key in point:
            if key in layers.get(layer, {}):
                raise ConfigurationError(
                    f"{where}: the search tries values of {key}, and {words} sets it to {layers[layer][key]!r}, which "
                    "no run would have. Set it in one of the two places."
                )
