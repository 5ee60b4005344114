"""Every step of a benchmark before it is taken: its inputs, an estimate of time and memory, what is missing here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from recbole_ext.benchmark.beginnings import EncoderToTune, StoreToMake
from recbole_ext.benchmark.pace import Pace, Step, pace_here
from recbole_ext.benchmark.resolved import Resolved, ResolvedRow
from recbole_ext.benchmark.run_estimate import EPOCHS_BEFORE_STOPPING, estimate_run
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.data.dataset import Dataset, Size
from recbole_ext.errors import RecboleExtError
from recbole_ext.estimate import EFFICIENCY, Estimate
from recbole_ext.models import reads_text
from recbole_ext.models.recformer_estimate import estimate_recformer
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.wording import duration


def plan(resolved: Resolved, is_done: Callable[[RunSpec], bool], all_stores: bool = False) -> list[Step]:
    """The steps of a benchmark in the order in which they are taken.

    Args:
        all_stores: whether a store is wanted, too, that no run which is left starts from.
    """
    sizes = {name: _size(dataset) for name, dataset in resolved.datasets.items()}
    steps = [
        Step("data", name, str(dataset.folder), int(not dataset.folder.exists()))
        for name, dataset in resolved.datasets.items()
    ]
    begun = begun_from(resolved, [spec for row in resolved.rows for spec in _left(row, is_done)])
    lacking = {id(one) for one in _lacking([*begun, *(resolved.stores if all_stores else ())])}
    for encoder in resolved.encoders:
        tuned = encoder.tuned
        what = f"{tuned.base}, {tuned.tuning.objective}, seed {tuned.tuning.settings.seed}"
        estimate = tuned.estimate(encoder.source.shape())
        steps.append(Step("tune", what, tuned.in_words(), int(id(encoder) in lacking), estimate))
    for store in resolved.stores:
        estimate = store.source.estimate(store.dataset)
        times = int(id(store) in lacking)
        steps.append(Step("store", store.dataset.name, store.source.in_words(), times, estimate))
    for row in resolved.rows:  # a protocol may read other files of the dataset
        dataset = resolved.datasets[row.key.dataset].with_keys(row.effective)
        steps.append(_run_step(row, sizes[row.key.dataset] or _size(dataset), _store_width(row, dataset), is_done))
    folder = resolved.benchmark.folder
    return [*steps, Step("report", "", f"{folder} -> leaderboard, figures, page", 1, Estimate(0.0, 600.0, fixed=5.0))]


def begun_from(resolved: Resolved, specs: Iterable[RunSpec]) -> list[EncoderToTune | StoreToMake]:
    """What ``specs`` start from, encoders before stores, and what has no path, for they may."""
    stores, encoders = set(), set()
    for spec in specs:
        stores.add(spec.store)
        encoders.add(str(spec.config.get("encoder")))
    return [
        *(encoder for encoder in resolved.encoders if encoder.path is None or str(encoder.path) in encoders),
        *(store for store in resolved.stores if store.path is None or store.path in stores),
    ]


def _lacking(wanted: Iterable[EncoderToTune | StoreToMake]) -> Iterator[EncoderToTune | StoreToMake]:
    """What of ``wanted`` is not there, and what of that which it is made of is not there either."""
    for one in wanted:
        if one.path is None or not one.path.exists():
            yield one
            yield from _lacking(one.made_of)


def plan_lines(resolved: Resolved, is_done: Callable[[RunSpec], bool], all_stores: bool = False) -> list[str]:
    """The steps of :func:`plan` as an aligned table, what is missing, and what the estimates stand on."""
    steps = plan(resolved, is_done, all_stores)
    pace = pace_here(resolved.benchmark, steps)
    titles = ("step", "to do", "time", "memory", "made of")
    rows = [
        (f"{step.kind} {step.what}", str(step.times) if step.times else "done", *_costs(step, pace), step.inputs)
        for step in steps
    ]
    return [
        *_aligned([titles, *rows], numeric=(1, 2, 3)),
        "",
        *(
            ["Missing or damaged here:", *(f"  - {line}" for line in resolved.missing)]
            if resolved.missing
            else ["Nothing is missing here."]
        ),
        *(["Worth knowing:", *(f"  - {line}" for line in resolved.notices)] if resolved.notices else []),
        "",
        f"Estimates for this machine ({pace.in_words}; {_speeds(pace, steps)} billion operations per second in a "
        f"matrix product, of which training reaches {EFFICIENCY:.0%}): {time_left(steps, pace)} in all. A run that "
        f"early stopping ends is counted with {EPOCHS_BEFORE_STOPPING} epochs, or with its limit where that is less.",
    ]


def what_will_be_done(
    resolved: Resolved,
    is_done: Callable[[RunSpec], bool],
    elsewhere: str = "--results=FOLDER",
    all_stores: bool = False,
) -> list[str]:
    """What `run` says before it begins: how much there is to do and how long it takes, or that all is done.

    Args:
        elsewhere: the option that gives the runs another place.
        all_stores: see :func:`plan`.
    """
    steps = plan(resolved, is_done, all_stores)
    name, folder = resolved.benchmark.name, resolved.benchmark.folder
    left = sum(step.times for step in steps if step.kind == "run")
    before = [step for step in steps if step.times and step.kind in ("tune", "store")]
    if not left and not before:
        made = [spec.record_path.stat().st_mtime for spec in resolved.specs() if is_done(spec)]
        when = datetime.fromtimestamp(max(made)).strftime("%Y-%m-%d %H:%M") if made else "nowhere"
        return [
            f"{name}: nothing to do: all of its runs are in {folder}, the last one from {when}. To run it again, "
            f"remove that folder, or give it another place: {elsewhere}."
        ]
    said = f"{left} runs to do for {len(resolved.rows)} rows" if left else "all of its runs are done"
    if before:
        steps_before = ", ".join(f"{step.kind} {step.what} ({step.inputs})" for step in before)
        said += f"; {'before them' if left else 'to make'}: {steps_before}"
    pace = pace_here(resolved.benchmark, steps)
    return [f"{name}: {said}. About {time_left(steps, pace)} on this machine ({pace.in_words}). Results: {folder}"]


def time_left(steps: Sequence[Step], pace: Pace) -> str:
    """Of all that is still to be done."""
    left = duration(sum(pace.seconds(step) or 0.0 for step in steps))
    unknown = sum(step.times for step in steps if step.estimate is None and step.kind != "data")
    return f"{left}, and {unknown} step{'s' if unknown > 1 else ''} of unknown length" if unknown else left


def _left(row: ResolvedRow, is_done: Callable[[RunSpec], bool]) -> list[RunSpec]:
    """What is left of a row: of its search, and of the other seeds of the trial that most of them have been run of."""
    searched = [spec for spec in row.searched if not is_done(spec)]
    return searched + min(([spec for spec in runs[1:] if not is_done(spec)] for runs in row.trials), key=len)


def _run_step(row: ResolvedRow, size: Size | None, store_width: int | None, is_done: Callable[[RunSpec], bool]) -> Step:
    """The whole search of a row, and the other seeds of its choice."""
    key = row.key
    estimate = None
    if size is not None:
        estimate = (
            _recformer_estimate(row, size) if reads_text(key.model) else estimate_run(key.model, row.effective, size)
        )
    if size is not None and estimate is not None and store_width is not None:
        estimate = replace(estimate, memory_mb=estimate.memory_mb + 4 * size.items * store_width / 2**20)
    what = f"{key.dataset} {key.model} {key.variant} {key.protocol}"
    on_processors = row.searched[0].config.get("use_gpu") is False
    return Step("run", what, row.variant.in_words(), len(_left(row, is_done)), estimate, on_processors)


def _store_width(row: ResolvedRow, dataset: Dataset) -> int | None:
    """Of the vectors that its runs load, before they are transformed; ``None``: there are none, or nobody knows."""
    if row.variant.source is None or row.searched[0].store is None:
        return None
    try:
        return row.variant.source.width(dataset)
    except RecboleExtError:
        return None


def _recformer_estimate(row: ResolvedRow, size: Size) -> Estimate | None:
    source = row.variant.source
    shape = source.shape() if isinstance(source, Encoder) else None
    if shape is None:
        return None
    tuned = source.tune.settings if isinstance(source, Encoder) and source.tune else None
    return estimate_recformer(shape, size, row.effective, tuned)


def _size(dataset: Any) -> Size | None:
    try:
        return dataset.size()
    except RecboleExtError:
        return None


def _costs(step: Step, pace: Pace) -> tuple[str, str]:
    if not step.times:
        return "", ""
    seconds = pace.seconds(step)
    if step.estimate is None or seconds is None:
        return "unknown", "unknown"
    return duration(seconds), f"{step.estimate.memory_mb / 1024:.1f} GB"


def _speeds(pace: Pace, steps: Sequence[Step]) -> str:
    """Of one run, in billions: on each kind of device that runs go on."""
    on = {step.on_processors for step in steps if step.kind == "run" and step.times}
    speeds = {pace.run_on_processors if processors else pace.run_on_gpus for processors in on} or {pace.command}
    return " and ".join(f"{speed / 1e9:,.0f}" for speed in sorted(speeds, reverse=True))


def _aligned(rows: Sequence[Sequence[str]], numeric: tuple[int, ...]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
