"""The resolver: a benchmark and its overrides in, immutable specifications of runs out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_ext.attach import MISSING, MODES
from recbole_ext.benchmark import checks, coverage
from recbole_ext.benchmark.beginnings import Beginning, Beginnings
from recbole_ext.benchmark.contents import contents
from recbole_ext.benchmark.exporting import Exports
from recbole_ext.benchmark.layers import (
    chosen_by_user,
    config_of,
    layers_of,
    points_of,
    refuse_contradictions,
    refuse_what_is_searched,
)
from recbole_ext.benchmark.protocol import (
    check_evaluation,
    check_protocol_name,
    check_ranked_by_one_metric,
    check_tested_alike,
)
from recbole_ext.benchmark.resolved import Resolved, ResolvedRow
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.benchmark.variant import Variant, baseline_of, parse_variants
from recbole_ext.data.config import about_data
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.temporal import Temporal
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.machine import require_gpu
from recbole_ext.models import (
    code_of,
    model_class,
    model_defaults,
    needs_item_vectors,
    reads_text,
    recbole_config,
    takes_item_vectors,
)
from recbole_ext.recbole_models import recbole_name
from recbole_ext.records import RowKey
from recbole_ext.vectors import VectorSource

Settings = dict[str, Any]


def resolve(benchmark: Benchmark, overrides: Settings, command: str, where: str, fetch: bool = True) -> Resolved:
    """Every run that ``benchmark`` asks for, checked before anything is computed.

    Args:
        overrides: keys of RecBole and of the hook from the command line, the highest layer.
        where: what to call the benchmark in errors.
        fetch: download datasets that RecBole knows by name and that are not here, leave encoders of Hugging Face to be
            downloaded when they are loaded, and refuse what is missing; without, list all in :attr:`Resolved.missing`.
            A GPU that is asked for and not there is listed either way: only runs need it.

    Raises:
        ConfigurationError: a key, a value or a combination that can't be right; names the place and the key.
        SourceDataError: a dataset is not there, or its files are not what RecBole can read.
        EncoderError, StoreError: a source of vectors is not there.
    """
    return _Resolver(benchmark, overrides, command, where, fetch).resolved()


class _Resolver:
    def __init__(self, benchmark: Benchmark, overrides: Settings, command: str, where: str, fetch: bool) -> None:
        self.benchmark, self.overrides, self.command, self.where, self.fetch = (
            benchmark,
            overrides,
            command,
            where,
            fetch,
        )
        self.variants = parse_variants(benchmark.initialisations, where)
        self.exports = Exports(benchmark, self.variants, self.variants_of, self._row, where)
        self.beginnings = Beginnings(benchmark.artifacts, fetch, self.exports.beginning)
        self.notices: list[str] = []
        self._with_texts: set[tuple[str, str, str]] = set()

    def resolved(self) -> Resolved:
        benchmark = self.benchmark
        for model in benchmark.models:
            variants = [self.variants[name] for name in self.variants_of(model)]
            checks.check_keys(benchmark, model, variants, self.overrides, self.where)
            checks.check_checkpoints(benchmark, model, self.where)
        keys = {**benchmark.config, **self.overrides}
        datasets = {
            name: Dataset.named(name, benchmark.data_path, benchmark.dataset_configs, keys)
            for name in benchmark.datasets
        }
        rows = [
            self._row(model, datasets[dataset], protocol, self.variants[name])
            for dataset in benchmark.datasets
            for protocol in benchmark.protocols
            for model in benchmark.models
            if dataset in benchmark.part(model, "datasets") and protocol in benchmark.part(model, "protocols")
            for name in self.variants_of(model)
        ]
        if benchmark.executor == "local":
            self._list_missing_gpus(rows)
        check_tested_alike(rows, self.where)
        check_ranked_by_one_metric(rows, self.where)
        checks.check_budgets({row.key: len(row.trials) for row in rows}, self.where)
        return Resolved(
            benchmark,
            self.overrides,
            self.command,
            datasets,
            tuple(rows),
            tuple(self.beginnings.stores.values()),
            tuple(self.beginnings.encoders.values()),
            tuple(dict.fromkeys(self.beginnings.missing)),
            tuple(dict.fromkeys(self.notices)),
        )

    def variants_of(self, model: str) -> list[str]:
        """The initialisations that ``model`` is run with.

        A model made of item vectors has no random one; a model that reads text itself begins from an encoder; one that
        counts and has no item vectors (Pop, LastItem) is run once, without any.

        Raises:
            ConfigurationError: none of those that are meant for it fits.
        """
        settings = {**model_defaults(model), **self.benchmark.config, **self.benchmark.models[model], **self.overrides}
        names = self.benchmark.part(model, "initialisations")
        if reads_text(model):
            fitting = [n for n in names if (source := self.variants[n].source) is not None and source.kind == "encoder"]
            need = "reads text itself: give it an initialisation with `encoder`"
        elif needs_item_vectors(model, settings):
            fitting = [name for name in names if not self.variants[name].is_random]
            need = "is made of item vectors: give it an initialisation with a source of them"
        elif not takes_item_vectors(model):
            fitting = [name for name in names if self.variants[name].is_random]
            need = "has no item vectors: give it an initialisation without a source of them, such as random: {}"
            if left_out := [name for name in names if name not in fitting]:
                self.notices.append(f"{model} has no item vectors, and is not run with {', '.join(left_out)}.")
        else:
            fitting, need = names, ""
        if not fitting:
            raise ConfigurationError(f"{self.where}: models.{model}: it {need}.")
        return fitting

    def _list_missing_gpus(self, rows: Sequence[ResolvedRow]) -> None:
        """The runs of a row have the same GPU to ask for: no search is over it."""
        for row in rows:
            try:
                require_gpu(row.searched[0].config)
            except ConfigurationError as error:
                self.beginnings.missing.append(str(error))

    def _check_dataset(self, dataset: Dataset, text: bool) -> None:
        """Of one run: protocols and models may have the dataset read or split in their own way."""
        try:
            dataset.require(download=self.fetch)
        except RecboleExtError as error:
            if self.fetch:
                raise
            self.beginnings.missing.append(str(error))
            return
        self.notices += [f"{dataset.name}: {sentence}" for sentence in dataset.check(text)]

    def _check_texts(self, dataset: Dataset, source: VectorSource, where: str) -> None:
        """Once for all models that begin from the source."""
        about = (dataset.name, json.dumps(about_data(dataset.keys), sort_keys=True, default=str), repr(source))
        if about not in self._with_texts:
            coverage.check_texts(dataset, source, where)
            self._with_texts.add(about)

    def _row(self, model: str, dataset: Dataset, protocol: str, variant: Variant) -> ResolvedRow:
        where = f"{self.where}: {dataset.name}, {model}, {variant.name}"
        layers = layers_of(self.benchmark, self.overrides, model, dataset, protocol, variant)
        search, points = self.benchmark.search_of(model), points_of(self.benchmark, model, variant)
        for point in points:
            refuse_contradictions({**layers, "trial": point}, f"{self.where}: protocols.{protocol}")
        refuse_what_is_searched(layers, points[0], where)
        configs = [config_of(model, layers, point) for point in points]
        for config in configs:
            check_protocol_name(protocol, config, where)
            checks.check_scale(model, variant.is_random, config, where)
            checks.check_processes(self.benchmark, model, config, where)
            checks.check_gpus(self.benchmark, config, where)
            checks.check_negatives(config, where)
            check_evaluation(config, chosen_by_user(layers, "valid_metric"), len(points), where)
        effective = self._effective(model, dataset, configs[0], where)
        for config in configs:
            checks.check_choices({**effective, **config}, where)
        named = [self._contents(model, dataset.name, {**effective, **config}, where) for config in configs]
        # By RecBole's name: what is made from a model that reads a graph reads one too.
        seen = dataset.with_keys({**effective, "model": recbole_name(model_class(model))})
        self._check_dataset(seen, text=variant.source is not None and variant.source.needs_text())
        seeds = self.benchmark.part(model, "seeds")
        beginnings = self._beginnings(model, seen, variant.source, len(seeds), where)
        beginning = beginnings[0]
        if variant.source is not None and not reads_text(model) and not needs_item_vectors(model, configs[0]):
            for config in configs:
                checks.check_width(beginning.width, config, {**effective, **config}, where)
            if any(config.get("item_embedding_missing", MISSING[0]) in (None, MISSING[0]) for config in configs):
                self._check_texts(seen, variant.source, where)
        mode = self._mode(model, variant, configs[0])
        trials = tuple(
            tuple(
                self._spec(model, seen, protocol, variant, mode, seed, point, config, begun, of_files)
                for seed, begun in zip(seeds, beginnings, strict=True)
            )
            for point, config, of_files in zip(points, configs, named, strict=True)
        )
        checks.refuse_equal_trials([runs[0] for runs in trials], where)
        baseline = baseline_of(variant, self.variants)
        in_grid = baseline in self.variants_of(model)
        has_random = any(self.variants[name].is_random for name in self.variants_of(model))
        if baseline is None and variant.config and not variant.is_random and has_random:
            self.notices.append(
                f"{variant.name} has no baseline: no entry has random vectors under its config. Add one that has, or "
                "name a baseline."
            )
        return ResolvedRow(
            RowKey(dataset.name, model, variant.name, protocol),
            variant,
            mode,
            baseline if in_grid else None,
            search,
            trials,
            effective,
        )

    def _contents(self, model: str, dataset: str, config: Settings, where: str) -> Mapping[str, str]:
        """Of the files that keys name; a plan lists those that are not here, and its runs have no lasting identity."""
        try:
            return contents(model, dataset, config, where)
        except ConfigurationError as error:
            if self.fetch:
                raise
            self.beginnings.missing.append(str(error))
            return {}

    def _beginnings(
        self, model: str, dataset: Dataset, source: VectorSource | None, n_seeds: int, where: str
    ) -> list[Beginning]:
        """What the runs of each seed begin from; an encoder that is tuned with several seeds has them in turn."""
        n_tunings = source.tuning_seeds() if source else 1
        if n_seeds % n_tunings:
            raise ConfigurationError(
                f"{where}: tune.seeds: {n_tunings} of them can't be shared out evenly among {n_seeds} seeds of the "
                "benchmark. Give as many seeds, or a multiple."
            )
        of_tuning = [
            self.beginnings.of(dataset, source.with_seed(number) if source else None, reads_text(model))
            for number in range(n_tunings)
        ]
        return [of_tuning[number % n_tunings] for number in range(n_seeds)]

    def _effective(self, model: str, dataset: Dataset, config: Settings, where: str) -> Mapping[str, Any]:
        """RecBole's whole configuration, which also says whether RecBole takes it."""
        settings = {**config, "data_path": str(dataset.data_path), "seed": self.benchmark.seeds[0]}
        try:
            return dict(recbole_config(model, dataset.name, settings).final_config_dict)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from error

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
        beginning: Beginning,
        of_files: Mapping[str, str],
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
            # Where data are cut in time or split already, rows may be left out; the dataset's check has counted before.
            expected={}
            if Temporal.of(config.get("eval_args")) or config.get("benchmark_filename")
            else dataset.expected,
            folder=benchmark.folder,
            artifacts=benchmark.artifacts,
            command=self.command,
            keep_checkpoint=benchmark.keep_checkpoints,
            model_code=code_of(model),
            contents=of_files,
        )
        return self.exports.keeping(spec, dataset)

    def _mode(self, model: str, variant: Variant, config: Settings) -> str:
        if reads_text(model):
            return "text"
        if variant.is_random or needs_item_vectors(model, config):
            return "-"
        return str(config.get("item_embedding_mode") or MODES[0])
