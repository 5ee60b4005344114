"""Models by name: this package's own beside RecBole's.

An own model is one entry of ``OWN_MODELS``: its name and the module that holds a class of that name. As in RecBole,
``properties/NAME.yaml`` gives its default hyper-parameters and a class ``NAMETrainer`` in the module, where there is
one, trains it. A YAML for a name that is RecBole's goes above RecBole's own defaults.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError

OWN_MODELS: dict[str, str] = {
    "RECFORMER": "recbole_ext.recformer.model",
}
"""Name: module. Nothing is imported before :func:`model_class` asks for it."""

TEXT_MODELS = ("RECFORMER",)
"""Models that read item text themselves: an initialisation gives them an encoder instead of item vectors."""

PROPERTIES = Path(__file__).parent / "properties"


def model_class(name: str) -> Any:
    """The class of the model called ``name``: this package's, else RecBole's.

    Raises:
        ConfigurationError: there is no such model; suggests the closest.
    """
    if name in OWN_MODELS:
        return getattr(import_module(OWN_MODELS[name]), name)
    from recbole.utils import get_model

    try:
        return get_model(name)
    except (ValueError, AttributeError) as error:
        raise no_such_model(name) from error


def trainer_class(model_type: Any, name: str) -> Any:
    """The trainer class of the model called ``name``: the one that comes with it, else RecBole's choice."""
    from recbole.utils import get_trainer

    module = import_module(OWN_MODELS[name]) if name in OWN_MODELS else None
    return getattr(module, f"{name}Trainer", None) or get_trainer(model_type, name)


@cache
def own_model_defaults(name: str) -> dict[str, Any] | None:
    """What this package's YAML says about the model called ``name``; ``None`` where it says nothing."""
    path = PROPERTIES / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.is_file() else None


def recbole_config(model: str, dataset: str, settings: dict[str, Any]) -> Any:
    """RecBole's ``Config`` of ``model``, with the model's defaults below ``settings``.

    Raises:
        ConfigurationError: there is no such model.
    """
    from recbole.config import Config

    from recbole_ext.compat import without_command_line

    with without_command_line():
        layers = {**(own_model_defaults(model) or {}), **settings}
        return Config(model=model_class(model), dataset=dataset, config_dict=layers)


@cache
def model_names() -> tuple[str, ...]:
    """Every model that can be named, sorted."""
    recboles = (recbole_folder() / "properties" / "model").glob("*.yaml")
    return tuple(sorted({*OWN_MODELS, *(path.stem for path in recboles)}))


def recbole_folder() -> Path:
    """RecBole's installed package, found without importing it."""
    spec = find_spec("recbole")
    if spec is None or spec.origin is None:
        raise ConfigurationError("RecBole is not installed: pip install recbole==1.2.1")
    return Path(spec.origin).parent


def no_such_model(name: str) -> ConfigurationError:
    """The error for a name that is no model's."""
    names = model_names()
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(names)}."
    return ConfigurationError(f"models: neither RecBole nor this package has a model {name!r}. {hint}")
