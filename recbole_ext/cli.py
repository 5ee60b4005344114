"""The command line: one command per stage of the road. A user's mistake prints one message and exits with 2."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from recbole_ext import __version__
from recbole_ext.bench.commands import add_bench
from recbole_ext.errors import InstallationError, RecboleExtError
from recbole_ext.installation import require_installation
from recbole_ext.lists.commands import add_lists
from recbole_ext.machine import with_home, without_home
from recbole_ext.settings import add_options, given_options
from recbole_ext.terminal import log_to_terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 some of it failed, 2 a mistake in the input, 130 stopped."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        require_installation()  # before the parser: the commands' modules import what may be missing
    except InstallationError as error:
        if "doctor" in arguments:
            return _doctor(argparse.Namespace(models=None, options=False))
        print(f"recbole-ext: {error}", file=sys.stderr)
        return 2
    parser = build_parser()
    options, overrides = parser.parse_known_args(arguments)
    if overrides and options.command not in ("run", "study", "evaluate", "export-split"):
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    options.overrides = overrides
    options.line = without_home(shlex.join(["recbole-ext", *arguments]))
    log_to_terminal(options.verbose)
    if threading.current_thread() is threading.main_thread():
        # `kill` ends a command as Ctrl-C does: its runs end with it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return options.run(options)
    except RecboleExtError as error:
        print(f"recbole-ext: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"recbole-ext: can't read or write: {error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("recbole-ext: stopped; the next call goes on from what is finished.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="recbole-ext",
        description="Does a language model help sequential recommendation, and what does it cost? On RecBole.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="log details")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_convert(commands)
    _add_encode(commands)
    _add_tune(commands)
    _add_run(commands)
    add_lists(commands)
    _add_score(commands)
    _add_report(commands)
    _add_study(commands)
    add_bench(commands)
    doctor = commands.add_parser(
        "doctor",
        help="versions, device, what works and what does not",
        description="Say what works here and, for what does not, what to type. Ends with 1 if anything does not.",
    )
    doctor.add_argument(
        "--models",
        nargs="*",
        metavar="MODEL",
        help="try every model that docs/models.md lacks, or these, for an epoch beside stock RecBole; all take hours",
    )
    doctor.add_argument(
        "--options",
        action="store_true",
        help="try what can be set of an evaluation beside stock RecBole, and write docs/options.md; minutes",
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _add_convert(commands: argparse._SubParsersAction) -> None:
    from recbole_ext.convert.formats import FORMATS

    parser = commands.add_parser(
        "convert",
        help="source files to RecBole's atomic files",
        description="Convert source files to DIR/NAME/NAME.inter and NAME.item, and say what was kept and dropped.",
        epilog="formats: " + "; ".join(f"{name}: {format.source_is}" for name, format in FORMATS.items()),
    )
    parser.add_argument("source", type=with_home, metavar="SOURCE", help="folder or file that holds the source")
    parser.add_argument("--format", required=True, choices=sorted(FORMATS), help="what the source is; see below")
    parser.add_argument("--name", required=True, help="the dataset's name in RecBole")
    parser.add_argument(
        "--out", type=with_home, default=Path("artifacts/data"), metavar="DIR", help="default: %(default)s"
    )
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    from recbole_ext.convert import convert

    report = convert(options.source, options.format, options.name, options.out)
    print("\n".join(report.lines()))
    return 0


def _add_encode(commands: argparse._SubParsersAction) -> None:
    from recbole_ext.vectors.options import add_source_options

    parser = commands.add_parser(
        "encode",
        help="item text to an item embedding store",
        description="Encode the text of every item of DATASET. A call with nothing changed does no work; an "
        "interrupted one goes on where it was.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="named as in RecBole")
    parser.add_argument(
        "--data-path", "--data_path", type=with_home, default="artifacts/data", help="default: %(default)s"
    )
    parser.add_argument("--out", type=with_home, required=True, metavar="STORE", help="the store's folder")
    parser.add_argument(
        "--dataset-configs", type=with_home, default=Path("dataset_configs"), help="default: %(default)s"
    )
    parser.add_argument(
        "--artifacts",
        type=with_home,
        default=Path("artifacts"),
        help="where tuned encoders and other stores go that a source is made of; default: %(default)s",
    )
    add_source_options(parser)
    parser.set_defaults(run=_encode)


def _encode(options: argparse.Namespace) -> int:
    from recbole_ext.data.dataset import Dataset
    from recbole_ext.vectors.coverage import make_and_count
    from recbole_ext.vectors.options import compute_of, source_of

    source, compute = source_of(options), compute_of(options)
    dataset = Dataset.named(options.dataset, options.data_path, options.dataset_configs)
    print("\n".join(make_and_count(source, dataset, options.out, options.artifacts, compute).lines()))
    return 0


def _add_tune(commands: argparse._SubParsersAction) -> None:
    from recbole_ext.tuning.objectives import OBJECTIVES
    from recbole_ext.tuning.tuning import DEFAULT_OBJECTIVE

    parser = commands.add_parser(
        "tune",
        help="behaviour-tune an encoder on the sequences of one or more source domains",
        description="Tune an encoder on the training splits of DATASET… and write a folder that from_pretrained and "
        "`recbole-ext encode --encoder OUT` load. An interrupted call goes on from its last checkpoint; several GPUs: "
        "torchrun -m recbole_ext tune …",
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="source domains, named as in RecBole")
    parser.add_argument("--encoder", default="minilm", help="minilm (packaged), a Hugging Face name or a path")
    parser.add_argument("--objective", choices=list(OBJECTIVES), default=DEFAULT_OBJECTIVE, help="default: %(default)s")
    parser.add_argument("--out", type=with_home, required=True, help="folder for the tuned encoder")
    parser.add_argument(
        "--data-path", "--data_path", type=with_home, default="artifacts/data", help="default: %(default)s"
    )
    parser.add_argument(
        "--dataset-configs", type=with_home, default=Path("dataset_configs"), help="default: %(default)s"
    )
    parser.add_argument("--checkpoint", type=with_home, help="a RECFORMER state dict to begin from")
    settings = parser.add_argument_group("settings; in brackets the objectives that have the option")
    add_options(settings, {name: entry.settings for name, entry in OBJECTIVES.items()})
    parser.set_defaults(run=_tune)


def _tune(options: argparse.Namespace) -> int:
    from recbole_ext.data.dataset import Dataset
    from recbole_ext.tuning import tune
    from recbole_ext.tuning.objectives import OBJECTIVES
    from recbole_ext.tuning.unfinished import is_writer

    given = given_options(options, (entry.settings for entry in OBJECTIVES.values()))
    sources = [Dataset.named(name, options.data_path, options.dataset_configs) for name in options.datasets]
    report = tune(sources, options.encoder, options.out, options.objective, options.checkpoint, **given)
    if is_writer():
        print("\n".join(report.lines()))
    return 0


def _add_run(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "run",
        help="a grid of runs and its leaderboard",
        usage="recbole-ext run [-h] [BENCHMARK.yaml] [--key=value ...]",
        description="Run what is missing of the benchmark's grid, then print and write its leaderboard. Without a "
        "file: the embedded benchmark on ml-100k. --key=value overrides RecBole's keys and the benchmark's.",
    )
    parser.add_argument(
        "benchmark", nargs="?", type=with_home, metavar="BENCHMARK.yaml", help="a file, or a preset's name"
    )
    parser.add_argument(
        "--executor",
        choices=["local", "ray"],
        help="run in processes of this machine (default), or as tasks of a Ray cluster; see ray_address, cpus_per_run "
        "and gpus_per_run of the benchmark",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="run nothing; print every step with its inputs, an estimate of time and memory, and what is missing here",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from recbole_ext import api
    from recbole_ext.benchmark import parse_overrides

    overrides = parse_overrides(options.overrides)
    if options.executor:
        overrides["executor"] = options.executor
    if options.plan:
        print("\n".join(api.plan(options.benchmark, overrides)))
        return 0
    outcome = api.run(options.benchmark, overrides, command=options.line)
    print("\n".join(outcome.report.lines()))
    return 1 if outcome.failed else 0


def _add_score(commands: argparse._SubParsersAction) -> None:
    from recbole_ext.vectors.options import add_source_options

    parser = commands.add_parser(
        "score",
        help="the score card of item vectors: what they are worth in recommenders, at which cost",
        description="Make the vectors for a suite's datasets, train its recommenders from them and from random ones "
        "under the same search, and write one card. What is finished is not done again.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        metavar="ENCODER",
        help="an encoder, as for --encoder; or random; or none, and a source by its options",
    )
    parser.add_argument(
        "--suite",
        type=with_home,
        default="quick",
        help="quick, standard, full, or the path of a suite's YAML; default: %(default)s",
    )
    parser.add_argument("--name", help="what the card is called; by default after the source and its settings")
    parser.add_argument(
        "--data-path", "--data_path", type=with_home, default="artifacts/data", help="default: %(default)s"
    )
    parser.add_argument(
        "--dataset-configs", type=with_home, default=Path("dataset_configs"), help="default: %(default)s"
    )
    parser.add_argument("--artifacts", type=with_home, default=Path("artifacts"), help="default: %(default)s")
    parser.add_argument(
        "--out", type=with_home, default=Path("runs/encoders"), help="folder for cards and runs; default: %(default)s"
    )
    parser.add_argument(
        "--published",
        type=with_home,
        default=Path("results/encoders"),
        metavar="DIR",
        help="cards among which the new one's place is told; default: %(default)s",
    )
    parser.add_argument("--parallel-runs", "--parallel_runs", type=int, metavar="N", help="instead of the suite's")
    parser.add_argument("--executor", choices=["local", "ray"], help="as of `run`")
    parser.add_argument("--plan", action="store_true", help="run nothing; print every step, as `run --plan` does")
    add_source_options(parser)
    parser.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from recbole_ext import api
    from recbole_ext.errors import ConfigurationError
    from recbole_ext.vectors import SOURCES
    from recbole_ext.vectors.options import compute_of, source_settings

    settings = source_settings(options)
    source: str | dict[str, object] = settings
    if options.source is not None:
        leading = next(key for key in settings if key in SOURCES)
        if hasattr(options, leading):
            raise ConfigurationError(
                f"command line: {options.source!r} and --{leading} are two sources of item vectors; give one."
            )
        given = {key: value for key, value in settings.items() if key != leading}
        if options.source == "random" and given:
            raise ConfigurationError(f"command line: {next(iter(given))!r} says nothing about random vectors.")
        source = "random" if options.source == "random" else {"encoder": options.source, **given}
    places = {key: getattr(options, key) for key in ("data_path", "dataset_configs", "artifacts")}
    how = {"parallel_runs": options.parallel_runs, "executor": options.executor}
    if options.plan:
        print("\n".join(api.score_plan(source, options.suite, name=options.name, out=options.out, **places, **how)))
        return 0
    scored = api.score(
        source,
        options.suite,
        name=options.name,
        out=options.out,
        published=options.published,
        compute=compute_of(options),
        command=options.line,
        **places,
        **how,
    )
    print("\n".join(scored.lines()))
    return 0


def _add_report(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "report",
        help="leaderboard, figures and page again from the run records; the page of encoders from score cards",
        description="Write leaderboard.csv, leaderboard.md, figures and index.html from DIR/runs; of a folder of "
        "benchmarks, those of each, the page above them, and README.md where README.md.j2 is there; of a folder of "
        "score cards, table.csv, table.md, figures and index.html from DIR/*.json.",
    )
    parser.add_argument(
        "folder",
        type=with_home,
        metavar="DIR",
        help="runs/BENCHMARK, the folder of benchmarks above it, or results/encoders",
    )
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from recbole_ext.report.folders import report_lines

    lines, whole = report_lines(options.folder)
    print("\n".join(lines))
    return 0 if whole else 1


def _add_study(commands: argparse._SubParsersAction) -> None:
    from recbole_ext.studies import STUDIES

    parser = commands.add_parser(
        "study",
        help="one of the paper's analyses",
        description="Run a study and write OUT/NAME: study.json, figures, a short text. Settings come from STUDY.yaml "
        "or the study's preset; --key=value overrides them.",
    )
    parser.add_argument("name", choices=sorted(STUDIES), metavar="NAME", help=", ".join(STUDIES))
    parser.add_argument(
        "file", nargs="?", type=with_home, metavar="STUDY.yaml", help="settings instead of the preset's"
    )
    parser.add_argument("--out", type=with_home, default=Path("runs/studies"), help="default: %(default)s")
    parser.add_argument("--plan", action="store_true", help="run nothing; print what the study's benchmark would run")
    parser.set_defaults(run=_study)


def _study(options: argparse.Namespace) -> int:
    from recbole_ext.benchmark import parse_overrides
    from recbole_ext.studies import plan_study, run_study

    overrides = parse_overrides(options.overrides)
    if options.plan:
        print("\n".join(plan_study(options.name, options.file, overrides)))
        return 0
    study = run_study(options.name, options.file, overrides, options.out, options.line)
    print(f"{study.sentence}\n{study.folder}: study.json, figures, text.md")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    if options.models is not None:
        from recbole_ext.survey import survey

        print("\n".join(f"{row.model}: {row.runs}" for row in survey(options.models or None)))
        return 0
    if options.options:
        from recbole_ext.survey.options import try_options

        wrong = [tried for tried in try_options() if not tried.outcome.startswith(("yes", "refused"))]
        print("\n".join(f"{tried.row}, {tried.column}: {tried.outcome}" for tried in wrong) or "docs/options.md")
        return 1 if wrong else 0
    from recbole_ext.doctor import examine

    findings = examine()
    print("\n".join(str(finding) for finding in findings))
    return 0 if all(finding.works for finding in findings) else 1
