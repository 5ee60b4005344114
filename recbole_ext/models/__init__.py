"""Models by name: this package's own beside RecBole's.

An own model is one entry of ``OWN_MODELS``. As in RecBole, ``properties/NAME.yaml`` gives its default
hyper-parameters, and a class ``NAMETrainer`` in its module, where there is one, trains it. An own model may carry the
name of one of RecBole's and stands in for it then; a YAML of such a name goes above RecBole's.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError

VECTOR_FEATURE = "item_embedding"
"""What stands for the vectors of the key ``item_embedding`` among a model's ``selected_features``."""


@dataclass(frozen=True)
class OwnModel:
    """Where a model of this package is, and what it is made of."""

    module: str
    """Holds a class of the model's name; imported when the model is first asked for."""
    needs_item_vectors: bool = False
    """Whether its items are made of the vectors of ``item_embedding``, so that it has no random initialisation."""
    reads_text: bool = False
    """Whether it reads item text itself: an initialisation gives it an encoder instead of item vectors."""


OWN_MODELS: dict[str, OwnModel] = {
    "AlphaFuse": OwnModel("recbole_ext.models.alphafuse", needs_item_vectors=True),
    "ESASRec": OwnModel("recbole_ext.models.esasrec"),
    "FDSA": OwnModel("recbole_ext.models.item_features"),
    "GSASRec": OwnModel("recbole_ext.models.gsasrec"),
    "HSTU": OwnModel("recbole_ext.models.hstu"),
    "LastItem": OwnModel("recbole_ext.models.last_item"),
    "NearestNeighbour": OwnModel("recbole_ext.models.nearest_neighbour", needs_item_vectors=True),
    "RECFORMER": OwnModel("recbole_ext.recformer.model", reads_text=True),
    "RecentPop": OwnModel("recbole_ext.models.recent_pop"),
    "S3Rec": OwnModel("recbole_ext.models.s3rec"),
    "SASRecF": OwnModel("recbole_ext.models.item_features"),
    "TransitionGraph": OwnModel("recbole_ext.models.transition_graph"),
    "UniSRec": OwnModel("recbole_ext.models.unisrec", needs_item_vectors=True),
    "UniSRecID": OwnModel("recbole_ext.models.unisrec", needs_item_vectors=True),
    "WhitenRec": OwnModel("recbole_ext.models.whitenrec", needs_item_vectors=True),
    "ZESRec": OwnModel("recbole_ext.models.zesrec", needs_item_vectors=True),
}

PROPERTIES = Path(__file__).parent / "properties"


def model_class(name: str) -> Any:
    """The class of the model called ``name``: this package's, else RecBole's.

    Raises:
        ConfigurationError: there is no such model; suggests the closest.
    """
    if name not in model_names():
        raise no_such_model(name)
    if name in OWN_MODELS:
        return getattr(import_module(OWN_MODELS[name].module), name)
    from recbole.utils import get_model

    return get_model(name)


def reads_text(name: str) -> bool:
    """Whether the model called ``name`` reads item text itself and begins from an encoder."""
    return name in OWN_MODELS and OWN_MODELS[name].reads_text


def trainer_class(model_type: Any, name: str) -> Any:
    """The trainer class of the model called ``name``: the one that comes with it, else RecBole's choice."""
    from recbole.utils import get_trainer

    module = import_module(OWN_MODELS[name].module) if name in OWN_MODELS else None
    return getattr(module, f"{name}Trainer", None) or get_trainer(model_type, name)


def needs_item_vectors(name: str, settings: dict[str, Any]) -> bool:
    """Whether the model called ``name`` with these settings reads the vectors of ``item_embedding`` itself.

    It then has no random initialisation, and ``item_embedding_mode`` says nothing about it.
    """
    own = OWN_MODELS.get(name)
    return own is not None and (own.needs_item_vectors or VECTOR_FEATURE in (settings.get("selected_features") or ()))


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
    hint = f"Did you mean {close[0]}?" if close else f"They have {', '.join(names)}."
    return ConfigurationError(f"models: RecBole and this package have no model {name!r}. {hint}")
