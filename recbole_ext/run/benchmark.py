"""What a benchmark says: a grid of runs, its initialisations, its search."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from recbole_ext.data.keys import Settings
from recbole_ext.models import needs_item_vectors, reads_text
from recbole_ext.tune.settings import TuneSettings


def _one_empty_point() -> list[Settings]:
    return [{}]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tuning(TuneSettings):
    """A behaviour tuning that the grid does once, before its runs."""

    sources: list[str] | dict[str, list[str]]
    """The source domains, for all target datasets or by target."""
    checkpoint: str | None = None
    """A RECFORMER state dict to begin from."""

    def sources_of(self, dataset: str) -> list[str]:
        """The source domains of this target."""
        return self.sources if isinstance(self.sources, list) else self.sources[dataset]

    @property
    def settings(self) -> TuneSettings:
        """What of this is the tuning's own."""
        return TuneSettings(**self.model_dump(include=set(TuneSettings.model_fields)))


class Initialisation(_Part):
    """Where a model's item vectors come from. Without a source: the model's own random ones."""

    encoder: str | None = None
    """``minilm``, a Hugging Face name or a local path; the item texts are encoded with it before the runs."""
    tune: Tuning | None = None
    """Tune ``encoder`` on source domains first. For RECFORMER, ``encoder`` (tuned or not) is what it starts from."""
    finetune: str | None = None
    """The item matrix of RECFORMER's first stage on the target, begun from the initialisation of this name."""
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
    layers: int | None = None
    """Keep the first so many layers of ``encoder``."""
    drop: list[StrictInt | StrictStr] = Field(default_factory=list)
    """Leave out layers ``L`` and heads ``"L.H"`` of ``encoder``, counted from 1. Quoted, for 2.10 is no number."""
    made_by: str | None = None
    """The command that makes ``encoder`` or ``store``, with ``{dataset}``; ``--plan`` prints it where it is needed."""
    search: list[Settings] = Field(default_factory=_one_empty_point, min_length=1)
    """Points that the search tries for this initialisation, each a set of keys."""

    @model_validator(mode="after")
    def _one_source(self) -> Initialisation:
        if sum(map(bool, (self.encoder, self.store, self.finetune))) > 1:
            raise ValueError("give one of 'encoder', 'store' and 'finetune'")
        if self.tune and not self.encoder:
            raise ValueError("'tune' needs the 'encoder' that it tunes")
        return self

    @property
    def is_random(self) -> bool:
        """Whether the model keeps its own random initialisation."""
        return not (self.encoder or self.store or self.finetune)


class Only(_Part):
    """The part of the grid for a model that costs more than the others."""

    initialisations: list[str] | None = None
    seeds: list[int] | None = None


class Benchmark(_Part):
    """A grid of runs: datasets × models × initialisations × protocols × seeds, and a search per cell."""

    name: str
    datasets: list[str]
    models: dict[str, Settings]
    """Name of a model of RecBole or of this package: its keys."""
    initialisations: dict[str, Initialisation]
    only: dict[str, Only] = Field(default_factory=dict)
    """Model: the part of the grid that it is run on, where this is not all that fits it."""
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
    """Runs at the same time on this machine; each gets its share of the cores. (``executor: local``)"""
    executor: Literal["local", "ray"] = "local"
    """``local``: processes on this machine. ``ray``: tasks of a Ray cluster, as many as it has room for."""
    ray_address: str | None = None
    """As in ``ray.init``: a cluster's address, ``auto``, or ``local`` for a Ray of this command's own. By default the
    cluster that ``RAY_ADDRESS`` names or that runs on this machine, else one of its own."""
    cpus_per_run: int | None = Field(default=None, ge=1)
    """CPUs of a run, also its number of threads; by default its share of the machine's (``local``) or 1 (``ray``)."""
    gpus_per_run: float = Field(default=0, ge=0)
    """GPUs of a Ray task; 0.5 lets two runs share one."""
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

    @model_validator(mode="after")
    def _known_names(self) -> Benchmark:
        for model, part in self.only.items():
            if model not in self.models:
                raise ValueError(f"only: {model!r} is not among the models")
            for name in part.initialisations or []:
                if name not in self.initialisations:
                    raise ValueError(f"only: {model}: {name!r} is not among the initialisations")
            if part.seeds is not None and (self.seeds[0] not in part.seeds or not set(part.seeds) <= set(self.seeds)):
                raise ValueError(f"only: {model}: its seeds are some of {self.seeds}, the first among them")
        for name, init in self.initialisations.items():
            if init.tune and not isinstance(init.tune.sources, list):
                missing = [dataset for dataset in self.datasets if dataset not in init.tune.sources]
                if missing:
                    raise ValueError(f"initialisations.{name}.tune.sources: none for {missing[0]!r}")
            if init.finetune and init.finetune not in self.initialisations_of("RECFORMER"):
                raise ValueError(
                    f"initialisations.{name}.finetune: needs RECFORMER among the models, with an initialisation "
                    f"{init.finetune!r} that has an encoder"
                )
        for model in self.models:
            if not self.initialisations_of(model):
                raise ValueError(f"{model} is made of item vectors; add an initialisation with 'encoder' or 'store'")
        return self

    def initialisations_of(self, model: str) -> list[str]:
        """The initialisations that ``model`` is run with.

        A model made of item vectors has no random one; a model that reads text itself begins from an encoder.
        """
        if model not in self.models:
            return []
        wanted = (self.only[model].initialisations if model in self.only else None) or self.initialisations
        names = [name for name in self.initialisations if name in wanted]
        if reads_text(model):
            return [name for name in names if self.initialisations[name].encoder]
        vectors_alone = needs_item_vectors(model, {**self.config, **self.models[model]})
        return [name for name in names if not (vectors_alone and self.initialisations[name].is_random)]

    @property
    def initialisations_in_use(self) -> dict[str, Initialisation]:
        """Those that some model is run with: no other's store is made."""
        in_use = {name for model in self.models for name in self.initialisations_of(model)}
        return {name: init for name, init in self.initialisations.items() if name in in_use}

    def seeds_of(self, model: str) -> list[int]:
        """The seeds that ``model`` is run with."""
        return (self.only[model].seeds if model in self.only else None) or self.seeds

    def candidates(self, model: str, initialisation: str) -> list[Settings]:
        """Every point of the search for this model and initialisation; a model that reads text itself has one."""
        if reads_text(model):
            return [{}]
        own = self.initialisations[initialisation].search
        return [{**shared, **special} for shared, special in product(self.search, own)]
