"""``recbole-ext bench scale``: how cost grows with users, history length, catalogue and width, on made-up data."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.bench.measuring import apart, peak_memory, timed
from recbole_ext.data.dataset import Dataset

if TYPE_CHECKING:
    from recbole_ext.benchmark import RunSpec

log = logging.getLogger(__name__)

MEASURES = ("seconds_to_prepare", "seconds_per_epoch", "seconds_per_evaluation", "peak_memory_mb")


@dataclass(frozen=True)
class Size:
    """One made-up dataset and model: ``users`` with ``length`` interactions each over ``items``."""

    users: int = 2_000
    length: int = 12
    items: int = 10_000
    width: int = 64


AXES: dict[str, tuple[int, ...]] = {
    "users": (1_000, 4_000, 16_000, 64_000),
    "length": (6, 12, 24, 48, 96),
    "items": (10_000, 100_000, 1_000_000),
    "width": (32, 64, 128, 256),
}


def run_scale(model: str, axes: dict[str, tuple[int, ...]] = AXES) -> dict[str, Any]:
    """Measure ``model`` along every axis, all else as in :class:`Size`; returns the result.

    Every point is one epoch and one evaluation in a process of its own. The exponent of an axis is the slope of the
    least-squares line through the logarithms of size and cost.
    """
    measured: dict[str, Any] = {}
    for axis, values in axes.items():
        points = []
        for value in values:
            size = replace(Size(), **{axis: value})
            points.append({**asdict(size), **measure_point(model, size)})
            log.info("%s = %s: %s", axis, value, {name: round(points[-1][name], 2) for name in MEASURES})
        exponents = {
            name: exponent([point[axis] for point in points], [point[name] for point in points]) for name in MEASURES
        }
        measured[axis] = {"points": points, "exponents": exponents}
    return {"model": model, "axes": measured}


def measure_point(model: str, size: Size) -> dict[str, float]:
    """Cost of preparing, one epoch and one evaluation at ``size``, with this package's default path."""
    from recbole_ext.benchmark.keys import keys_of
    from recbole_ext.runs.trial import lone_run

    widths = {"hidden_size": size.width, "embedding_size": size.width, "inner_size": 4 * size.width}
    widths = {key: width for key, width in widths.items() if key in keys_of(model).types}
    with tempfile.TemporaryDirectory() as folder:
        dataset = made_up(Path(folder), size)
        return apart(measure, lone_run(model, dataset, widths, Path(folder)))


def measure(spec: RunSpec) -> dict[str, float]:
    """Of a run in this process, which should be a fresh one."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.runs.single import build_config
    from recbole_ext.training.prepare import prepare

    config = build_config(spec)
    seconds, run = timed(lambda: prepare(config, spec.artifacts / "best.pth"))
    run.trainer.eval_collector.data_collect(run.loaders.train)
    run.trainer._train_epoch(run.samples.loader, 0)
    run.trainer._valid_epoch(run.loaders.valid)
    epoch = run.trainer.curve[0]
    return {
        "seconds_to_prepare": seconds,
        "seconds_per_epoch": epoch["train_seconds"],
        "seconds_per_evaluation": epoch["valid_seconds"],
        **peak_memory(config["device"]),
    }


def made_up(folder: Path, size: Size) -> Dataset:
    """A dataset of ``size`` below ``folder``; every item occurs, items are drawn uniformly."""
    import numpy as np
    import pandas as pd

    n = size.users * size.length
    items = np.random.default_rng(0).integers(0, size.items, n)
    items[: min(n, size.items)] = np.arange(min(n, size.items))
    table = pd.DataFrame(
        {
            "user_id:token": np.repeat(np.arange(size.users), size.length),
            "item_id:token": np.random.default_rng(1).permutation(items),
            "timestamp:float": np.tile(np.arange(size.length), size.users),
        }
    )
    (folder / "made-up").mkdir()
    table.to_csv(folder / "made-up" / "made-up.inter", sep="\t", index=False)
    return Dataset("made-up", folder)


def exponent(sizes: list[int], costs: list[float]) -> float:
    """``b`` of the least-squares fit ``cost = a * size ** b``."""
    import numpy as np
    from scipy.stats import linregress

    return float(linregress(np.log(sizes), np.log(costs)).slope)


def scale_table(result: dict[str, Any]) -> list[str]:
    """The points and exponents as a Markdown table."""
    lines = [f"| axis | size | {' | '.join(name.replace('_', ' ') for name in MEASURES)} |"]
    lines.append("| --- | ---: |" + " ---: |" * len(MEASURES))
    for axis, measured in result["axes"].items():
        for point in measured["points"]:
            lines.append(
                f"| {axis} | {point[axis]:,} | " + " | ".join(f"{point[name]:.4g}" for name in MEASURES) + " |"
            )
        exponents = " | ".join(f"**{measured['exponents'][name]:.2f}**" for name in MEASURES)
        lines.append(f"| {axis} | exponent | {exponents} |")
    return lines
