"""The item matrix that a run of RECFORMER exports after its first stage, for initialisations that begin from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from recbole_ext.benchmark.beginnings import Beginning
from recbole_ext.benchmark.resolved import ResolvedRow
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.benchmark.variant import Variant
from recbole_ext.data.config import NUMBER_INTERVALS, about_data
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.vectors.finetune import Finetune

EXPORTING_MODEL = "RECFORMER"
"""The model whose first stage leaves an item matrix that initialisations can be made of."""

SPLITTING = (
    "eval_args",
    "benchmark_filename",
    "exact_time_order",
    "val_interval",
    "rm_dup_inter",
    "filter_inter_by_user_or_item",
    *NUMBER_INTERVALS,
)
"""Keys that say which interactions train."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Exports:
    """Finds the run that exports a matrix, and tells it to.

    Attributes:
        variants_of: the initialisations that a model is run with.
        row: resolves a row of model, dataset, protocol and variant.
        where: what the benchmark is called in errors.
    """

    benchmark: Benchmark
    variants: Mapping[str, Variant]
    variants_of: Callable[[str], list[str]]
    row: Callable[[str, Dataset, str, Variant], ResolvedRow]
    where: str

    def beginning(self, dataset: Dataset, source: Finetune) -> Beginning:
        """The item matrix that the first stage of a run of RECFORMER makes."""
        run = self._run(dataset, source)
        return Beginning(run.identity, store=run.exports, width=source.width(dataset))

    def _run(self, dataset: Dataset, source: Finetune) -> RunSpec:
        """The run of RECFORMER whose first stage's item matrix ``source`` is."""
        model = EXPORTING_MODEL
        begun = next((name for name, variant in self.variants.items() if variant.source == source.finetune), None)
        if model not in self.benchmark.models or begun not in self.variants_of(model):
            raise ConfigurationError(
                f"{self.where}: finetune: needs {model} among the models, run with the initialisation that it is begun "
                "from, which has an encoder."
            )
        split = _splitting(dataset.keys)
        rows = (
            self.row(model, dataset, protocol, self.variants[begun])
            for protocol in self.benchmark.part(model, "protocols")
        )
        row = next((row for row in rows if _splitting(row.effective) == split), None)
        if row is None:
            raise ConfigurationError(
                f"{self.where}: finetune: {model} is run under no protocol that reads, filters and splits "
                f"{dataset.name} as this row does; add the protocol to grids.{model}.protocols."
            )
        if len(row.trials) > 1:
            raise ConfigurationError(
                f"{self.where}: finetune: give {model} a search without a space, by grids.{model}.search: {{}}."
            )
        _check_split(dataset, dataset.with_keys(row.effective), self.where)
        return row.trials[0][0]

    def keeping(self, spec: RunSpec, dataset: Dataset) -> RunSpec:
        """The same run, which keeps its item matrix where an initialisation is made of it."""
        if spec.model != EXPORTING_MODEL or spec.seed != self.benchmark.seeds[0]:
            return spec
        begun = self.variants[spec.variant].source
        for variant in self.variants.values():
            source = variant.source
            if isinstance(source, Finetune) and source.finetune == begun:
                name = f"{source.kind}-{spec.identity[:16]}"
                exports = {
                    "export_item_embedding": str(spec.artifacts / "stores" / dataset.name / name),
                    "export_encoder": str(spec.artifacts / "encoders" / name),
                }
                return replace(spec, config={**spec.config, **exports})
        return spec


def _check_split(own: Dataset, exporting: Dataset, where: str) -> None:
    """See that a run which exports an item matrix trains on nothing that a model begun from it is asked for.

    Args:
        own: the dataset under the keys of the model that begins from the matrix.
        exporting: the same under the keys of the run.

    Raises:
        ConfigurationError: it does, because RecBole splits the samples of the one and the rows of the other.
    """
    if not own.splits_rows:
        return
    trained, allowed = (Counter(map(tuple, dataset.training_histories())) for dataset in (exporting, own))
    if not trained <= allowed:
        raise ConfigurationError(
            f"{where}: finetune: of {own.name} RECFORMER trains on rows that this model validates or tests, as RecBole "
            "splits the samples of the one and the rows of the other. Keep users of fewer than four rows out "
            '(user_inter_num_interval: "[4,inf)", where leave-one-out splits), or take the protocol temporal.'
        )


def _splitting(keys: Mapping[str, Any]) -> Settings:
    """What of a run's keys decides which interactions train."""
    return {key: value for key, value in about_data(keys).items() if key in SPLITTING}
