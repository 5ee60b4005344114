"""A benchmark's YAML, what it includes, and what the command line sets above it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_ext.benchmark.settings import Benchmark, checked_benchmark
from recbole_ext.errors import ConfigurationError
from recbole_ext.yaml_files import read_yaml

Settings = dict[str, Any]

PRESETS = Path(__file__).parent / "presets"
EMBEDDED = PRESETS / "embedded.yaml"
_MERGED = ("models", "initialisations", "grids", "protocols", "config")
"""Keys whose entries a file adds to those that it includes; all others it replaces."""
_PARTS = ("models", "initialisations", "protocols")


def read_benchmark(
    benchmark: Path | str | Mapping[str, Any] | None, overrides: Settings | None = None
) -> tuple[str, Benchmark, Settings]:
    """The benchmark that is meant: by a YAML's path, a preset's name, or all that a YAML could say as a mapping, which
    includes files of the working folder; ``None``: the embedded one.

    Returns:
        What to call it in errors, and what :func:`load_benchmark` returns.

    Raises:
        ConfigurationError: see there.
    """
    if isinstance(benchmark, Mapping):
        where = "benchmark"
        return where, *benchmark_of(with_included(benchmark, Path(where)), overrides or {}, where)
    path = find_benchmark(Path(benchmark)) if benchmark else EMBEDDED
    return path.name, *load_benchmark(path, overrides)


def load_benchmark(path: Path, overrides: Settings | None = None) -> tuple[Benchmark, Settings]:
    """Read a benchmark YAML, or a preset of this package by its name, under ``overrides`` (``--key=value`` pairs).

    An override of a key of the benchmark (``seeds``, ``results``, …) replaces it, but a name or a list of names for
    ``models``, ``initialisations`` or ``protocols`` keeps those of the file (``--models=[SASRec]``).

    Returns:
        The benchmark, and the overrides that are RecBole's or the hook's: the highest layer of every run.

    Raises:
        ConfigurationError: a file is missing, not YAML, or says something that is not known; names the key.
    """
    path = find_benchmark(path)
    return benchmark_of(_read(path, ()), overrides or {}, str(path))


def benchmark_of(content: Mapping[str, Any], overrides: Settings, where: str) -> tuple[Benchmark, Settings]:
    """The benchmark that a mapping describes, under ``overrides``; see :func:`load_benchmark`."""
    own = {key: value for key, value in overrides.items() if key in Benchmark.model_fields}
    recboles = {key: value for key, value in overrides.items() if key not in own}
    parts = {key: _names(own.pop(key)) for key in _PARTS if isinstance(own.get(key), list | str)}
    benchmark = checked_benchmark({**content, **own}, where)
    return (_part_of(benchmark, parts, where) if parts or own else benchmark), recboles


def find_benchmark(path: Path) -> Path:
    """The file of this path, or the preset of this name.

    Raises:
        ConfigurationError: there is neither.
    """
    path = path.expanduser()
    if path.is_file():
        return path
    if path.name == str(path) and (PRESETS / path.name).is_file():
        return PRESETS / path.name
    presets = ", ".join(sorted(preset.name for preset in PRESETS.glob("*.yaml")))
    raise ConfigurationError(
        f"{path}: no such benchmark file. Give the path of a YAML, one of {presets}, which come with the package, or "
        "none for the embedded benchmark."
    )


def with_included(content: Mapping[str, Any], path: Path, seen: tuple[Path, ...] = ()) -> Settings:
    """A benchmark's mapping above the files that its ``include`` names.

    Args:
        path: of the file that holds the mapping; files that it includes are looked for beside it.
        seen: the files that include it.

    Raises:
        ConfigurationError: a file is missing, not YAML, or includes itself.
    """
    own = dict(content)
    included = own.pop("include", [])
    included = [included] if isinstance(included, str) else included
    if not (isinstance(included, list) and all(isinstance(name, str) for name in included)):
        raise ConfigurationError(f"{path}: include: a list of benchmark files; got {included!r}.")
    merged: Settings = {}
    for name in included:
        beside = path.parent / name
        other = beside if beside.is_file() else find_benchmark(Path(name))
        merged = _above(_read(other, seen), merged)
    return _above(own, merged)


def _read(path: Path, seen: tuple[Path, ...]) -> Settings:
    if path.resolve() in seen:
        raise ConfigurationError(f"{path}: include: the files include each other.")
    return with_included(read_yaml(path, "a benchmark"), path, (*seen, path.resolve()))


def _above(upper: Settings, lower: Settings) -> Settings:
    merged = {**lower, **upper}
    for key in _MERGED:
        both = [part.get(key) for part in (lower, upper)]
        if all(isinstance(part, dict) for part in both):
            merged[key] = {**both[0], **both[1]}  # type: ignore[dict-item]
    return merged


def _names(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _part_of(benchmark: Benchmark, parts: Mapping[str, list[str]], where: str) -> Benchmark:
    """The benchmark with nothing but the models, initialisations and protocols that ``parts`` names.

    Initialisations that are left out stay where others are made of them; no model is run with them.
    """
    content = benchmark.model_dump(exclude_unset=True)
    for key, names in parts.items():
        if len(set(names)) < len(names):
            raise ConfigurationError(f"--{key}: {names} names something twice.")
        there_is = getattr(benchmark, key)
        unknown = [str(name) for name in names if name not in there_is]
        if unknown and key != "models":  # RecBole knows more models than the file
            raise ConfigurationError(f"--{key}: {where} has no {unknown[0]!r}, but {', '.join(there_is)}.")
        for name in unknown:
            if paths := [own for own in there_is if own.endswith(f".{name}")]:
                raise ConfigurationError(f"--{key}: {where} has {name} by its path; write {paths[0]}.")
        if key != "initialisations":
            content[key] = {name: there_is.get(name, {}) for name in names}
    models = content["models"]
    grids = {model: dict(grid) for model, grid in content.get("grids", {}).items() if model in models}
    for key in ("datasets", "protocols", "seeds"):
        for grid in grids.values():
            if grid.get(key) is not None:
                grid[key] = [name for name in grid[key] if name in content.get(key, getattr(benchmark, key))]
    if "initialisations" in parts:
        for model in list(models):
            grid = grids.setdefault(model, {})
            kept = grid.get("initialisations")
            grid["initialisations"] = [name for name in parts["initialisations"] if kept is None or name in kept]
    for model, grid in list(grids.items()):
        if any(grid.get(key) == [] for key in ("datasets", "initialisations", "protocols", "seeds")):
            del models[model], grids[model]
    if not models:
        raise ConfigurationError(f"{where}: nothing is left of the benchmark: no model is run with what was chosen.")
    left_out = benchmark.models.keys() - models.keys()
    if "published" in content:
        content["published"] = [row for row in content["published"] if row["model"] not in left_out]
    return checked_benchmark({**content, "grids": grids}, where)
