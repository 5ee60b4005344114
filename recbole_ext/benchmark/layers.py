"""The order of the layers that a run's configuration is made of: written down here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_ext.errors import ConfigurationError

Settings = dict[str, Any]

LAYERS = ("protocol", "model defaults", "dataset", "benchmark", "model", "variant", "trial", "command line")
"""From the lowest to the highest; a higher one's key replaces a lower one's."""


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


def refuse_contradictions(named_protocol: Settings, layers: Mapping[str, Settings], where: str) -> None:
    """See that no layer above sets otherwise what a protocol of the benchmark says; the command line may.

    Raises:
        ConfigurationError: one does; names both places.
    """
    for layer in LAYERS[1:-1]:
        for key, value in layers.get(layer, {}).items():
            if key not in named_protocol:
                continue
            ours, theirs = named_protocol[key], value
            if key == "eval_args":
                theirs = {part: value[part] for part in value if part in ours}
                ours = {part: ours[part] for part in theirs}
            if ours != theirs:
                raise ConfigurationError(
                    f"{where} sets {key} to {named_protocol[key]!r}, and the layer `{layer}` to {value!r}. Set it in "
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
