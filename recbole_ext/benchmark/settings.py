"""What a benchmark's YAML may say: a grid of runs, its initialisations, its search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recbole_ext.benchmark.search import Search
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Published
from recbole_ext.settings import Seed
from recbole_ext.wording import in_words
from recbole_ext.writing import NAMES_OF_FILES, can_name_files

Settings = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelGrid(_Part):
    """The part of the grid for one model, where it is not all of it."""

    datasets: list[str] | None = None
    """Those of the benchmark that this model is run on."""
    initialisations: list[str] | None = None
    """Those that it is run with."""
    seeds: list[Seed] | None = None
    """Those that it is run with; the benchmark's first is the first here too, for it searches."""
    protocols: list[str] | None = None
    """Those that it is run under."""
    search: Search | None = None
    """Instead of the benchmark's."""


class Benchmark(_Part):
    """A grid of runs: datasets × models × initialisations × protocols × seeds, and a search for each of its rows."""

    name: str
    """Its results go to the folder of this name below ``results``."""
    datasets: list[str] = Field(min_length=1)
    """Names as in RecBole; the files of each lie below ``data_path``."""
    models: dict[str, Settings] = Field(min_length=1)
    """Name of a model of RecBole or of this package, or the dotted path of a class: its keys."""
    initialisations: dict[str, Settings] = Field(default={"random": {}}, min_length=1)
    """Name: a source of item vectors and how they are attached; see :class:`recbole_ext.benchmark.variant.Variant`.
    By default random vectors alone, which is also how models without item vectors are run."""
    grids: dict[str, ModelGrid] = Field(default_factory=dict)
    """Model: the part of the grid that it is run on, and a search of its own."""
    seeds: list[Seed] = Field(default=[42], min_length=1)
    """The first one searches."""
    protocols: dict[str, Settings] = Field(default={"full": {}}, min_length=1)
    """Name: RecBole keys above the protocol's own (leave-one-out, full ranking)."""
    search: Search = Search()
    """Tried for every row alike, on validation."""
    config: Settings = Field(default_factory=dict)
    """RecBole keys for every run."""
    data_path: Path = Path("artifacts/data")
    """The folder that holds the datasets' folders (RecBole's ``data_path``)."""
    dataset_configs: Path = Path("dataset_configs")
    """The folder of the datasets' YAML files."""
    results: Path = Path("runs")
    """The benchmark's records and tables go to the folder of its name in here."""
    artifacts: Path = Path("artifacts")
    """Where stores, tuned encoders and checkpoints go."""
    keep_checkpoints: bool = False
    """Every run keeps the weights of its best epoch beside its record, for `recbole-ext recommend`."""
    parallel_runs: int = Field(default=1, ge=1)
    """Runs at the same time on this machine; each gets its share of the cores. (``executor: local``)"""
    executor: Literal["local", "ray"] = "local"
    """``local``: processes on this machine. ``ray``: tasks of a Ray cluster, as many as it has room for."""
    ray_address: str | None = None
    """As in ``ray.init``: a cluster's address, ``auto``, or ``local`` for a Ray of this command's own. By default the
    cluster that ``RAY_ADDRESS`` names or that runs on this machine, else one of its own."""
    cpus_per_run: int | None = Field(default=None, ge=1)
    """CPUs of a run, also its number of threads; by default its share of the machine's (``local``) or 1 (``ray``)."""
    gpus_per_run: float = Field(default=0, ge=0)
    """GPUs of a Ray task; 0.5 lets two runs share one, and a run that ``nproc`` processes share takes as many."""
    published: list[Published] = Field(default_factory=list)
    """Numbers that others published for the same data and protocol; they stand beside ours."""
    note: str = ""
    """A sentence printed with the leaderboard."""

    @field_validator("datasets", mode="before")
    @classmethod
    def _one_name(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("models", "initialisations", "protocols", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return {name: {} for name in _each_once(value)}
        return {name: keys or {} for name, keys in value.items()} if isinstance(value, dict) else value

    @field_validator("name", "datasets", "models", "initialisations", "protocols", mode="after")
    @classmethod
    def _names_files(cls, value: Any) -> Any:
        for name in [value] if isinstance(value, str) else value:
            if not can_name_files(name):
                raise ValueError(f"{name!r} can't be part of a file name; {NAMES_OF_FILES}")
        return value

    @field_validator("datasets", "seeds", mode="after")
    @classmethod
    def _once(cls, value: list[Any]) -> list[Any]:
        return _each_once(value)

    @field_validator("data_path", "dataset_configs", "results", "artifacts")
    @classmethod
    def _home_is_found(cls, value: Path) -> Path:
        return value.expanduser()  # a shell leaves the ~ of --results=~/runs as it is

    @model_validator(mode="after")
    def _grids_are_parts(self) -> Benchmark:
        for model, grid in self.grids.items():
            if model not in self.models:
                raise ValueError(f"grids: {model!r} is not among the models")
            for key in ("datasets", "initialisations", "protocols", "seeds"):
                there_is: Any = getattr(self, key)
                for name in getattr(grid, key) or ():
                    if name not in there_is:
                        raise ValueError(f"grids.{model}.{key}: {name!r} is not among the benchmark's {key}")
            if grid.seeds is not None and (not grid.seeds or grid.seeds[0] != self.seeds[0]):
                raise ValueError(f"grids.{model}.seeds: they begin with {self.seeds[0]}, the seed of the search")
        return self

    def part(self, model: str, key: Literal["datasets", "initialisations", "protocols", "seeds"]) -> list[Any]:
        """What of the benchmark's ``key`` this model is run with, in the benchmark's order."""
        own = getattr(self.grids.get(model), key, None)
        return [name for name in getattr(self, key) if own is None or name in own]

    def search_of(self, model: str) -> Search:
        """The search of this model's rows."""
        grid = self.grids.get(model)
        return grid.search if grid and grid.search is not None else self.search

    @property
    def folder(self) -> Path:
        """Where records and tables go."""
        return self.results / self.name


def _each_once(names: list[Any]) -> list[Any]:
    if len(set(names)) < len(names):
        raise ValueError(f"{names} names something twice")
    return names


def checked_benchmark(content: Mapping[str, Any], where: str) -> Benchmark:
    """The benchmark that a mapping describes.

    Raises:
        ConfigurationError: it says something that is not known; names ``where`` and the key.
    """
    try:
        return Benchmark(**content)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {in_words(error, _known_beside, _listed)}") from error


def _known_beside(location: list[str]) -> list[str]:
    part: type[BaseModel] = Benchmark
    if location[0] == "grids" and len(location) > 2:
        part = Search if location[2] == "search" and len(location) > 3 else ModelGrid
    elif location[0] == "search" and len(location) > 1:
        part = Search
    elif location[0] == "published":
        part = Published
    return list(part.model_fields)


def _listed(location: list[str]) -> str:
    known = ", ".join(_known_beside(location))
    if len(location) == 1:
        return (
            f"RecBole's keys stand below config: `config: {{{location[0]}: …}}`. A benchmark's own: {known}, include."
        )
    if location[-2] == "search":
        return f"What is searched over stands below space: `space: {{{location[-1]}: […]}}`. Known: {known}."
    return f"Known: {known}."
