"""Every step of a benchmark before it is taken: its inputs, an estimate of time and memory, what is missing here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from recbole_ext.data.files import download_url, interaction_file
from recbole_ext.data.keys import Settings, model_defaults, read_yaml, recbole_folder
from recbole_ext.encode.source import config_here
from recbole_ext.models import reads_text
from recbole_ext.run.benchmark import Benchmark, Initialisation
from recbole_ext.run.estimates import (
    EFFICIENCY,
    SHAPES,
    TOKENS_OF_A_TEXT,
    DatasetSize,
    Estimate,
    estimate_encoding,
    estimate_recformer,
    estimate_run,
    estimate_tuning,
    measured_speed,
)
from recbole_ext.run.recording import is_done
from recbole_ext.run.spec import RunSpec, dataset_settings, encoder_path, expand, store_path


@dataclass(frozen=True)
class Step:
    """``times``: how often it is still to be taken; ``estimate`` of one time, ``None`` where nothing is known.

    ``missing``: what is not here and how to get it.
    """

    what: str
    inputs: str
    times: int
    estimate: Estimate | None = None
    missing: list[str] = field(default_factory=list)


def plan(benchmark: Benchmark, command: str) -> list[Step]:
    """The steps of ``benchmark`` in the order in which they are taken."""
    steps: list[Step] = []
    sizes = {}
    for dataset in benchmark.datasets:
        settings = dataset_settings(benchmark, dataset)
        sizes[dataset] = _size(benchmark, dataset, settings)
        steps.append(_data_step(benchmark, dataset, settings))
        steps += _store_steps(benchmark, dataset, sizes[dataset])
    steps += _run_steps(benchmark, list(expand(benchmark, command)), sizes)
    results = benchmark.results / benchmark.name
    return [*steps, Step("report", f"{results / 'runs'} -> leaderboard, figures, page", 1, Estimate(0.0, 600.0))]


def plan_lines(steps: Sequence[Step]) -> list[str]:
    """The steps as an aligned table, what is missing, and what the estimates stand on."""
    from recbole_ext.report.cells import plain_sheet

    device, speed = measured_speed()
    rows = [
        (
            step.what,
            step.inputs,
            str(step.times) if step.times else "done",
            *_costs(step, speed),
            "missing" if step.missing else "",
        )
        for step in steps
    ]
    titles = {"step": False, "inputs": False, "to do": True, "time": True, "memory": True, "here": False}
    missing = list(dict.fromkeys(line for step in steps for line in step.missing))
    total = sum(step.estimate.seconds(speed) * step.times for step in steps if step.estimate)
    return [
        *plain_sheet(titles, rows).lines(),
        "",
        *(["Missing here:", *(f"  - {line}" for line in missing)] if missing else ["Nothing is missing here."]),
        "",
        f"Estimates for this machine ({device}, {speed / 1e9:,.0f} billion operations per second in a matrix product, "
        f"of which training reaches {EFFICIENCY:.0%}), one step after the other: {_duration(total)} in all. Runs are "
        f"counted with all their epochs, which early stopping cuts short; texts with {TOKENS_OF_A_TEXT} tokens. Where "
        "a dataset is not here and its config states no number of interactions, the least that its filter allows.",
    ]


def _data_step(benchmark: Benchmark, dataset: str, settings: Settings) -> Step:
    path = interaction_file(dataset, benchmark.data_path)
    if path.is_file():
        return Step(f"data {dataset}", str(path), 0)
    url = download_url(dataset, settings.get("recbole_name"))
    way = f"`run` downloads it from {url}" if url else str(settings.get("source") or "convert its source files").strip()
    return Step(f"data {dataset}", Path(url).name if url else "source files", 1, None, [f"{path}: {way}"])


def _store_steps(benchmark: Benchmark, dataset: str, size: DatasetSize | None) -> Iterator[Step]:
    for name, init in benchmark.initialisations_in_use.items():
        if init.is_random:
            continue
        if init.tune:
            tuned = Path(encoder_path(benchmark, dataset, name))
            done = (tuned / "tuning.json").is_file()
            sources = init.tune.sources_of(dataset)
            estimate = _tuning_estimate(benchmark, init, sources)
            yield Step(f"tune {tuned.name}", f"{', '.join(sources)}, {init.encoder}", int(not done), estimate)
        store = store_path(benchmark, dataset, name)
        made_by = f": {init.made_by.format(dataset=dataset)}" if init.made_by else ""
        if store.exists():
            yield Step(f"store {dataset} {name}", str(store), 0)
        elif init.finetune:
            yield Step(f"store {dataset} {name}", f"run {dataset} RECFORMER {init.finetune}", 1, Estimate(0.0, 0.0))
        elif init.store:
            yield Step(f"store {dataset} {name}", str(store), 1, None, [f"{store}{made_by or ': no such store'}"])
        else:
            config = _encoder_config(init)
            estimate = estimate_encoding(config, size.items, init.max_tokens) if config and size else None
            missing = (
                []
                if config_here(str(init.encoder))
                else [f"encoder {init.encoder}{made_by or ': needs the network, or a local path'}"]
            )
            yield Step(f"store {dataset} {name}", f"item texts, {init.encoder}", 1, estimate, missing)


def _run_steps(benchmark: Benchmark, specs: list[RunSpec], sizes: dict[str, DatasetSize | None]) -> Iterator[Step]:
    """One step per dataset, model, initialisation and protocol: the whole search, and the other seeds of its choice."""
    overall = read_yaml(recbole_folder() / "properties" / "overall.yaml", "RecBole's defaults")
    for _, group in groupby(specs, key=lambda s: (s.dataset, s.model, s.init, s.protocol)):
        runs = list(group)
        first = runs[0]
        needed = len(benchmark.candidates(first.model, first.init)) + len(benchmark.seeds_of(first.model)) - 1
        done = sum(is_done(spec) for spec in runs)
        config = {**overall, **model_defaults(first.model), **first.config}
        size = sizes[first.dataset]
        source = "encoder" if reads_text(first.model) else "store"
        random = benchmark.initialisations[first.init].is_random
        inputs = first.dataset + ("" if random else f", {source} {first.init}")
        yield Step(
            f"run {first.dataset} {first.model} {first.init} {first.protocol}",
            inputs,
            max(needed - done, 0),
            _run_estimate(benchmark.initialisations[first.init], first.model, config, size),
        )


def _tuning_estimate(benchmark: Benchmark, init: Initialisation, sources: list[str]) -> Estimate | None:
    config = _encoder_config(init)
    sizes = [_size(benchmark, source, dataset_settings(benchmark, source)) for source in sources]
    known = [size for size in sizes if size]
    if config is None or init.tune is None or len(known) < len(sizes):
        return None
    return estimate_tuning(config, known, init.tune)


def _run_estimate(init: Initialisation, model: str, config: Settings, size: DatasetSize | None) -> Estimate | None:
    if size is None:
        return None
    if not reads_text(model):
        return estimate_run(config, size)
    encoder = _encoder_config(init)
    return estimate_recformer(encoder, size, config, init.tune) if encoder else None


def _size(benchmark: Benchmark, dataset: str, settings: Settings) -> DatasetSize | None:
    """From the dataset config, or counted in the file; ``None`` where neither says it."""
    expected = settings.get("expected") or {}
    path = interaction_file(dataset, benchmark.data_path)
    if not {"users", "items"} <= set(expected) and path.is_file():
        return _counted(path)
    if not {"users", "items"} <= set(expected):
        return None
    users, items = int(expected["users"]), int(expected["items"])
    if "interactions" in expected:
        return DatasetSize(users, items, int(expected["interactions"]))
    if path.is_file():
        return DatasetSize(users, items, _counted(path).interactions)
    fewest = str(settings.get("user_inter_num_interval") or "[3,").strip("[(").partition(",")[0]
    return DatasetSize(users, items, users * int(fewest), at_least=True)


def _counted(path: Path) -> DatasetSize:
    users, items, interactions = set(), set(), 0
    with path.open(encoding="utf-8") as file:
        header = [column.partition(":")[0] for column in next(file).rstrip("\n").split("\t")]
        user, item = header.index("user_id"), header.index("item_id")
        for line in file:
            fields = line.rstrip("\n").split("\t")
            users.add(fields[user])
            items.add(fields[item])
            interactions += 1
    return DatasetSize(len(users), len(items), interactions)


def _encoder_config(init: Initialisation) -> dict[str, Any] | None:
    """The encoder's ``config.json``, where it is on this machine or known anyway, less what ``init`` leaves out."""
    path = config_here(str(init.encoder))
    # What is tuned has the shape of what it was tuned from.
    known = (shape for name, shape in SHAPES.items() if name in f"{init.encoder} {init.made_by}")
    config = json.loads(path.read_text(encoding="utf-8")) if path else next(known, None)
    layers = init.layers or (init.tune.layers if init.tune else None)
    if config and (layers or init.drop):
        kept = (layers or int(config["num_hidden_layers"])) - sum(isinstance(part, int) for part in init.drop)
        return {**config, "num_hidden_layers": kept}
    return config


def _costs(step: Step, speed: float) -> tuple[str, str]:
    if not step.times:
        return "", ""
    if step.estimate is None:
        return "unknown", "unknown"
    return _duration(step.estimate.seconds(speed) * step.times), f"{step.estimate.memory_mb / 1024:.1f} GB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"
