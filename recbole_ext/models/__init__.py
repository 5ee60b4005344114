"""Models by name: RecBole's, this package's own, and a user's by dotted path.

An own model is one entry of ``OWN_MODELS``. As in RecBole, ``properties/NAME.yaml`` gives its default
hyper-parameters, and a class ``NAMETrainer`` in its module, where there is one, trains it. An own model may carry the
name of one of RecBole's and stands in for it then; a YAML of such a name goes above RecBole's.

A user's model is named by where it can be imported from, ``my_package.models.MySASRec``; the working folder is looked
in too. It has the defaults of the RecBole model that it is made from, and above them its attribute ``defaults``, a
dictionary of keys. ``MySASRecTrainer`` or ``MySASRecDataset`` beside it are used in place of RecBole's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_ext.compat import recbole_folder
from recbole_ext.errors import ConfigurationError
from recbole_ext.metrics import register_metrics
from recbole_ext.named_classes import class_at, code_of_class
from recbole_ext.recbole_models import recboles
from recbole_ext.wording import did_you_mean
from recbole_ext.yaml_files import read_yaml

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
    paper: str = ""
    """On arXiv; none of what stands in for a model of RecBole."""


OWN_MODELS: dict[str, OwnModel] = {
    "AlphaFuse": OwnModel("recbole_ext.models.alphafuse", needs_item_vectors=True, paper="2504.19218"),
    "ESASRec": OwnModel("recbole_ext.models.esasrec", paper="2508.06450"),
    "FDSA": OwnModel("recbole_ext.models.item_features"),
    "GSASRec": OwnModel("recbole_ext.models.gsasrec", paper="2308.07192"),
    "HSTU": OwnModel("recbole_ext.models.hstu", paper="2402.17152"),
    "KSR": OwnModel("recbole_ext.models.ksr"),
    "LastItem": OwnModel("recbole_ext.models.last_item"),
    "NearestNeighbour": OwnModel("recbole_ext.models.nearest_neighbour", needs_item_vectors=True),
    "NeuMF": OwnModel("recbole_ext.models.neumf"),
    "RECFORMER": OwnModel("recbole_ext.models.recformer", reads_text=True, paper="2305.13731"),
    "RaCT": OwnModel("recbole_ext.models.ract"),
    "RecentPop": OwnModel("recbole_ext.models.recent_pop", paper="2005.13829"),
    "S3Rec": OwnModel("recbole_ext.models.s3rec"),
    "SASRecF": OwnModel("recbole_ext.models.item_features"),
    "TransitionGraph": OwnModel("recbole_ext.models.transition_graph", paper="2605.07125"),
    "UniSRec": OwnModel("recbole_ext.models.unisrec", needs_item_vectors=True, paper="2206.05941"),
    "UniSRecID": OwnModel("recbole_ext.models.unisrec", needs_item_vectors=True, paper="2206.05941"),
    "WhitenRec": OwnModel("recbole_ext.models.whitenrec", needs_item_vectors=True, paper="2402.10602"),
    "ZESRec": OwnModel("recbole_ext.models.zesrec", needs_item_vectors=True, paper="2105.08318"),
}

PIP_NAMES = {
    "community": "python-louvain",
    "faiss": "faiss-cpu (or faiss-gpu)",
    "kmeans_pytorch": "kmeans-pytorch",
    "torch_scatter": "torch-scatter",
}
PROPERTIES = Path(__file__).parent / "properties"
NEEDED_PACKAGES = {"LightGBM": "lightgbm", "XGBoost": "xgboost"}
"""What RecBole's module of a model imports at once; what others import later is in :mod:`recbole_ext.models.needs`."""


def code_of(name: str) -> str | None:
    """:func:`~recbole_ext.named_classes.code_of_class` of a user's model; ``None`` for RecBole's and this package's,
    which have versions.

    Raises:
        ConfigurationError: as :func:`model_class`.
    """
    if "." not in name:
        return None
    return code_of_class(model_class(name), "models")


def model_class(name: str) -> Any:
    """The class of the model called ``name``: this package's, else RecBole's; a user's for a dotted path.

    Raises:
        ConfigurationError: there is no such model, or the package that it is built on is not installed.
    """
    if "." in name:
        return _users_class(name)
    if name not in model_names():
        raise no_such_model(name)
    if name in OWN_MODELS:
        return getattr(import_module(OWN_MODELS[name].module), name)
    require_package(name, NEEDED_PACKAGES.get(name))
    return getattr(import_module(recboles()[name]), name)


def require_package(model: str, package: str | None) -> None:
    """See that ``package``, where one is named, is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if package is not None and find_spec(package) is None:
        raise ConfigurationError(
            f"models: {model} needs the package {package}, which is not installed: pip install "
            + PIP_NAMES.get(package, package)
        )


def _users_class(path: str) -> Any:
    from recbole.utils import ModelType

    found = class_at(path, "models")
    if not isinstance(found, type) or not isinstance(getattr(found, "type", None), ModelType):
        raise ConfigurationError(
            f"models: {path} is no RecBole model: derive it from one, or from one of RecBole's abstract recommenders."
        )
    return found


def reads_text(name: str) -> bool:
    """Whether the model called ``name`` reads item text itself and begins from an encoder."""
    return name in OWN_MODELS and OWN_MODELS[name].reads_text


def companion(model: type, kind: str, where: Any) -> Any | None:
    """The class ``NAME + kind`` of the nearest ancestor NAME of ``model`` that has one, beside it or in ``where``.

    So a model has the trainer and the dataset of the RecBole model that it is made from; ``None`` where none has one.
    """
    for ancestor in model.__mro__:
        name = ancestor.__name__ + kind
        found = getattr(sys.modules[ancestor.__module__], name, None) or getattr(where, name, None)
        if found is not None:
            return found
    return None


def trainer_class(model: Any) -> Any:
    """The trainer class of a model's class: the one that comes with it or its ancestors, else RecBole's by its type."""
    import recbole.trainer
    from recbole.utils import get_trainer

    return companion(model, "Trainer", recbole.trainer) or get_trainer(model.type, model.__name__)


def has_recboles_epochs(model: Any) -> bool:
    """Whether the trainer of a model's class has no ``_train_epoch`` of its own, but that of RecBole's ``Trainer``."""
    from recbole.trainer import Trainer

    return next((kind for kind in trainer_class(model).__mro__ if "_train_epoch" in vars(kind)), None) is Trainer


def needs_item_vectors(name: str, settings: dict[str, Any]) -> bool:
    """Whether the model called ``name`` with these settings reads the vectors of ``item_embedding`` itself.

    It then has no random initialisation, and ``item_embedding_mode`` says nothing about it.
    """
    if "." in name:
        return bool(getattr(model_class(name), "needs_item_vectors", False))
    own = OWN_MODELS.get(name)
    return own is not None and (own.needs_item_vectors or VECTOR_FEATURE in (settings.get("selected_features") or ()))


def is_trained(name: str) -> bool:
    """Whether the model called ``name`` learns in epochs; the others count, or read vectors, once (Pop, LastItem)."""
    found = model_class(name)
    return found.type.name != "TRADITIONAL" and not getattr(found, "learns_nothing", False)


def takes_item_vectors(name: str) -> bool:
    """Whether the model called ``name`` has a place for the vectors of ``item_embedding``, as far as its class says."""
    from recbole_ext.attach.places import places_of

    found = model_class(name)
    if not is_trained(name):
        return bool(getattr(found, "reads_item_vectors", False))
    return bool(places_of(found))


@cache
def own_model_defaults(name: str) -> dict[str, Any] | None:
    """What this package's YAML, or a user's class, says about the model called ``name``; ``None``: nothing."""
    if "." not in name:
        return _properties(PROPERTIES / f"{name}.yaml")
    defaults: dict[str, Any] = {}
    for ancestor in reversed(model_class(name).__mro__):
        if ancestor.__name__ in model_names():
            defaults |= model_defaults(ancestor.__name__)
        defaults |= vars(ancestor).get("defaults") or {}
    return defaults


@cache
def model_defaults(name: str) -> dict[str, Any]:
    """The default settings of the model called ``name``: RecBole's, and above them this package's or the user's.

    Raises:
        ConfigurationError: there is no such model; suggests the closest.
    """
    if "." not in name and name not in model_names():
        raise no_such_model(name)
    return {**(_recboles_defaults(name) or {}), **(own_model_defaults(name) or {})}


def defaults_that_recbole_lacks(name: str) -> dict[str, Any]:
    """The default settings of the model called ``name`` that RecBole does not find by itself."""
    not_found = {} if _recboles_yaml(name).is_file() else _recboles_defaults(name) or {}
    return {**not_found, **(own_model_defaults(name) or {})}


def _recboles_defaults(name: str) -> dict[str, Any] | None:
    """RecBole's YAML of a model. (It names two in lower case, and does not find them itself where case counts.)"""
    return _properties(_recboles_yaml(name)) or _properties(_recboles_yaml(name.lower()))


def _recboles_yaml(name: str) -> Path:
    return recbole_folder() / "properties" / "model" / f"{name}.yaml"


def _properties(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    return read_yaml(path, "a model's defaults") if path.read_text(encoding="utf-8").strip() else {}


def recbole_config(model: str, dataset: str, settings: dict[str, Any]) -> Any:
    """RecBole's ``Config`` of ``model``, with the model's defaults below ``settings``; RecBole works from here on.

    Raises:
        ConfigurationError: there is no such model, or RecBole refuses a value.
    """
    from recbole_ext.compat import leaving_all_gpus, make_recbole_work, without_command_line

    found = model_class(model)
    make_recbole_work()
    from recbole.config import Config

    layers = {**defaults_that_recbole_lacks(model), **leaving_all_gpus(), **settings}
    if layers.get("metrics"):
        layers["metrics"] = register_metrics(layers["metrics"])
    try:
        with without_command_line():
            return Config(model=found, dataset=dataset, config_dict=layers)
    except (ValueError, TypeError, NotImplementedError, RuntimeError, KeyError) as error:
        raise ConfigurationError(f"{model} on {dataset}: RecBole refuses the configuration: {error}") from error


@cache
def model_names() -> tuple[str, ...]:
    """Every model that has a name, sorted; a user's own have paths."""
    return tuple(sorted({*OWN_MODELS, *recboles()}))


def no_such_model(name: str) -> ConfigurationError:
    """The error for a name that is no model's."""
    names = model_names()
    hint = did_you_mean(name, names, f"They have {', '.join(names)}.", cutoff=0.4)
    return ConfigurationError(
        f"models: RecBole and this package have no model {name!r}. {hint} (A class of your own is named by its path, "
        "such as my_package.models.MySASRec.)"
    )
