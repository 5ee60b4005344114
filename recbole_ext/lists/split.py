"""The split that a benchmark's protocol makes of a dataset: what other systems train on and are tested with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.benchmark import Resolved, ResolvedRow, RunSpec, resolve
from recbole_ext.benchmark.file import read_benchmark
from recbole_ext.errors import ConfigurationError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Split:
    """One dataset under one protocol of a benchmark, split as its runs split it.

    Attributes:
        resolved: the benchmark.
        rows: its rows on this dataset under this protocol.
        spec: one of their runs, whose keys read and split the data.
        loaders: RecBole's, of that run.
    """

    resolved: Resolved
    rows: list[ResolvedRow]
    spec: RunSpec
    config: Any
    loaders: Any

    @property
    def dataset(self) -> Any:
        return self.loaders.dataset

    @property
    def users(self) -> np.ndarray:
        """User tokens by internal id; the first is padding."""
        return np.asarray(self.dataset.field2id_token[self.dataset.uid_field]).astype(object)

    @property
    def items(self) -> np.ndarray:
        """Item tokens by internal id; the first is padding."""
        return np.asarray(self.dataset.field2id_token[self.dataset.iid_field]).astype(object)


def split_of(
    benchmark: Path | str | Mapping[str, Any] | None,
    dataset: str | None,
    protocol: str | None,
    overrides: Mapping[str, Any] | None = None,
    command: str = "",
    like: tuple[str, str] | None = None,
) -> Split:
    """The split of ``dataset`` under ``protocol`` of a benchmark; each may be left out where there is one alone.

    It is that of the row ``like`` (model, initialisation), else of a sequential model's run where there is one: general
    models' differs in users of two interactions.

    Raises:
        ConfigurationError: no such dataset or protocol, several and none named, or a benchmark that can't be right.
        SourceDataError: the dataset is not there.
    """
    from recbole.utils import ModelType

    from recbole_ext.compat import make_recbole_work
    from recbole_ext.compat.times import KEEP_EXACT_TIMES
    from recbole_ext.runs.recorded import statistics_of
    from recbole_ext.runs.single import build_config, refuse_changed_files
    from recbole_ext.training import load

    make_recbole_work()
    resolved, rows = _rows(benchmark, dataset, protocol, dict(overrides or {}), command)
    alike = [row for row in rows if (row.key.model, row.key.variant) == like] if like else []
    row = next(
        (row for row in alike or rows if row.effective["MODEL_TYPE"] == ModelType.SEQUENTIAL), (alike or rows)[0]
    )
    spec = row.searched[0]
    config = build_config(spec)
    refuse_changed_files(spec, config, vectors=False)
    config[KEEP_EXACT_TIMES] = True
    loaders = load(config)
    statistics_of(loaders.dataset, spec)
    return Split(resolved, rows, spec, config, loaders)


def _rows(
    benchmark: Path | str | Mapping[str, Any] | None,
    dataset: str | None,
    protocol: str | None,
    overrides: dict[str, Any],
    command: str,
) -> tuple[Resolved, list[ResolvedRow]]:
    """The benchmark, resolved, and its rows on one dataset under one protocol."""
    where, checked, keys = read_benchmark(benchmark, overrides)
    dataset = _the_one("dataset", dataset, checked.datasets, where)
    protocol = _the_one("protocol", protocol, list(checked.protocols), where)
    # What is missing besides the data, such as an encoder, is of no concern here.
    resolved = resolve(checked, keys, command, where, fetch=False)
    rows = [row for row in resolved.rows if (row.key.dataset, row.key.protocol) == (dataset, protocol)]
    if not rows:
        raise ConfigurationError(f"{where}: no model is run on {dataset} under {protocol}.")
    resolved.datasets[dataset].with_keys(rows[0].effective).require(download=False)
    return resolved, rows


def _the_one(what: str, named: str | None, there_are: list[str], where: str) -> str:
    if named is None and len(there_are) == 1:
        return there_are[0]
    if named not in there_are:
        said = f"has no {what} {named!r}, but" if named else f"has several {what}s; say --{what}:"
        raise ConfigurationError(f"{where}: it {said} {', '.join(there_are)}.")
    return named


def require_full_ranking(split: Split) -> None:
    """See that the protocol ranks all items, as lists do.

    Raises:
        ConfigurationError: it samples candidates.
    """
    if split.config["eval_args"]["mode"]["test"] != "full":
        raise ConfigurationError(
            f"protocol {split.spec.protocol}: it ranks a sample of the items, and lists rank all of them. Choose a "
            "protocol of full ranking."
        )
