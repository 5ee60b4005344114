"""The resolver: a benchmark and its overrides in, immutable specifications of runs out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_ext.attach import MODES
from recbole_ext.benchmark import checks
from recbole_ext.benchmark.keys import PLACES, keys_of
from recbole_ext.benchmark.layers import merged, refuse_contradictions
from recbole_ext.benchmark.protocol import PROTOCOL
from recbole_ext.benchmark.search import Search
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.benchmark.variant import Variant, baseline_of, parse_variants
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.models import model_defaults, needs_item_vectors, own_model_defaults, reads_text, recbole_config
from recbole_ext.records import RowKey
from recbole_ext.store.files import fingerprint_of
from recbole_ext.tune.tuning import Tuning
from recbole_ext.vectors import VectorSource
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.vectors.finetune import Finetune

log = logging.getLogger(__name__)

EXPORTING_MODEL = "RECFORMER"
"""The model whose first stage leaves an item matrix that initialisations can be made of."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class ResolvedRow:
    """A row of the leaderboard to be: the runs of its search and of all seeds.

    Attributes:
        trials: ``trials[t][i]`` is the run of the search's point ``t`` with seed ``i``; seed 0 searches.
        effective: the whole RecBole configuration of its first trial, RecBole's defaults included.
    """

    key: RowKey
    variant: Variant
    mode: str
    baseline: str | None
    search: Search
    trials: tuple[tuple[RunSpec, ...], ...]
    effective: Mapping[str, Any]

    @property
    def searched(self) -> list[RunSpec]:
        """The runs of the search."""
        return [runs[0] for runs in self.trials]


@dataclass(frozen=True)
class StoreToMake:
    """A store that runs start from."""

    dataset: Dataset
    source: VectorSource
    path: Path


@dataclass(frozen=True)
class EncoderToTune:
    """A behaviour-tuned encoder that a run reads text with."""

    dataset: Dataset
    source: Encoder
    tuning: Tuning
    path: Path


@dataclass(frozen=True)
class Resolved:
    """All that a benchmark asks for. Nothing of it is read from disk again while it runs.

    Attributes:
        missing: what is not on this machine and how to get it, a line each; a benchmark that runs has none.
        notices: what the datasets' checks found worth saying.
    """

    benchmark: Benchmark
    overrides: Settings
    command: str
    datasets: Mapping[str, Dataset]
    rows: tuple[ResolvedRow, ...]
    stores: tuple[StoreToMake, ...]
    encoders: tuple[EncoderToTune, ...]
    missing: tuple[str, ...]
    notices: tuple[str, ...]

    def specs(self) -> Iterator[RunSpec]:
        """Every run that may be run, in reading order."""
        for row in self.rows:
            for runs in row.trials:
                yield from runs


def resolve(benchmark: Benchmark, overrides: Settings, command: str, where: str, fetch: bool = True) -> Resolved:
    """Every run that ``benchmark`` asks for, checked before anything is computed.

    Args:
        overrides: keys of RecBole and of the hook from the command line, the highest layer.
        where: what to call the benchmark in errors.
        fetch: download datasets that RecBole knows by name and that are not here, and refuse what is missing;
            without, list it in :attr:`Resolved.missing`.

    Raises:
        ConfigurationError: a key, a value or a combination that can't be right; names the place and the key.
        SourceDataError: a dataset is not there, or its files are not what RecBole can read.
        EncoderError, StoreError: a source of vectors is not there.
    """
    return _Resolver(benchmark, overrides, command, where, fetch).resolved()


@dataclass(frozen=True)
class _Beginning:
    """What a model begins from: the hash of its request, and the store or the encoder; nothing: random vectors."""

    identity: str | None = None
    store: Path | None = None
    encoder: str | None = None
    width: int | None = None

    @cached_property
    def content(self) -> str | None:
        """SHA-256 of the store's files, where they are there already."""
        return fingerprint_of(self.store) if self.store is not None and self.store.exists() else None


class _Resolver:
    def __init__(self, benchmark: Benchmark, overrides: Settings, command: str, where: str, fetch: bool) -> None:
        self.benchmark, self.overrides, self.command, self.where, self.fetch = (
            benchmark,
            {key: value for key, value in overrides.items() if key not in PLACES or key.startswith("item_embedding_")},
            command,
            where,
            fetch,
        )
        for key in overrides:
            if key not in self.overrides:
                raise ConfigurationError(f"--{key}: {key!r} is not set here but by `{PLACES[key]}` of the benchmark.")
        self.variants = parse_variants(benchmark.initialisations, where)
        self.missing: list[str] = []
        self.notices: list[str] = []
        self.stores: dict[Path, StoreToMake] = {}
        self.encoders: dict[Path, EncoderToTune] = {}
        self.beginnings: dict[tuple[str, str, bool], _Beginning] = {}

    def resolved(self) -> Resolved:
        self._check_keys()
        datasets = {name: self._dataset(name) for name in self.benchmark.datasets}
        cells = [
            (model, dataset, protocol, name)
            for dataset in self.benchmark.datasets
            for protocol in self.benchmark.protocols
            for model in self.benchmark.models
            if dataset in self.benchmark.part(model, "datasets") and protocol in self.benchmark.part(model, "protocols")
            for name in self.variants_of(model)
        ]
        # A store that RECFORMER's run exports is named by that run, which therefore is resolved before it is needed.
        rows = {cell: self._row(cell[0], datasets[cell[1]], cell[2], self.variants[cell[3]]) for cell in cells}
        self._check_budgets(list(rows.values()))
        return Resolved(
            self.benchmark,
            self.overrides,
            self.command,
            datasets,
            tuple(rows.values()),
            tuple(self.stores.values()),
            tuple(self.encoders.values()),
            tuple(dict.fromkeys(self.missing)),
            tuple(self.notices),
        )

    def variants_of(self, model: str) -> list[str]:
        """The initialisations that ``model`` is run with.

        A model made of item vectors has no random one; a model that reads text itself begins from an encoder.
        """
        settings = {**model_defaults(model), **self.benchmark.config, **self.benchmark.models[model], **self.overrides}
        names = self.benchmark.part(model, "initialisations")
        if reads_text(model):
            fitting = [n for n in names if (source := self.variants[n].source) is not None and source.kind == "encoder"]
            need = "reads text itself: give it an initialisation with `encoder`"
        elif needs_item_vectors(model, settings):
            fitting = [name for name in names if not self.variants[name].is_random]
            need = "is made of item vectors: give it an initialisation with a source of them"
        else:
            fitting, need = names, ""
        if not fitting:
            raise ConfigurationError(f"{self.where}: models.{model}: it {need}.")
        return fitting

    def _dataset(self, name: str) -> Dataset:
        keys = {**self.benchmark.config, **self.overrides}
        dataset = Dataset.named(name, self.benchmark.data_path, self.benchmark.dataset_configs, keys)
        try:
            if self.fetch:
                dataset.require()
            self.notices += [f"{name}: {sentence}" for sentence in dataset.check()]
        except RecboleExtError as error:
            if self.fetch:
                raise
            self.missing.append(str(error))
        return dataset

    def _check_keys(self) -> None:
        """Every key is one of each model that it is meant for, of a type that it takes."""
        benchmark = self.benchmark
        for model in benchmark.models:
            keys = keys_of(model)
            search = benchmark.search_of(model)
            layers: dict[str, Settings] = {
                "config": benchmark.config,
                f"models.{model}": benchmark.models[model],
                **{f"protocols.{name}": benchmark.protocols[name] for name in benchmark.part(model, "protocols")},
                **{f"initialisations.{n}.config": self.variants[n].config for n in self.variants_of(model)},
                "--override": self.overrides,
            }
            for layer, settings in layers.items():
                for key, value in settings.items():
                    if key in PLACES and layer != "--override":
                        raise ConfigurationError(
                            f"{self.where}: {layer}: {key!r} is not set here but by `{PLACES[key]}` of the benchmark."
                        )
                    keys.check(f"{self.where}: {layer}", key, value)
            own = model in benchmark.grids and benchmark.grids[model].search is not None
            for point in search.points():
                for key, value in point.items():
                    if key in PLACES and not key.startswith("item_embedding_"):
                        raise ConfigurationError(f"{self.where}: search: {key!r} is not searched over.")
                    keys.check(f"{self.where}: {f'grids.{model}.' if own else ''}search", key, value)

    def _row(self, model: str, dataset: Dataset, protocol: str, variant: Variant) -> ResolvedRow:
        where = f"{self.where}: {dataset.name}, {model}, {variant.name}"
        layers = self._layers(model, dataset, protocol, variant)
        refuse_contradictions(self.benchmark.protocols[protocol], layers, f"{self.where}: protocols.{protocol}")
        search, points = self.benchmark.search_of(model), self._points(model, variant)
        configs = [self._config(model, layers, point) for point in points]
        checks.refuse_equal_trials(points, configs, where)
        for config in configs:
            checks.check_evaluation(config, self._chosen_by_user(layers, "valid_metric"), len(points), where)
        effective = self._effective(model, dataset, configs[0], where)
        seen = dataset.with_keys(effective)
        beginning = self._beginning(model, dataset, variant)
        if variant.source is not None and not reads_text(model) and not needs_item_vectors(model, configs[0]):
            for config in configs:
                checks.check_width(beginning.width, config, {**effective, **config}, where)
        seeds = self.benchmark.part(model, "seeds")
        mode = self._mode(model, variant, configs[0])
        trials = tuple(
            tuple(self._spec(model, seen, protocol, variant, mode, seed, point, config, beginning) for seed in seeds)
            for point, config in zip(points, configs, strict=True)
        )
        baseline = baseline_of(variant, self.variants)
        in_grid = baseline in self.variants_of(model)
        return ResolvedRow(
            RowKey(dataset.name, model, variant.name, protocol),
            variant,
            mode,
            baseline if in_grid else None,
            search,
            trials,
            effective,
        )

    def _layers(self, model: str, dataset: Dataset, protocol: str, variant: Variant) -> dict[str, Settings]:
        named = self.benchmark.protocols[protocol]
        return {
            "protocol": merged({"protocol": PROTOCOL, "model defaults": named}),
            # RecBole's own defaults are fixed by its version; this package's are not, and so part of the identity.
            "model defaults": own_model_defaults(model) or {},
            "dataset": Dataset.named(dataset.name, dataset.data_path, self.benchmark.dataset_configs).recbole_keys,
            "benchmark": self.benchmark.config,
            "model": self.benchmark.models[model],
            "variant": {**(variant.attach if self._attaches(model, variant) else {}), **variant.config},
            "command line": {
                key: value
                for key, value in self.overrides.items()
                if self._attaches(model, variant) or not key.startswith("item_embedding_")
            },
        }

    def _config(self, model: str, layers: Mapping[str, Settings], point: Settings) -> Settings:
        config = merged({**layers, "trial": point})
        loss = config.get("loss_type", model_defaults(model).get("loss_type"))
        if loss == "CE" and "train_neg_sample_args" not in config:
            config["train_neg_sample_args"] = None
        if not self._chosen_by_user({**layers, "trial": point}, "valid_metric"):
            config["valid_metric"] = checks.nearest_valid_metric(config)
        return config

    @staticmethod
    def _chosen_by_user(layers: Mapping[str, Settings], key: str) -> bool:
        return any(key in settings for name, settings in layers.items() if name != "protocol")

    def _effective(self, model: str, dataset: Dataset, config: Settings, where: str) -> Mapping[str, Any]:
        """RecBole's whole configuration, which also says whether RecBole takes it."""
        settings = {**config, "data_path": str(dataset.data_path), "seed": self.benchmark.seeds[0]}
        try:
            return dict(recbole_config(model, dataset.name, settings).final_config_dict)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from error

    def _attaches(self, model: str, variant: Variant) -> bool:
        return not variant.is_random and not reads_text(model)

    def _points(self, model: str, variant: Variant) -> list[Settings]:
        """The search's points as far as they say something about this variant, each once."""
        about: dict[str, Settings] = {}
        for point in self.benchmark.search_of(model).points():
            says = {key: value for key, value in point.items() if self._applies(key, model, variant)}
            about.setdefault(json.dumps(says, sort_keys=True), says)
        return list(about.values())

    def _applies(self, key: str, model: str, variant: Variant) -> bool:
        if not key.startswith("item_embedding_"):
            return True
        if key == "item_embedding_scale" and variant.is_random:
            return True
        return self._attaches(model, variant)

    def _beginning(self, model: str, dataset: Dataset, variant: Variant) -> _Beginning:
        """What the model begins from: vectors of a store, or an encoder that it reads text with."""
        source, text = variant.source, reads_text(model)
        if source is None:
            return _Beginning()
        key = (dataset.name, variant.name, text)
        if key not in self.beginnings:
            try:
                self.missing += source.missing(dataset)
                made = self._encoder(dataset, source) if text else self._store(dataset, source)
            except RecboleExtError as error:
                if self.fetch:
                    raise
                self.missing.append(f"initialisations.{variant.name}: {error}")
                made = _Beginning()
            self.beginnings[key] = made
        return self.beginnings[key]

    def _store(self, dataset: Dataset, source: VectorSource) -> _Beginning:
        if isinstance(source, Finetune):
            run = self._exporting_run(dataset, source)
            return _Beginning(run.identity, store=run.exports, width=source.width(dataset))
        path = source.store_path(dataset, self.benchmark.artifacts)
        self.stores.setdefault(path, StoreToMake(dataset, source, path))
        return _Beginning(source.identity(dataset), store=path, width=source.width(dataset))

    def _encoder(self, dataset: Dataset, source: VectorSource) -> _Beginning:
        assert isinstance(source, Encoder)
        if source.tune is None:
            return _Beginning(source.identity(dataset), encoder=source.encoder)
        path = source.tune.folder(source.encoder, source.tune.sources_for(dataset), self.benchmark.artifacts)
        self.encoders.setdefault(path, EncoderToTune(dataset, source, source.tune, path))
        return _Beginning(source.identity(dataset), encoder=str(path))

    def _exporting_run(self, dataset: Dataset, source: Finetune) -> RunSpec:
        """The run of RECFORMER whose first stage's item matrix ``source`` is."""
        model = EXPORTING_MODEL
        begun = next((name for name, variant in self.variants.items() if variant.source == source.finetune), None)
        if model not in self.benchmark.models or begun not in self.variants_of(model):
            raise ConfigurationError(
                f"{self.where}: finetune: needs {model} among the models, run with the initialisation that it is begun "
                "from, which has an encoder."
            )
        row = self._row(model, dataset, self.benchmark.part(model, "protocols")[0], self.variants[begun])
        if len(row.trials) > 1:
            raise ConfigurationError(
                f"{self.where}: finetune: give {model} a search without a space, by grids.{model}.search: {{}}."
            )
        return row.trials[0][0]

    def _exported(self, spec: RunSpec, dataset: Dataset) -> RunSpec:
        """The same run, which keeps its item matrix where an initialisation is made of it."""
        if spec.model != EXPORTING_MODEL or spec.seed != self.benchmark.seeds[0]:
            return spec
        begun = self.variants[spec.variant].source
        for variant in self.variants.values():
            source = variant.source
            if isinstance(source, Finetune) and source.finetune == begun:
                store = source.model_copy(update={"run": {"identity": spec.identity}}).store_path(
                    dataset, spec.artifacts
                )
                encoder = spec.artifacts / "encoders" / store.name
                exports = {"export_item_embedding": str(store), "export_encoder": str(encoder)}
                return replace(spec, config={**spec.config, **exports})
        return spec

    def _spec(
        self,
        model: str,
        dataset: Dataset,
        protocol: str,
        variant: Variant,
        mode: str,
        seed: int,
        point: Settings,
        config: Settings,
        beginning: _Beginning,
    ) -> RunSpec:
        benchmark = self.benchmark
        config = {**config, "seed": seed, "data_path": str(dataset.data_path)}
        if beginning.store is not None:
            config["item_embedding"] = str(beginning.store)
            config.setdefault("item_embedding_mode", MODES[0])
        if beginning.encoder is not None:
            config["encoder"] = beginning.encoder
        spec = RunSpec(
            benchmark=benchmark.name,
            dataset=dataset.name,
            model=model,
            variant=variant.name,
            mode=mode,
            protocol=protocol,
            seed=seed,
            trial=point,
            config=config,
            dataset_fingerprint=dataset.fingerprint(),
            vectors=beginning.identity,
            store_content=beginning.content,
            expected=dataset.expected,
            folder=benchmark.folder,
            artifacts=benchmark.artifacts,
            command=self.command,
        )
        return self._exported(spec, dataset)

    def _mode(self, model: str, variant: Variant, config: Settings) -> str:
        if reads_text(model):
            return "text"
        if variant.is_random or needs_item_vectors(model, config):
            return "-"
        return str(config.get("item_embedding_mode") or MODES[0])

    def _check_budgets(self, rows: list[ResolvedRow]) -> None:
        """The same number of trials for every variant of a model: what is searched more wins more."""
        budgets: dict[tuple[str, str, str], dict[str, int]] = {}
        for row in rows:
            cell = (row.key.dataset, row.key.model, row.key.protocol)
            budgets.setdefault(cell, {})[row.key.variant] = len(row.trials)
        for (dataset, model, _), trials in budgets.items():
            if len(set(trials.values())) > 1:
                listed = ", ".join(f"{name}: {number}" for name, number in trials.items())
                raise ConfigurationError(
                    f"{self.where}: {dataset}, {model}: the search tries another number of points for each "
                    f"initialisation ({listed}), for some of its keys say nothing about random vectors. Search over keys that say "
                    "something about all of them (item_embedding_scale does), or give each its own part by `grids`."
                )
