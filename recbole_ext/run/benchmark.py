"""What a benchmark YAML may say, and what it means."""

from __future__ import annotations

import difflib
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recbole_ext.errors import ConfigurationError

PRESETS = Path(__file__).parent / "presets"
EMBEDDED = PRESETS / "embedded.yaml"
HOOK_KEYS = (
    "item_embedding",
    "item_embedding_transform",
    "item_embedding_mode",
    "item_embedding_missing",
)
PLACES = {
    "seed": "seeds",
    "data_path": "data_path at the top",
    "checkpoint_dir": "artifacts",
    "item_embedding": "initialisations.NAME.store",
    **{f"item_embedding_{part}": f"initialisations.NAME.{part}" for part in ("transform", "mode", "missing")},
}
"""Keys of RecBole or of the hook that a benchmark sets by a key of its own."""
TRAINING_KEYS = ("training_samples", "window_stride", "training_loss", "training_negatives", "ft_ratio")
DATASET_KEYS = ("item_text", "source", "expected")

Settings = dict[str, Any]


def _one_empty_point() -> list[Settings]:
    return [{}]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Initialisation(_Part):
    """Where a model's item vectors come from. Without ``encoder`` and ``store``: the model's own random ones."""

    encoder: str | None = None
    """``minilm``, a Hugging Face name or a local path; the item texts are encoded with it before the runs."""
    store: str | None = None
    """A finished store instead; ``{dataset}`` in the path stands for the dataset's name."""
    mode: str = "full"
    """``item_embedding_mode``."""
    transform: list[Any] = Field(default_factory=list)
    """``item_embedding_transform``."""
    missing: str = "error"
    """``item_embedding_missing``."""
    template: list[str] | None = None
    """Parts of an item's text; by default the dataset config's ``item_text``."""
    pooling: str | None = None
    precision: str = "float32"
    max_tokens: int | None = None
    search: list[Settings] = Field(default_factory=_one_empty_point, min_length=1)
    """Points that the search tries for this initialisation, each a set of keys."""

    @model_validator(mode="after")
    def _one_source(self) -> Initialisation:
        if self.encoder and self.store:
            raise ValueError("give 'encoder' or 'store', not both")
        return self

    @property
    def is_random(self) -> bool:
        """Whether the model keeps its own random initialisation."""
        return not (self.encoder or self.store)


class Benchmark(_Part):
    """A grid of runs: datasets × models × initialisations × protocols × seeds, and a search per cell."""

    name: str
    datasets: list[str]
    models: dict[str, Settings]
    """Model name in RecBole: its keys."""
    initialisations: dict[str, Initialisation]
    seeds: list[int] = [42]
    protocols: dict[str, Settings] = {"full": {}}
    """Name: RecBole keys on top of the protocol's (leave-one-out, full ranking)."""
    search: list[Settings] = Field(default_factory=_one_empty_point, min_length=1)
    """Points tried for every cell; crossed with the initialisation's own. The first seed searches, on validation."""
    config: Settings = Field(default_factory=dict)
    """RecBole keys for every run."""
    data_path: str = "artifacts/data"
    """The folder that holds the datasets' folders (RecBole's ``data_path``)."""
    dataset_configs: Path = Path("dataset_configs")
    results: Path = Path("results")
    artifacts: Path = Path("artifacts")
    """Where stores and checkpoints go."""
    parallel_runs: int = Field(default=1, ge=1)
    """Runs at the same time on this machine; each gets its share of the cores."""
    note: str = ""
    """A sentence printed with the leaderboard."""

    @field_validator("models", mode="before")
    @classmethod
    def _names_alone(cls, models: Any) -> Any:
        if isinstance(models, list) and all(isinstance(name, str) for name in models):
            return {name: {} for name in models}
        return {name: keys or {} for name, keys in models.items()} if isinstance(models, dict) else models

    @field_validator("initialisations", mode="before")
    @classmethod
    def _empty_is_random(cls, value: Any) -> Any:
        return {name: keys or {} for name, keys in value.items()} if isinstance(value, dict) else value

    @field_validator("name", "datasets", "models", "initialisations", "protocols", mode="after")
    @classmethod
    def _names_files(cls, value: Any) -> Any:
        for name in [value] if isinstance(value, str) else value:
            if not re.fullmatch(r"\w[\w.+-]*", name):
                raise ValueError(f"{name!r} can't be part of a file name; use letters, digits, '_', '-', '+' and '.'")
        return value

    @model_validator(mode="after")
    def _equal_budgets(self) -> Benchmark:
        if not (self.datasets and self.models and self.initialisations and self.seeds and self.protocols):
            raise ValueError("datasets, models, initialisations, protocols and seeds each need an entry")
        budgets = {name: len(init.search) for name, init in self.initialisations.items()}
        if len(set(budgets.values())) > 1:
            raise ValueError(f"every initialisation needs the same number of search points, got {budgets}")
        return self

    def candidates(self, initialisation: str) -> list[Settings]:
        """Every point of the search for this initialisation."""
        own = self.initialisations[initialisation].search
        return [{**shared, **special} for shared, special in product(self.search, own)]


def load_benchmark(path: Path, overrides: Settings | None = None) -> Benchmark:
    """Read a benchmark YAML, or a preset of this package by its name; ``overrides`` are ``--key=value`` pairs.

    An override of a key of the benchmark (``seeds``, ``results``, …) replaces it; any other is a RecBole key and
    goes above all that the file says.

    Raises:
        ConfigurationError: the file is missing, not YAML, or says something that is not known; names the key.
    """
    if not path.is_file() and (PRESETS / path.name).is_file() and path.name == str(path):
        path = PRESETS / path.name
    if not path.is_file():
        presets = ", ".join(sorted(preset.name for preset in PRESETS.glob("*.yaml")))
        raise ConfigurationError(
            f"{path}: no such benchmark file. Give the path of a YAML, one of {presets}, which come with the "
            "package, or none for the embedded benchmark."
        )
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: a benchmark is a mapping of keys such as name, datasets, models.")
    own = {key: value for key, value in (overrides or {}).items() if key in Benchmark.model_fields}
    try:
        benchmark = Benchmark(**{**content, **own})
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_in_words(error)}") from error
    recbole_keys = {key: value for key, value in (overrides or {}).items() if key not in own}
    return _with_overrides(benchmark, recbole_keys, path)


def _with_overrides(benchmark: Benchmark, overrides: Settings, path: Path) -> Benchmark:
    layers: dict[str, list[Settings]] = {
        "config": [benchmark.config],
        **{f"models.{name}": [keys] for name, keys in benchmark.models.items()},
        **{f"protocols.{name}": [keys] for name, keys in benchmark.protocols.items()},
        "search": [
            *benchmark.search,
            *(point for i in benchmark.initialisations.values() for point in i.search),
        ],
    }
    known = known_keys(tuple(benchmark.models))
    for layer, settings in {**layers, "--override": [overrides]}.items():
        for key, value in (pair for keys in settings for pair in keys.items()):
            _check_key(f"{path}: {layer}", key, value, known)
    for keys in (part for parts in layers.values() for part in parts):
        for key in overrides.keys() & keys.keys():
            keys[key] = {**keys[key], **overrides[key]} if key == "eval_args" else overrides[key]
    for key, value in overrides.items():
        if key not in HOOK_KEYS:
            benchmark.config[key] = value
            continue
        for init in benchmark.initialisations.values():
            setattr(init, key.removeprefix("item_embedding_"), value)
    return benchmark


def _check_key(where: str, key: str, value: Any, known: set[str]) -> None:
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigurationError(f"{where}: no key {key!r} in RecBole or this package.{hint}")
    may_vary = key.startswith("item_embedding_") and where.endswith((": search", ": --override"))
    if key in PLACES and not may_vary:
        raise ConfigurationError(f"{where}: {key!r} is not set here but by `{PLACES[key]}` of the benchmark.")
    if key == "eval_args" and not isinstance(value, dict):
        raise ConfigurationError(f"{where}: eval_args is a mapping, such as {{mode: uni100}}; got {value!r}.")


def parse_overrides(arguments: list[str]) -> Settings:
    """``--key=value`` arguments as RecBole writes them; values are read as YAML.

    Raises:
        ConfigurationError: an argument of another form.
    """
    overrides: Settings = {}
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not (argument.startswith("--") and equals and key):
            raise ConfigurationError(f"{argument}: overrides are written --key=value, for example --epochs=20.")
        try:
            overrides[key] = yaml.load(value, Loader=_loader())
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{argument}: the value can't be read: {error}") from error
    return overrides


def known_keys(models: tuple[str, ...]) -> set[str]:
    """Every key that RecBole's own YAML files or this package give a meaning for these models.

    Raises:
        ConfigurationError: RecBole has no model of that name.
    """
    folder = recbole_folder() / "properties"
    keys = set(HOOK_KEYS) | set(TRAINING_KEYS) | set(DATASET_KEYS)
    for path in [folder / "overall.yaml", folder / "dataset" / "sample.yaml"]:
        keys |= set(_read_properties(path))
    for model in models:
        keys |= set(model_defaults(model))
    return keys


def model_defaults(model: str) -> Settings:
    """RecBole's own settings of ``model``.

    Raises:
        ConfigurationError: RecBole has no model of that name; suggests the closest.
    """
    folder = recbole_folder() / "properties" / "model"
    path = folder / f"{model}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        close = difflib.get_close_matches(model, names, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]}?" if close else f" It has {', '.join(names)}."
        raise ConfigurationError(f"models: RecBole has no model {model!r}.{hint}")
    return _read_properties(path)


@cache
def _read_properties(path: Path) -> Settings:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader()) or {}


def recbole_folder() -> Path:
    """RecBole's installed package, found without importing it."""
    import importlib.util

    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise ConfigurationError("RecBole is not installed: pip install recbole==1.2.1")
    return Path(spec.origin).parent


@cache
def _loader() -> type[yaml.SafeLoader]:
    """YAML that reads ``1e-3`` as a number, as RecBole's own loader does."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$|^[-+]?\d*\.\d+$|^[-+]?\d+\.\d*$"),
        list("-+0123456789."),
    )
    return Loader


def _in_words(error: ValidationError) -> str:
    details = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = list(Benchmark.model_fields if len(problem["loc"]) == 1 else Initialisation.model_fields)
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            message = "unknown key." + (f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}.")
        details.append(f"{where}: {message}")
    return "; ".join(details)
