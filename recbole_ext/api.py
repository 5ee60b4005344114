"""The verbs from Python: the same calls that the command line makes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recbole_ext.benchmark import Resolved, resolve
from recbole_ext.benchmark.file import read_benchmark
from recbole_ext.benchmark.plan import plan_lines, what_will_be_done
from recbole_ext.benchmark.suite import RANDOM, Suite, load_suite
from recbole_ext.data.config import DATA_PATH, DATASET_CONFIGS
from recbole_ext.encoding.settings import Compute
from recbole_ext.runs.grid import rows_left_out, run_benchmark
from recbole_ext.runs.recording import is_done
from recbole_ext.settings import with_keywords_of
from recbole_ext.tuning.objectives import OBJECTIVES
from recbole_ext.vectors import SOURCES

if TYPE_CHECKING:
    import pandas as pd

    from recbole_ext.data.dataset import Dataset
    from recbole_ext.report import LeaderboardReport
    from recbole_ext.report.studies import Study
    from recbole_ext.scoring import Scored
    from recbole_ext.tuning import TuneReport
    from recbole_ext.vectors import Made

log = logging.getLogger(__name__)


@with_keywords_of(*SOURCES.values(), Compute)
def encode(
    dataset: str | Dataset,
    out: Path | str,
    *,
    data_path: Path | str = DATA_PATH,
    dataset_configs: Path | str = DATASET_CONFIGS,
    artifacts: Path | str = "artifacts",
    **source: Any,
) -> Made:
    """Make item vectors of a dataset into the store ``out``; a store that answers the same request is left as it is.

    Args:
        dataset: RecBole's name of it, or a :class:`recbole_ext.data.dataset.Dataset`.
        data_path: RecBole's ``data_path``; the folder that holds the dataset's folder.
        dataset_configs: the folder of the datasets' YAML files.
        artifacts: where tuned encoders and other stores go that the source is made of.
        source: the source of vectors, as in a benchmark's YAML: ``encoder="minilm", pooling="mean"``, or
            ``lexical="tfidf", dim=64``. The keys of :class:`recbole_ext.encoding.Compute` say how it is computed.

    Raises:
        ConfigurationError: an unknown key, no source or two; names the key.
        SourceDataError, EncoderError, StoreError, WriteError: see :meth:`recbole_ext.vectors.VectorSource.make`.
    """
    from recbole_ext.errors import ConfigurationError
    from recbole_ext.vectors import parse_source
    from recbole_ext.vectors.coverage import make_and_count

    how = {key: source.pop(key) for key in list(source) if key in Compute.model_fields}
    parsed = parse_source(source, "encode")
    if parsed is None:
        raise ConfigurationError('encode: say where the vectors come from, for example encoder="minilm".')
    found = _dataset(dataset, data_path, dataset_configs)
    return make_and_count(parsed, found, Path(out), Path(artifacts), Compute.checked(how, "encode"))


@with_keywords_of(*(objective.settings for objective in OBJECTIVES.values()))
def tune(
    datasets: Sequence[str | Dataset],
    out: Path | str,
    encoder: str = "minilm",
    objective: str = "recformer",
    *,
    checkpoint: Path | str | None = None,
    data_path: Path | str = DATA_PATH,
    dataset_configs: Path | str = DATASET_CONFIGS,
    **settings: Any,
) -> TuneReport:
    """Behaviour-tune an encoder on the training splits of source domains; see :func:`recbole_ext.tuning.tune`.

    Args:
        datasets: the source domains, by name or as they are; the last two items of each user are never seen.
        out: a folder for the tuned encoder, which ``from_pretrained`` and :func:`encode` read; one that answers the
            same call is left as it is.
        encoder: what is tuned: ``minilm``, a Hugging Face name or a folder.
        objective: one of those that ``recbole_ext.tuning.objectives.OBJECTIVES`` names.
        checkpoint: a RECFORMER state dict to begin from instead of the encoder's weights.
        data_path: the folder that the datasets' folders are in.
        dataset_configs: the folder of their YAML files.
        settings: of the tuning, such as ``epochs=2``; see :mod:`recbole_ext.tuning.settings`.

    Raises:
        RecboleExtError: see there.
    """
    from recbole_ext.tuning import tune

    sources = [_dataset(dataset, data_path, dataset_configs) for dataset in datasets]
    return tune(sources, encoder, out, objective, checkpoint, **settings)


def _dataset(dataset: str | Dataset, data_path: Path | str, dataset_configs: Path | str) -> Dataset:
    from recbole_ext.data.dataset import Dataset

    return dataset if isinstance(dataset, Dataset) else Dataset.named(dataset, data_path, dataset_configs)


@dataclass(frozen=True)
class Outcome:
    """What a call of :func:`run` left: the report, its folder, and the names of the runs that failed."""

    folder: Path
    report: LeaderboardReport
    failed: list[str]

    def to_pandas(self) -> pd.DataFrame:
        """The leaderboard, a row of the benchmark each, as in ``leaderboard.csv``."""
        return self.report.to_pandas()

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def run(
    benchmark: Path | str | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    command: str | None = None,
) -> Outcome:
    """Run what is missing of a benchmark, and report.

    Args:
        benchmark: a YAML, a preset's name, or all that a YAML could say as a mapping; ``None``: the embedded benchmark
            on ml-100k.
        overrides: keys of the benchmark, of RecBole or of the hook that override what it says.
        command: what makes the table again, as the report says it; by default this call.

    Raises:
        RecboleExtError: the benchmark can't be run; its message names the key or the file and the way out.
    """
    from recbole_ext.report import write_report

    resolved = _resolved(benchmark, overrides, command, fetch=True)
    for line in what_will_be_done(resolved, is_done):
        log.info("%s", line)
    for line in rows_left_out(resolved):
        log.warning("%s", line)
    failed = run_benchmark(resolved)
    folder = resolved.benchmark.folder
    return Outcome(folder, write_report(folder), [spec.name for spec in failed])


def plan(
    benchmark: Path | str | Mapping[str, Any] | None = None, overrides: Mapping[str, Any] | None = None
) -> list[str]:
    """What :func:`run` would do with the same arguments: steps, time, memory, and what is missing here; runs nothing.

    Raises:
        RecboleExtError: the benchmark can't be right.
    """
    return plan_lines(_resolved(benchmark, overrides, None, fetch=False), is_done)


def load_results(folder: Path | str) -> LeaderboardReport:
    """The results of a benchmark that was run before, from its records; writes nothing.

    Args:
        folder: the benchmark's, such as ``runs/embedded``.

    Returns:
        An object with ``to_pandas()`` (the leaderboard), ``costs`` (a data frame too), ``records()`` (every run, with
        its configuration, curve and metrics), ``figures()`` (PNG files); a notebook shows it as the leaderboard.

    Raises:
        ConfigurationError: the folder holds no benchmark, or none of its runs has finished.
    """
    from recbole_ext.report import read_report

    return read_report(folder)


def score(
    source: str | Mapping[str, Any],
    suite: str | Path = "quick",
    *,
    name: str | None = None,
    data_path: Path | str = DATA_PATH,
    dataset_configs: Path | str = DATASET_CONFIGS,
    artifacts: Path | str = "artifacts",
    out: Path | str = "runs/encoders",
    published: Path | str = "results/encoders",
    parallel_runs: int | None = None,
    executor: Literal["local", "ray"] | None = None,
    compute: Compute | None = None,
    command: str | None = None,
) -> Scored:
    """The score card of item vectors: what they are worth in a suite's recommenders, and what they cost.

    Args:
        source: an encoder (``"minilm"``, a Hugging Face name, a folder), ``"random"``, or a source of vectors as in a
            benchmark's YAML: ``{"lexical": "tfidf", "dim": 64}``.
        suite: ``quick``, ``standard`` or ``full``, or the path of a suite's YAML.
        name: what the card is called; by default after the source and its settings.
        out: the card and the page of all cards go there, and the runs into the folder of the suite's name in it.
        published: cards among which the new one's place is told.
        parallel_runs: as in a benchmark, instead of the suite's.
        executor: likewise.
        compute: how the vectors are computed.
        command: what makes the card again, as it says it; by default this call.

    Raises:
        RecboleExtError: the vectors can't be made, the suite can't be run, or one of its runs failed.
    """
    from recbole_ext.scoring import score_source

    keys = _score_keys(data_path, dataset_configs, artifacts, parallel_runs, executor)
    return score_source(
        *_scored(suite, source),
        name,
        command or f"recbole_ext.score({source!r}, {str(suite)!r})",
        out=Path(out),
        published=Path(published),
        compute=compute,
        **keys,
    )


def score_plan(
    source: str | Mapping[str, Any],
    suite: str | Path = "quick",
    *,
    name: str | None = None,
    data_path: Path | str = DATA_PATH,
    dataset_configs: Path | str = DATASET_CONFIGS,
    artifacts: Path | str = "artifacts",
    out: Path | str = "runs/encoders",
    parallel_runs: int | None = None,
    executor: Literal["local", "ray"] | None = None,
) -> list[str]:
    """What :func:`score` would do with the same arguments: steps, time, memory, what is missing; runs nothing.

    Raises:
        RecboleExtError: the suite or the source can't be right.
    """
    from recbole_ext.scoring import resolve_score

    keys = _score_keys(data_path, dataset_configs, artifacts, parallel_runs, executor)
    resolved, _ = resolve_score(*_scored(suite, source), name, "", fetch=False, results=Path(out), **keys)
    return plan_lines(resolved, is_done, all_stores=True)  # a card describes its vectors


def _scored(suite: str | Path, source: str | Mapping[str, Any]) -> tuple[Suite, Mapping[str, Any] | None]:
    if isinstance(source, str):
        source = {} if source == RANDOM else {"encoder": source}
    return load_suite(suite), source or None


def _score_keys(
    data_path: Path | str,
    dataset_configs: Path | str,
    artifacts: Path | str,
    parallel_runs: int | None,
    executor: str | None,
) -> dict[str, Any]:
    keys = {"data_path": Path(data_path), "dataset_configs": Path(dataset_configs), "artifacts": Path(artifacts)}
    return keys | {k: v for k, v in {"parallel_runs": parallel_runs, "executor": executor}.items() if v is not None}


def study(name: str, file: Path | str | None = None, out: Path | str = "runs/studies", **overrides: Any) -> Study:
    """One of the paper's analyses.

    Args:
        name: which one; ``recbole-ext study --help`` lists them.
        file: a YAML with its settings; by default the preset of its name.
        out: the folder of all studies.
        overrides: settings of the study above the file's, such as ``dataset="Office", encoders={"mine": "minilm"}``;
            of a study that runs a benchmark also keys of that.

    Returns:
        ``sentence`` says what it shows, ``to_pandas()`` has its numbers, ``figures`` are PNG files in ``folder``.

    Raises:
        ConfigurationError: no such study, or a setting that it does not have.
    """
    from recbole_ext.studies import run_study

    given = {**({"file": str(file)} if file else {}), **overrides}
    command = f"recbole_ext.study({', '.join([repr(name), *(f'{key}={value!r}' for key, value in given.items())])})"
    return run_study(name, Path(file) if file else None, overrides, Path(out), command)


def _resolved(
    benchmark: Path | str | Mapping[str, Any] | None,
    overrides: Mapping[str, Any] | None,
    command: str | None,
    fetch: bool,
) -> Resolved:
    where, checked, keys = read_benchmark(benchmark, dict(overrides or {}))
    return resolve(checked, keys, command or f"recbole_ext.run({where!r}), {Path(sys.argv[0]).name}", where, fetch)
