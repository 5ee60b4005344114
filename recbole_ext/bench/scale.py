"""``recbole-ext bench scale``: how cost grows with users, history length, catalogue and width, on made-up data."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recbole_ext.writing import write_json

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


def run_scale(model: str, out: Path, command: str, axes: dict[str, tuple[int, ...]] = AXES) -> dict[str, Any]:
    """Measure ``model`` along every axis, all else as in :class:`Size`, and write ``out``; returns what it wrote.

    Every point is one epoch and one evaluation in a process of its own. The exponent of an axis is the slope of the
    least-squares line through the logarithms of size and cost.
    """
    from recbole_ext.run.machine import git_revision, versions

    result: dict[str, Any] = {
        "model": model,
        "command": command,
        "versions": versions(),
        "git_revision": git_revision(),
        "axes": {},
    }
    for axis, values in axes.items():
        points = []
        for value in values:
            size = replace(Size(), **{axis: value})
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                points.append({**asdict(size), **pool.apply(measure, (model, size))})
            log.info("%s = %s: %s", axis, value, {name: round(points[-1][name], 2) for name in MEASURES})
        exponents = {
            name: exponent([point[axis] for point in points], [point[name] for point in points]) for name in MEASURES
        }
        result["axes"][axis] = {"points": points, "exponents": exponents}
    write_json(out, result)
    return result


def measure(model: str, size: Size) -> dict[str, float]:
    """Cost of preparing, one epoch and one evaluation at ``size``, with this package's default path."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.benchmark.protocol import PROTOCOL
    from recbole_ext.models import recbole_config
    from recbole_ext.run.machine import peak_memory_mb
    from recbole_ext.training import prepare

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_interactions(folder, size)
        settings = {
            **PROTOCOL,
            "data_path": str(folder),
            "checkpoint_dir": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "train_neg_sample_args": None,
            "show_progress": False,
            "hidden_size": size.width,
            "embedding_size": size.width,
            "inner_size": 4 * size.width,
        }
        config = recbole_config(model, "made-up", settings)
        began = time.perf_counter()
        run = prepare(config, folder / "best.pth")
        prepared = time.perf_counter() - began
        run.trainer.eval_collector.data_collect(run.loaders.train)
        run.trainer._train_epoch(run.samples.loader, 0)
        run.trainer._valid_epoch(run.loaders.valid)
        seconds = run.trainer.curve[0]
    return {
        "seconds_to_prepare": prepared,
        "seconds_per_epoch": seconds["train_seconds"],
        "seconds_per_evaluation": seconds["valid_seconds"],
        "peak_memory_mb": peak_memory_mb(),
    }


def write_interactions(folder: Path, size: Size) -> None:
    """An atomic file ``made-up.inter`` of ``size``; every item occurs, items are drawn uniformly."""
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
