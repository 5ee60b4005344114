"""``recbole-ext bench`` and its kinds on the command line.

Each kind writes a JSON and a Markdown table below ``--out`` and prints the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_ext.writing import replacing_file


def add_bench(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` and its kinds to the command line."""
    bench = commands.add_parser(
        "bench",
        help=f"seconds and memory against stock RecBole; kinds: {', '.join(KINDS)}",
        description="Measure training and evaluation against stock RecBole, interleaved in one run, and write "
        "OUT/DATASET-MODEL.json and OUT/table.md.",
    )
    _add_shared(bench)
    bench.add_argument("--reach", type=float, default=0.0, metavar="NDCG", help="also train both to this NDCG@10")
    bench.set_defaults(
        run=_bench, dataset=None, model=None, data_path="artifacts/data", repeats=3, out=Path("results/performance")
    )
    kinds = bench.add_subparsers(metavar="|".join(KINDS))
    for name, (help_text, writes, run) in KINDS.items():
        kind = kinds.add_parser(name, help=help_text, description=f"Measure {help_text}, and write OUT/{writes}.")
        _add_shared(kind)
        if name == "tune":
            kind.add_argument("--sequences", type=int, default=256, help="default: %(default)s")
            kind.add_argument("--max-tokens", type=int, default=512, help="of a sequence; default: %(default)s")
        if name in ("quality", "losses"):
            kind.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
            kind.add_argument("--parallel-runs", type=int, default=1, help="default: %(default)s")
        if name == "quality":
            kind.add_argument("--stock-seeds", type=int, default=5, help="default: %(default)s")
        kind.set_defaults(run=run)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """What all kinds understand; without defaults, so that a kind does not undo what was said before its name."""
    quiet: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument("--dataset", action="append", help="as in RecBole; repeat for more (default: ml-100k)", **quiet)
    parser.add_argument("--model", action="append", help="repeat for more (default: SASRec)", **quiet)
    parser.add_argument("--data-path", "--data_path", help="default: artifacts/data", **quiet)
    parser.add_argument("--repeats", type=int, help="of what is timed, on each side (default: 3)", **quiet)
    parser.add_argument("--out", type=Path, help="default: results/performance", **quiet)


def _bench_encode(options: argparse.Namespace) -> int:
    from recbole_ext.bench.encoding import encoding_table, run_encoding_contest
    from recbole_ext.data.files import read_dataset_config

    for dataset in options.dataset or ["ml-100k"]:
        template = read_dataset_config(Path("dataset_configs") / f"{dataset}.yaml").get("item_text")
        out = options.out / f"encode-{dataset}.json"
        result = run_encoding_contest(
            dataset, options.data_path, template, "minilm", options.repeats, out, options.line
        )
        _write_table(out.with_suffix(".md"), encoding_table(result), options.line)
    return 0


def _bench_tune(options: argparse.Namespace) -> int:
    from recbole_ext.bench.tuning import run_tuning_contest, tuning_table

    for dataset in options.dataset or ["ml-100k"]:
        out = options.out / f"tune-{dataset}.json"
        result = run_tuning_contest(
            dataset, options.data_path, options.sequences, options.max_tokens, options.repeats, out, options.line
        )
        _write_table(out.with_suffix(".md"), tuning_table(result), options.line)
    return 0


def _bench_quality(options: argparse.Namespace) -> int:
    from recbole_ext.bench.quality import quality_table, run_quality

    out = options.out / "quality.json"
    result = run_quality(
        options.dataset or ["ml-100k"],
        options.model or ["SASRec"],
        options.seeds,
        options.stock_seeds,
        options.parallel_runs,
        options.data_path,
        out,
        options.line,
    )
    _write_table(out.with_suffix(".md"), quality_table(result), options.line)
    return 0


def _bench_reach(options: argparse.Namespace) -> int:
    from recbole_ext.bench.reach import reach_table, run_reach

    for dataset in options.dataset or ["ml-100k"]:
        for model in options.model or ["SASRec"]:
            out, quality = options.out / f"reach-{dataset}-{model}.json", options.out / "quality.json"
            keys = _bench_keys(options, dataset)
            result = run_reach(dataset, model, keys, options.repeats, quality, out, options.line)
            _write_table(out.with_suffix(".md"), reach_table(result), options.line)
    return 0


def _bench_losses(options: argparse.Namespace) -> int:
    from recbole_ext.bench.losses import losses_table, run_losses

    for dataset in options.dataset or ["ml-100k"]:
        for model in options.model or ["SASRec"]:
            out = options.out / f"losses-{dataset}-{model}.json"
            result = run_losses(
                dataset,
                model,
                options.seeds,
                options.parallel_runs,
                options.repeats,
                options.data_path,
                out,
                options.line,
            )
            _write_table(out.with_suffix(".md"), losses_table(result), options.line)
    return 0


def _bench_memory(options: argparse.Namespace) -> int:
    from recbole_ext.bench.memory import memory_table, run_memory

    out = options.out / "memory.json"
    _write_table(out.with_suffix(".md"), memory_table(run_memory(out, options.line)), options.line)
    return 0


def _bench_options(options: argparse.Namespace) -> int:
    from recbole_ext.bench.options import options_table, run_options

    for dataset in options.dataset or ["ml-100k"]:
        for model in options.model or ["SASRec"]:
            out = options.out / f"options-{dataset}-{model}.json"
            result = run_options(dataset, model, _bench_keys(options, dataset), options.repeats, out, options.line)
            _write_table(out.with_suffix(".md"), options_table(result), options.line)
    return 0


def _bench_keys(options: argparse.Namespace, dataset: str) -> dict[str, Any]:
    from recbole_ext.data.files import read_dataset_config, recbole_keys

    settings = recbole_keys(read_dataset_config(Path("dataset_configs") / f"{dataset}.yaml"))
    return settings | {"data_path": options.data_path, "train_neg_sample_args": None}


def _bench_scale(options: argparse.Namespace) -> int:
    from recbole_ext.bench.scale import run_scale, scale_table

    for model in options.model or ["SASRec"]:
        result = run_scale(model, options.out / f"scale-{model}.json", options.line)
        _write_table(options.out / f"scale-{model}.md", scale_table(result), options.line)
    return 0


def _bench(options: argparse.Namespace) -> int:
    from recbole_ext.bench.contest import Contest, run_contest, table

    results = []
    for dataset in options.dataset or ["ml-100k"]:
        settings = _bench_keys(options, dataset)
        for model in options.model or ["SASRec"]:
            contest = Contest(model, dataset, settings, options.repeats, options.reach)
            results.append(run_contest(contest, options.out / f"{dataset}-{model}.json", options.line))
    _write_table(options.out / "table.md", table(results), options.line)
    return 0


def _write_table(target: Path, lines: list[str], command: str) -> None:
    with replacing_file(target) as temporary:
        temporary.write_text("\n".join([f"Made by `{command}`.", "", *lines, ""]), encoding="utf-8")
    print("\n".join(lines))


Run = Callable[[argparse.Namespace], int]

KINDS: dict[str, tuple[str, str, Run]] = {
    "encode": (
        "the encode stage against sentence-transformers' own encode",
        "encode-DATASET.json and .md",
        _bench_encode,
    ),
    "tune": (
        "RECFORMER's pre-training step and item encoding against the public code's way",
        "tune-DATASET.json and .md",
        _bench_tune,
    ),
    "quality": (
        "test NDCG@10 over several seeds, trained here and on stock RecBole's samples",
        "quality.json, quality.md and a record per run",
        _bench_quality,
    ),
    "reach": (
        "seconds until stock's best validation score, from the epochs that `bench quality` found",
        "reach-DATASET-MODEL.json and .md",
        _bench_reach,
    ),
    "losses": (
        "memory, seconds and test NDCG@10 of the losses of a large catalogue, side by side",
        "losses-DATASET-MODEL.json and .md and a record per run",
        _bench_losses,
    ),
    "memory": (
        "what preparing 10 million interactions and a step over 140,000 items take",
        "memory.json and memory.md",
        _bench_memory,
    ),
    "options": (
        "whether mixed precision, torch.compile or loader workers help here",
        "options-DATASET-MODEL.json and .md",
        _bench_options,
    ),
    "scale": (
        "cost as users, history length, catalogue and width grow, on made-up data, with the exponent of the fit",
        "scale-MODEL.json and .md",
        _bench_scale,
    ),
}
"""Name: what is measured, what is written, what does it."""
