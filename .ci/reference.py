"""Write the reference pages that the code knows better than any hand: ``docs/reference/*.md``.

``python .ci/reference.py`` writes them; a test sees that they are what the code says.
"""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import recbole_ext
from recbole_ext.benchmark.keys import HOOK_KEYS, MEANINGS, TRAINING_KEYS
from recbole_ext.benchmark.search import Interval, Search
from recbole_ext.benchmark.settings import Benchmark, ModelGrid
from recbole_ext.benchmark.variant import ATTACHING
from recbole_ext.cli import build_parser
from recbole_ext.encoding.settings import Compute
from recbole_ext.records import Grid, Published, Row, RunRecord, record
from recbole_ext.studies import STUDIES
from recbole_ext.studies.settings import PRESETS
from recbole_ext.tuning.objectives import OBJECTIVES
from recbole_ext.tuning.settings import TuneSettings
from recbole_ext.tuning.tuning import Tuning
from recbole_ext.vectors import SOURCES

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"


def pages() -> dict[str, str]:
    """File name to text of the generated pages."""
    written = {"commands.md": _commands(), "keys.md": _keys(), "records.md": _records(), "api.md": _api()}
    return {name: "\n".join(lines).rstrip() + "\n" for name, lines in written.items()}


# --- Python ---

API = {
    "Verbs": [
        f"recbole_ext.api.{name}"
        for name in ("encode", "tune", "run", "plan", "score", "score_plan", "study", "load_results")
    ],
    "Data in": ["recbole_ext.convert.stage.convert"],
    "Lists out and in": [
        "recbole_ext.lists.recommend.recommend",
        "recbole_ext.lists.evaluate.evaluate",
        "recbole_ext.lists.export.export_split",
    ],
    "What they give back": [
        "recbole_ext.api.Outcome",
        "recbole_ext.report.LeaderboardReport",
        "recbole_ext.vectors.source.Made",
        "recbole_ext.tuning.stage.TuneReport",
        "recbole_ext.scoring.score.Scored",
        "recbole_ext.records.card.Card",
        "recbole_ext.report.studies.Study",
        "recbole_ext.lists.recommend.Recommendations",
        "recbole_ext.lists.evaluate.Evaluation",
        "recbole_ext.lists.export.ExportedSplit",
        "recbole_ext.convert.report.ConversionReport",
    ],
    "Nouns": [
        "recbole_ext.data.dataset.Dataset",
        "recbole_ext.store.item_embedding_store.ItemEmbeddingStore",
        "recbole_ext.store.preload_weight.export_preload_weight",
        "recbole_ext.records.record.RunRecord",
    ],
    "In a RecBole script": [
        "recbole_ext.compat.make_recbole_work",
        "recbole_ext.attach.hook.attach_item_embedding",
        "recbole_ext.attach.hook.item_vectors",
    ],
    "To extend": [
        "recbole_ext.vectors.source.VectorSource",
        "recbole_ext.vectors.source.Vectors",
        "recbole_ext.tuning.objectives.base.Objective",
    ],
}
"""What the page on Python shows, by section."""


def _api() -> Iterator[str]:
    yield from (
        "# Python API",
        "",
        "What `recbole_ext` exports, and what these functions give back. `help(recbole_ext.run)` says the same as this "
        "page; in a notebook, the tabulator key after `recbole_ext.` lists what there is. The tables are all that is "
        "shown of this file in the repository; [the documentation as a site](../contributing.md) has every argument.",
        "",
    )
    for section, paths in API.items():
        yield from (f"## {section}", "")
        yield from _table(("name", "is"), [(f"`{_imported(path)}`", _summary(path)) for path in paths])
        for path in paths:
            yield from (f"::: {path}", "")
    yield from ("## Errors", "", "::: recbole_ext.errors", "")


def _imported(path: str) -> str:
    """How a user writes it: at the top of the package where it is exported there."""
    module, _, name = path.rpartition(".")
    return f"recbole_ext.{name}" if name in recbole_ext.__all__ else f"{module}.{name}"


def _summary(path: str) -> str:
    module, _, name = path.rpartition(".")
    text = inspect.getdoc(getattr(import_module(module), name)) or ""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", _cell(text.split("\n\n")[0])).replace("``", "`")


# --- commands ---


def _commands() -> Iterator[str]:
    yield from (
        "# Commands",
        "",
        "Made from the program's own parser; `recbole-ext COMMAND --help` says the same. `recbole-ext --verbose "
        "COMMAND` logs details, `recbole-ext --version` says which version this is. A command ends with 0 when it is "
        "done, 1 when some of it failed, 2 after a mistake in the input, 130 when it was stopped. Tables go to "
        "standard output, log lines to standard error.",
        "",
    )
    for name, parser in _parsers(build_parser()):
        yield from (f"## {name}", "", _cell(parser.description or ""), "")
        usage = (parser.usage or _usage(parser)).replace("%(prog)s", parser.prog)
        yield from ("```text", " ".join(usage.split()), "```", "")
        tables: dict[str, list[tuple[str, ...]]] = {}
        for group in parser._action_groups:
            title = "" if group.title in ("positional arguments", "options") else str(group.title)
            for action in group._group_actions:
                hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
                if not hidden and action.help != argparse.SUPPRESS:
                    tables.setdefault(title, []).append((_invocation(parser, action), _help(parser, action)))
        for title, rows in tables.items():
            yield from (f"{title[0].upper()}{title[1:]}:", "") if title else ()
            yield from _table(("option", "is"), rows)
        if parser.epilog:
            yield from (_cell(parser.epilog), "")


def _parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands and the commands below them, in order; not the program itself."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command.prog, command
                yield from _parsers(command)


def _usage(parser: argparse.ArgumentParser) -> str:
    """The command with what it must be told; the rest is in the table."""
    asked = [a for a in parser._actions if (a.required or not a.option_strings) and a.help != argparse.SUPPRESS]
    words = [_invocation(parser, a).strip("`") for a in asked if not isinstance(a, argparse._SubParsersAction)]
    return " ".join([parser.prog, *words, "[options]"])


def _invocation(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    if not action.option_strings:
        shown = formatter._format_args(action, formatter._get_default_metavar_for_positional(action))
        return f"`{shown}`"
    flags = [flag for flag in action.option_strings if "_" not in flag]
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return f"`{', '.join(flags)}`"
    return f"`{flags[0]} {formatter._format_args(action, formatter._get_default_metavar_for_optional(action))}`"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return _cell(parser._get_formatter()._expand_help(action) if action.help else "")


# --- keys ---


def _keys() -> Iterator[str]:
    yield from ("# Keys", "", "Made from the classes that check them. How they belong together:")
    yield from ("[benchmark files](../benchmarks.md).", "")
    yield from _fields("A benchmark file", Benchmark)
    yield from _fields("An entry of `grids`", ModelGrid, 3)
    yield from _fields("`search`", Search, 3)
    yield from _fields("An interval of its `space`", Interval, 3)
    yield from _fields("An entry of `published`", Published, 3)

    yield from ("## An entry of `initialisations`", "")
    yield from ("The keys of one [source](#sources-of-vectors), and beside them", "")
    attaching = [(f"`{key}`", MEANINGS[f"item_embedding_{key}"]) for key in ATTACHING]
    own = [("`config`", "RecBole keys of this row."), ("`baseline`", "The entry that it is compared with.")]
    yield from _table(("key", "is"), [*attaching, *own])

    yield from ("## Keys of the hook", "", "For a RecBole script; in a benchmark, initialisations set them.", "")
    yield from _table(("key", "type", "is"), [(f"`{k}`", _words(HOOK_KEYS[k]), MEANINGS[k]) for k in HOOK_KEYS])
    yield from ("## Keys of training and evaluation", "", "Beside RecBole's, in `config`, `models` or a search.", "")
    yield from _table(("key", "type", "is"), [(f"`{k}`", _words(TRAINING_KEYS[k]), MEANINGS[k]) for k in TRAINING_KEYS])

    yield from ("## Sources of vectors", "", "Options of `encode` too, with `-` for `_`.", "")
    for kind, source in SOURCES.items():
        yield from _fields(f"`{kind}`", source, 3)
    yield from _fields("How it is computed (`encode` alone)", Compute, 3)

    yield from ("## Tuning", "", "`tune` of an encoder, and options of the command `tune`.", "")
    yield from _fields("What is tuned", Tuning, 3, leave_out={"settings"})
    yield from _fields("Settings of every objective", TuneSettings, 3)
    for name, entry in OBJECTIVES.items():
        yield from _fields(f"`objective: {name}`", entry.settings, 3, leave_out=set(TuneSettings.model_fields))

    yield from ("## Studies", "", f"Each has a preset in `recbole_ext/studies/{PRESETS.name}/`.", "")
    seen: dict[type, str] = {}
    for name, module in STUDIES.items():
        settings = import_module(module).Settings
        if settings in seen:
            yield from (f"### `{name}`", "", f"The same keys as `{seen[settings]}`.", "")
            continue
        seen[settings] = name
        yield from _fields(f"`{name}`", settings, 3)


# --- records ---


def _records() -> Iterator[str]:
    yield from ("# Grid and run records", "", "Made from the classes that check them; see [files](files.md).", "")
    for title, model in (("Grid", Grid), ("Row", Row), ("RunRecord", RunRecord), ("Made", record.Made)):
        yield from _fields(title, model)
    of_runs = ("Epoch", "Seconds", "Parameters", "Coverage", "Statistics", "Popularity", "TemporalSplit", "Checkpoint")
    for name in (*of_runs, "Fingerprints", "Lists"):
        yield from _fields(name, getattr(record, name))


# --- tables ---


def _fields(title: str, model: type[BaseModel], level: int = 2, leave_out: Collection[str] = ()) -> Iterator[str]:
    yield from (f"{'#' * level} {title}", "")
    if model.__doc__ and model.__doc__.split(".")[0]:
        yield from (_cell(_plain(model.__doc__.split("\n\n")[0])), "")
    rows = [
        (f"`{name}`", _type(field.annotation), _default(field), _cell(_plain(field.description or "")))
        for name, field in model.model_fields.items()
        if name not in leave_out
    ]
    if rows:
        yield from _table(("key", "type", "default", "is"), rows)
    else:
        yield from ("No keys of its own.", "")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    if value is None or value == "" or (isinstance(value, list | tuple | dict) and not value):
        return ""
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _type(annotation: Any) -> str:
    """An annotation in the words of YAML."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return ""
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(words for argument in arguments if (words := _type(argument))))
    if origin in (list, tuple):
        of = next((words for argument in arguments if argument is not ... and (words := _type(argument))), "")
        return f"list of {of}" if of and of != "anything" else "list"
    if origin in (dict, Mapping) or annotation is dict:
        return "mapping"
    words = {int: "int", float: "float", bool: "bool", str: "text", Path: "path", Any: "anything"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _words(kinds: tuple[str, ...]) -> str:
    return " or ".join({"str": "text", "None": "nothing"}.get(kind, kind) for kind in kinds)


def _plain(text: str) -> str:
    """A docstring's reStructuredText as Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", lambda match: f"`{match.group(1).rpartition('.')[2]}`", text)
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, content in pages().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
