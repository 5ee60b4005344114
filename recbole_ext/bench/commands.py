"""``recbole-ext bench`` and its kinds on the command line; each writes a JSON and a Markdown table and prints the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recbole_ext.writing import replacing_file


def add_bench(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` and its kinds to the command line."""
    bench = commands.add_parser(
        "bench",
        help="seconds and memory against stock RecBole; 'bench scale', 'bench encode', 'bench tune', 'bench quality', 'bench reach', 'bench memory', 'bench options'",
        description="Measure training and evaluation against stock RecBole, interleaved in one run, and write "
        "OUT/DATASET-MODEL.json and OUT/table.md.",
    )
    bench.add_argument("--dataset", action="append", help="named as in RecBole; repeat for more (default: ml-100k)")
    bench.add_argument("--model", action="append", help="RecBole model; repeat for more (default: SASRec)")
    bench.add_argument("--data-path", "--data_path", default="artifacts/data", help="default: %(default)s")
    bench.add_argument("--repeats", type=int, default=3, help="epochs and evaluations per side (default: %(default)s)")
    bench.add_argument("--reach", type=float, default=0.0, metavar="NDCG", help="also train both to this NDCG@10")
    bench.add_argument("--out", type=Path, default=Path("results/performance"), help="default: %(default)s")
    bench.set_defaults(run=_bench)
    kinds = bench.add_subparsers(metavar="scale|encode|tune|quality|reach|memory|options")
    encoding = kinds.add_parser(
        "encode",
        help="the encode stage against sentence-transformers' own encode",
        description="Encode the texts of each --dataset with MiniLM both ways, in turns, and write "
        "OUT/encode-DATASET.json and encode-DATASET.md.",
    )
    encoding.set_defaults(run=_bench_encode)
    tuning = kinds.add_parser(
        "tune",
        help="RECFORMER's pre-training step and item encoding against the public code's way",
        description="Tune a small Longformer on sequences of each --dataset both ways, in turns, and write "
        "OUT/tune-DATASET.json and tune-DATASET.md.",
    )
    tuning.add_argument("--sequences", type=int, default=256, help="default: %(default)s")
    tuning.add_argument("--max-tokens", type=int, default=512, help="of a sequence; default: %(default)s")
    tuning.set_defaults(run=_bench_tune)
    quality = kinds.add_parser(
        "quality",
        help="test NDCG@10 over several seeds, trained here and on stock RecBole's samples",
        description="Train each --model on each --dataset both ways and write OUT/quality.json, quality.md and a "
        "record per run.",
    )
    quality.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    quality.add_argument("--stock-seeds", type=int, default=5, help="default: %(default)s")
    quality.add_argument("--parallel-runs", type=int, default=1, help="default: %(default)s")
    quality.set_defaults(run=_bench_quality)
    reach = kinds.add_parser(
        "reach",
        help="seconds until stock's best validation score, from what `bench quality` found",
        description="Time both sides' epochs and write OUT/reach-DATASET-MODEL.json and .md.",
    )
    reach.set_defaults(run=_bench_reach)
    memory = kinds.add_parser(
        "memory",
        help="what preparing 10 million interactions and a step over 140,000 items take",
        description="Measure both on made-up data and write OUT/memory.json and memory.md.",
    )
    memory.set_defaults(run=_bench_memory)
    switches = kinds.add_parser(
        "options",
        help="whether mixed precision, torch.compile or loader workers help here",
        description="Measure an epoch of each --model on each --dataset with each of them and write "
        "OUT/options-DATASET-MODEL.json and .md.",
    )
    switches.set_defaults(run=_bench_options)
    scale = kinds.add_parser(
        "scale",
        help="cost as users, history length, catalogue and width grow",
        description="Measure one epoch and one evaluation of each --model on made-up data along four axes, with the "
        "exponent of the fit, and write OUT/scale-MODEL.json and scale-MODEL.md.",
    )
    scale.set_defaults(run=_bench_scale)


def _bench_encode(options: argparse.Namespace) -> int:
    from recbole_ext.bench.encoding import encoding_table, run_encoding_contest
    from recbole_ext.run.dataset_files import read_dataset_config

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
    from recbole_ext.run.dataset_files import read_dataset_config, recbole_keys

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
