"""The commands of lists: ``recommend``, ``evaluate``, ``export-split``."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_ext.lists import FORMATS, TARGETS
from recbole_ext.machine import with_home


def add_lists(commands: argparse._SubParsersAction) -> None:
    """Add them to the program's commands."""
    _add_recommend(commands)
    _add_evaluate(commands)
    _add_export_split(commands)


def _add_recommend(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "recommend",
        help="top-K lists out of a finished run",
        description="Rank items with a finished run that kept its checkpoint (keep_checkpoints: true in its benchmark) "
        "and write user, item, rank, score by tokens. What a user has seen is left out where the run's protocol leaves "
        "it out.",
    )
    parser.add_argument(
        "record", type=with_home, metavar="RUN", help="a record's path, or results folder and name: runs/mine/NAME"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--users", nargs="+", metavar="USER", help="tokens of known users; by default all")
    who.add_argument("--users-file", type=with_home, metavar="FILE", help="the same in a file: one a line, or a table")
    who.add_argument(
        "--histories",
        type=with_home,
        metavar="FILE",
        help="instead: a csv or parquet with user, item and perhaps timestamp",
    )
    parser.add_argument(
        "--topk", type=int, default=10, metavar="K", help="items of a list, or all there are; default: %(default)s"
    )
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default="test",
        help="what a known user's list is for: the test item, as the run was tested (default), the validation item, or "
        "what is next after all that is known of the user",
    )
    parser.add_argument(
        "--new-items",
        type=with_home,
        metavar="STORE",
        help="rank items, too, that training never saw, from their vectors",
    )
    parser.add_argument("--new-items-only", action="store_true", help="rank these alone")
    parser.add_argument(
        "--out", type=with_home, required=True, metavar="LISTS", help="a .csv, .tsv or .parquet to write"
    )
    parser.add_argument("--data-path", "--data_path", type=with_home, help="where the dataset's folder lies now")
    parser.add_argument("--store", type=with_home, help="where the run's own item embedding store lies now")
    parser.set_defaults(run=_recommend)


def _recommend(options: argparse.Namespace) -> int:
    from recbole_ext.lists.recommend import recommend

    found = recommend(
        options.record,
        users=options.users_file or options.users,
        histories=options.histories,
        topk=options.topk,
        target=options.target,
        new_items=options.new_items,
        new_items_only=options.new_items_only,
        out=options.out,
        data_path=options.data_path,
        store=options.store,
        progress=True,
    )
    print("\n".join(found.lines()))
    return 0


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        usage="%(prog)s LISTS [LISTS …] --benchmark BENCHMARK.yaml --name NAME [options] [--key=value ...]",
        help="lists of any other system become a row of a benchmark's leaderboard",
        description="Test lists (csv or parquet with user, item and rank or score, by tokens) on a benchmark's split "
        "with its metrics, and write the leaderboard again. Several files are the system's seeds: from three on it is "
        "tested against its baseline. --key=value overrides the benchmark's keys as in `run`.",
    )
    parser.add_argument("lists", nargs="+", type=with_home, metavar="LISTS", help="tables of lists, one for each seed")
    parser.add_argument(
        "--benchmark",
        required=True,
        type=with_home,
        metavar="BENCHMARK.yaml",
        help="in whose leaderboard they are to stand",
    )
    parser.add_argument(
        "--name", required=True, help="what to call the system; an earlier row of lists of that name is replaced"
    )
    parser.add_argument("--dataset", help="where the benchmark has several")
    parser.add_argument("--protocol", help="where the benchmark has several")
    parser.add_argument("--baseline", metavar="MODEL,INITIALISATION", help="the row that it is compared with")
    parser.add_argument("--source", default="", metavar="TEXT", help="the system and how its lists were made, in words")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from recbole_ext.benchmark import parse_overrides
    from recbole_ext.errors import ConfigurationError
    from recbole_ext.lists.evaluate import evaluate
    from recbole_ext.records import GRID
    from recbole_ext.report import write_report

    found = evaluate(
        options.lists,
        options.benchmark,
        options.name,
        dataset=options.dataset,
        protocol=options.protocol,
        baseline=_row(options.baseline),
        source=options.source,
        overrides=parse_overrides(options.overrides),
        command=options.line,
    )
    print("\n".join(found.lines()))
    if not (found.folder / GRID).is_file():
        print(f"{found.folder}: the benchmark has not run yet; its report will show these lists.")
        return 0
    try:
        print("\n".join(["", *write_report(found.folder).lines()]))
    except ConfigurationError as error:
        print(f"no leaderboard yet: {error}")
    return 0


def _row(named: str | None) -> Any:
    from recbole_ext.errors import ConfigurationError

    if named is None:
        return None
    model, comma, variant = named.partition(",")
    if not comma:
        raise ConfigurationError(f"--baseline {named}: name model and initialisation, as in SASRec,random.")
    return model.strip(), variant.strip()


def _add_export_split(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "export-split",
        usage="%(prog)s BENCHMARK.yaml|DATASET --out DIR [options] [--key=value ...]",
        help="the very train, validation and test rows that other systems must use",
        description="Write the split of a benchmark's dataset, or of a dataset under the default protocol, by tokens: "
        "train, valid, test, items, and split.json.",
    )
    parser.add_argument("what", metavar="BENCHMARK.yaml|DATASET", help="whose split; a dataset's is leave-one-out")
    parser.add_argument("--out", type=with_home, required=True, metavar="DIR", help="folder for the tables")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="default: %(default)s")
    parser.add_argument("--dataset", help="where the benchmark has several")
    parser.add_argument("--protocol", help="where the benchmark has several")
    parser.set_defaults(run=_export_split)


def _export_split(options: argparse.Namespace) -> int:
    from recbole_ext.benchmark import parse_overrides
    from recbole_ext.lists.export import export_split

    print(
        "\n".join(
            export_split(
                options.what,
                options.out,
                format=options.format,
                dataset=options.dataset,
                protocol=options.protocol,
                overrides=parse_overrides(options.overrides),
            ).lines()
        )
    )
    return 0
