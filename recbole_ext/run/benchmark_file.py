"""A benchmark's YAML and what the command line sets above it, read into a :class:`Benchmark`."""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml
from pydantic import ValidationError

from recbole_ext.data.keys import HOOK_KEYS, Settings, check_key, known_keys, read_yaml, yaml_loader
from recbole_ext.errors import ConfigurationError
from recbole_ext.run.benchmark import Benchmark, Initialisation

PRESETS = Path(__file__).parent / "presets"
EMBEDDED = PRESETS / "embedded.yaml"


def load_benchmark(path: Path, overrides: Settings | None = None) -> Benchmark:
    """Read a benchmark YAML, or a preset of this package by its name; ``overrides`` are ``--key=value`` pairs.

    An override of a key of the benchmark (``seeds``, ``results``, …) replaces it, but a list of names for ``models``,
    ``initialisations`` or ``protocols`` keeps those of the file (``--models=[SASRec]``); any other is a RecBole key
    and goes above all that the file says.

    Raises:
        ConfigurationError: the file is missing, not YAML, or says something that is not known; names the key.
    """
    if not path.is_file() and (PRESETS / path.name).is_file() and path.name == str(path):
        path = PRESETS / path.name
    if not path.is_file():
        presets = ", ".join(sorted(preset.name for preset in PRESETS.glob("*.yaml")))
        raise ConfigurationError(
            f"{path}: no such benchmark file. Give the path of a YAML, one of {presets}, which come with the "
            "package, or none for the embedded benchmark."
        )
    content = read_yaml(path, "a benchmark")
    own = {key: value for key, value in (overrides or {}).items() if key in Benchmark.model_fields}
    parts = _chosen_parts(content, own, path)
    replaced = {key: value for key, value in own.items() if key not in parts}
    benchmark = checked_benchmark({**content, **replaced}, str(path))
    if parts:
        benchmark = _part_of(benchmark, parts, str(path))
    recbole_keys = {key: value for key, value in (overrides or {}).items() if key not in own}
    return _with_overrides(benchmark, recbole_keys, path)


def checked_benchmark(content: Settings, where: str) -> Benchmark:
    """The benchmark that a mapping describes.

    Raises:
        ConfigurationError: it says something that is not known; names ``where`` and the key.
    """
    benchmark = _validated(content, where)
    known = known_keys(tuple(benchmark.models))
    for layer, settings in _recbole_layers(benchmark).items():
        for key, value in (pair for keys in settings for pair in keys.items()):
            check_key(f"{where}: {layer}", key, value, known)
    return benchmark


def _validated(content: Settings, where: str) -> Benchmark:
    try:
        return Benchmark(**content)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {_in_words(error)}") from error


def _recbole_layers(benchmark: Benchmark) -> dict[str, list[Settings]]:
    """Where a benchmark sets keys of RecBole or the hook."""
    return {
        "config": [benchmark.config],
        **{f"models.{name}": [keys] for name, keys in benchmark.models.items()},
        **{f"protocols.{name}": [keys] for name, keys in benchmark.protocols.items()},
        "search": [
            *benchmark.search,
            *(point for i in benchmark.initialisations.values() for point in i.search),
        ],
    }


def _chosen_parts(content: Settings, own: Settings, path: Path) -> dict[str, list[str]]:
    """What the overrides that are lists of names keep of the file's models, initialisations and protocols."""
    parts = {}
    for key in ("models", "initialisations", "protocols"):
        names, entries = own.get(key), content.get(key)
        if not (isinstance(names, list) and isinstance(entries, dict)):
            continue
        unknown = [str(name) for name in names if name not in entries]
        if not unknown:
            parts[key] = names
        elif key != "models":  # RecBole knows more models than the file
            raise ConfigurationError(f"--{key}: {path} has no {unknown[0]!r}, but {', '.join(map(str, entries))}.")
    return parts


def _part_of(benchmark: Benchmark, parts: dict[str, list[str]], where: str) -> Benchmark:
    """The benchmark without what ``parts`` leaves out, and without models of which nothing is left.

    RecBole keys were checked in the whole: a search may name those of a model that is left out.
    """
    content = benchmark.model_dump()
    for key, names in parts.items():
        content[key] = {name: content[key][name] for name in names}
    for model, only in benchmark.only.items():
        left = [
            name for name in only.initialisations or content["initialisations"] if name in content["initialisations"]
        ]
        if not left:
            content["models"].pop(model, None)
        if model not in content["models"]:
            del content["only"][model]
        elif only.initialisations:
            content["only"][model]["initialisations"] = left
    return _validated(content, where)


def _with_overrides(benchmark: Benchmark, overrides: Settings, path: Path) -> Benchmark:
    known = known_keys(tuple(benchmark.models))
    for key, value in overrides.items():
        check_key(f"{path}: --override", key, value, known)
    for keys in (part for parts in _recbole_layers(benchmark).values() for part in parts):
        for key in overrides.keys() & keys.keys():
            keys[key] = {**keys[key], **overrides[key]} if key == "eval_args" else overrides[key]
    for key, value in overrides.items():
        if key not in HOOK_KEYS:
            benchmark.config[key] = value
            continue
        for init in benchmark.initialisations.values():
            setattr(init, key.removeprefix("item_embedding_"), value)
    return benchmark


def parse_overrides(arguments: list[str]) -> Settings:
    """``--key=value`` arguments as RecBole writes them; values are read as YAML.

    ``--config_files="a.yaml b.yaml"`` names files of keys, as in RecBole; later files go above earlier ones, and the
    command line above all of them.

    Raises:
        ConfigurationError: an argument of another form, or a file that can't be read.
    """
    overrides: Settings = {}
    files: Settings = {}
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not (argument.startswith("--") and equals and key):
            raise ConfigurationError(f"{argument}: overrides are written --key=value, for example --epochs=20.")
        if key == "config_files":
            for name in value.split():
                if not Path(name).is_file():
                    raise ConfigurationError(f"config_files: {name}: no such file.")
                files |= read_yaml(Path(name), "a config file")
            continue
        try:
            overrides[key] = yaml.load(value, Loader=yaml_loader())
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{argument}: the value can't be read: {error}") from error
    return {**files, **overrides}


def _in_words(error: ValidationError) -> str:
    details = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = list(Benchmark.model_fields if len(problem["loc"]) == 1 else Initialisation.model_fields)
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            message = "unknown key." + (f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}.")
        details.append(f"{where}: {message}")
    return "; ".join(details)
