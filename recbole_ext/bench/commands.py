"""``recbole-ext bench`` and its kinds on the command line.

Each kind measures and hands over what it found; here that is written, as JSON with what made it and as a Markdown table
in the device's folder below ``--out``, and the table is printed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_ext.errors import ConfigurationError, MeasurementError
from recbole_ext.machine import with_home
from recbole_ext.writing import replacing_file, write_json

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Dataset

OUT = Path("runs/performance")
SHARED = ("dataset", "model", "repeats")
"""Options that several kinds read."""


class Finding(NamedTuple):
    """What was measured: the stem of its files, the JSON, the Markdown table; either of the two may be missing."""

    name: str
    result: dict[str, Any] | None
    table: list[str] | None
    commands: tuple[str, ...] = ()
    """That made the table, where it is not this one alone."""


class Kind(NamedTuple):
    """A kind of measurement: what it measures and writes, in words, what does it, and which options it reads."""

    measures: str
    writes: str
    run: Callable[[argparse.Namespace], Iterator[Finding]]
    reads: tuple[str, ...] = SHARED


def add_bench(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` and its kinds to the command line."""
    bench = commands.add_parser(
        "bench",
        help=f"seconds and memory against stock RecBole; kinds: {', '.join(KINDS)}",
        description="Measure training and evaluation against stock RecBole, interleaved in one run, and write "
        f"DATASET-MODEL.json and table.md to OUT/DEVICE. (What the project publishes: --out=results/{OUT.name}.)",
    )
    _add_shared(bench, SHARED)
    bench.add_argument("--reach", type=float, default=0.0, metavar="NDCG", help="also train both to this NDCG@10")
    bench.set_defaults(
        run=_run, measure=_contest, dataset=None, model=None, data_path="artifacts/data", repeats=3, out=OUT
    )
    kinds = bench.add_subparsers(metavar="|".join(KINDS))
    for name, kind in KINDS.items():
        parser = kinds.add_parser(
            name, help=kind.measures, description=f"Measure {kind.measures}, and write OUT/DEVICE/{kind.writes}."
        )
        _add_shared(parser, kind.reads)
        if name == "tune":
            parser.add_argument("--sequences", type=int, default=256, help="default: %(default)s")
            parser.add_argument("--max-tokens", type=int, default=512, help="of a sequence; default: %(default)s")
        if name == "utilisation":
            parser.add_argument("--sequences", type=int, default=2048, help="default: %(default)s")
            parser.add_argument("--max-tokens", type=int, default=512, help="of a sequence; default: %(default)s")
            parser.add_argument("--batch-size", type=int, default=256, help="default: %(default)s")
            parser.add_argument("--tokenizer", default="minilm", help="an encoder, or a folder with a tokenizer alone")
        if name == "catalogue":
            parser.add_argument("--targets", type=int, default=4_096, help="of a step; default: %(default)s")
            parser.add_argument("--items", type=int, default=1_000_000, help="default: %(default)s")
        if name == "quality":
            parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
            parser.add_argument("--stock-seeds", type=int, default=5, help="default: %(default)s")
            parser.add_argument("--parallel-runs", type=int, default=1, help="default: %(default)s")
        parser.set_defaults(measure=kind.run)


def _add_shared(parser: argparse.ArgumentParser, reads: Collection[str]) -> None:
    """Options of several kinds; without defaults, so that a kind does not undo what was said before its name."""
    quiet: dict[str, Any] = {"default": argparse.SUPPRESS}
    if "dataset" in reads:
        said = "as in RecBole; repeat for more (default: ml-100k)"
        parser.add_argument("--dataset", action="append", help=said, **quiet)
        parser.add_argument("--data-path", "--data_path", type=with_home, help="default: artifacts/data", **quiet)
    if "model" in reads:
        parser.add_argument("--model", action="append", help="repeat for more (default: SASRec)", **quiet)
    if "repeats" in reads:
        parser.add_argument("--repeats", type=int, help="of what is timed, on each side (default: 3)", **quiet)
    parser.add_argument("--out", type=with_home, help=f"default: {OUT}", **quiet)


def _run(options: argparse.Namespace) -> int:
    from recbole_ext.machine import git_revision, versions

    if options.repeats < 1:
        raise ConfigurationError(f"bench: --repeats: at least 1; got {options.repeats}, of which there is no median.")
    folder = options.out / folder_of_this_device()
    for finding in _measured(options):
        if finding.result is not None:
            origin = {"command": options.line, "versions": versions(), "git_revision": git_revision()}
            write_json(folder / f"{finding.name}.json", {**origin, **finding.result})
        if finding.table is not None:
            with replacing_file(folder / f"{finding.name}.md") as temporary:
                made_by = " and ".join(f"`{command}`" for command in finding.commands or (options.line,))
                lines = [f"Made by {made_by}.", "", *finding.table, ""]
                temporary.write_text("\n".join(lines), encoding="utf-8")
            print("\n".join(finding.table))
    return 0


def _measured(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.allocator import out_of_memory_as

    with out_of_memory_as(MeasurementError, "in bench: free some, or measure a smaller dataset, model or batch."):
        yield from options.measure(options)


def folder_of_this_device() -> str:
    """Measurements of two devices don't stand in one table: ``cpu-amd-epyc-2-threads``."""
    import torch

    from recbole_ext.machine import device_in_words

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return re.sub(r"[^a-z0-9]+", "-", device_in_words(device).lower()).strip("-")


def _contest(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.contest import Contest, contests_in, run_contest, table

    for dataset in _datasets(options):
        for model in _models(options):
            result = run_contest(Contest(model, dataset, repeats=options.repeats, reach=options.reach))
            yield Finding(f"{dataset.name}-{model}", result, None)
    results = contests_in(options.out / folder_of_this_device())
    yield Finding("table", None, table(results), tuple(dict.fromkeys(result["command"] for result in results)))


def _encode(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.encoding import encoding_table, run_encoding_contest

    for dataset in _datasets(options):
        result = run_encoding_contest(dataset, "minilm", options.repeats)
        yield Finding(f"encode-{dataset.name}", result, encoding_table(result))


def _tune(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.tuning import run_tuning_contest, tuning_table

    for dataset in _datasets(options):
        result = run_tuning_contest(dataset, options.sequences, options.max_tokens, options.repeats)
        yield Finding(f"tune-{dataset.name}", result, tuning_table(result))


def _quality(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.quality import quality_table, run_quality

    seeds = {"recbole-ext": options.seeds, "stock": options.stock_seeds}
    result = run_quality(_datasets(options), _models(options), seeds, options.parallel_runs, options.out, options.line)
    yield Finding("quality", result, quality_table(result))


def _reach(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.reach import reach_table, run_reach

    for dataset in _datasets(options):
        for model in _models(options):
            result = run_reach(dataset, model, options.repeats, options.out / folder_of_this_device() / "quality.json")
            yield Finding(f"reach-{dataset.name}-{model}", result, reach_table(result))


def _memory(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.memory import memory_table, run_memory

    result = run_memory()
    yield Finding("memory", result, memory_table(result))


def _options(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.options import options_table, run_options

    for dataset in _datasets(options):
        for model in _models(options):
            result = run_options(dataset, model, options.repeats)
            yield Finding(f"options-{dataset.name}-{model}", result, options_table(result))


def _side_by_side(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.models import models_table, run_models

    for dataset in _datasets(options):
        result = run_models(dataset, _models(options), options.repeats)
        yield Finding(f"models-{dataset.name}", result, models_table(result))


def _rectools(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.rectools import rectools_table, run_rectools

    for dataset in _datasets(options):
        result = run_rectools(dataset, options.repeats)
        yield Finding(f"rectools-{dataset.name}", result, rectools_table(result))


def _scale(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.scale import run_scale, scale_table

    for model in _models(options):
        result = run_scale(model)
        yield Finding(f"scale-{model}", result, scale_table(result))


def _utilisation(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.utilisation import run_utilisation, utilisation_table

    sizes = options.sequences, options.max_tokens, options.batch_size
    for dataset in _datasets(options):
        result = run_utilisation(dataset, *sizes, options.repeats, options.tokenizer)
        yield Finding(f"utilisation-{dataset.name}", result, utilisation_table(result))


def _catalogue(options: argparse.Namespace) -> Iterator[Finding]:
    from recbole_ext.bench.catalogue import catalogue_table, run_catalogue

    result = run_catalogue(options.items, options.targets, options.repeats)
    yield Finding(f"catalogue-{options.items}", result, catalogue_table(result))


def _datasets(options: argparse.Namespace) -> list[Dataset]:
    from recbole_ext.data.dataset import Dataset

    return [Dataset.named(name, options.data_path) for name in options.dataset or ["ml-100k"]]


def _models(options: argparse.Namespace) -> list[str]:
    return options.model or ["SASRec"]


KINDS: dict[str, Kind] = {
    "encode": Kind(
        "the encode stage against sentence-transformers' own encode",
        "encode-DATASET.json and .md",
        _encode,
        ("dataset", "repeats"),
    ),
    "tune": Kind(
        "RECFORMER's pre-training step and item encoding against the public code's way",
        "tune-DATASET.json and .md",
        _tune,
        ("dataset", "repeats"),
    ),
    "quality": Kind(
        "test NDCG@10 over several seeds, trained here and on stock RecBole's samples",
        "quality.json, quality.md and a benchmark per side",
        _quality,
        ("dataset", "model"),
    ),
    "reach": Kind(
        "seconds until stock's best validation score, from the epochs that `bench quality` found",
        "reach-DATASET-MODEL.json and .md",
        _reach,
    ),
    "memory": Kind(
        "what preparing 10 million interactions and a step over 140,000 items take",
        "memory.json and memory.md",
        _memory,
        (),
    ),
    "options": Kind(
        "whether mixed precision, torch.compile or loader workers help here",
        "options-DATASET-MODEL.json and .md",
        _options,
    ),
    "models": Kind(
        "what an epoch and an evaluation of several models cost, beside the first one's",
        "models-DATASET.json and .md",
        _side_by_side,
    ),
    "rectools": Kind(
        "an epoch of SASRec beside one of RecTools' SASRec, if that is installed",
        "rectools-DATASET.json and .md",
        _rectools,
        ("dataset", "repeats"),
    ),
    "utilisation": Kind(
        "tokens per second of tuning and encoding in bfloat16, and their part of the device's peak",
        "utilisation-DATASET.json and .md",
        _utilisation,
        ("dataset", "repeats"),
    ),
    "catalogue": Kind(
        "a training step and an evaluation over a million items, with their peak memory",
        "catalogue-ITEMS.json and .md",
        _catalogue,
        ("repeats",),
    ),
    "scale": Kind(
        "cost as users, history length, catalogue and width grow, on made-up data, with the exponent of the fit",
        "scale-MODEL.json and .md",
        _scale,
        ("model",),
    ),
}
