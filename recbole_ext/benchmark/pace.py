"""How fast the steps of a benchmark go here: on which device, with how many threads, how many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.compat.configs import visible_gpus
from recbole_ext.estimate import Estimate, gpu_speed, thread_speed
from recbole_ext.machine import cores, threads_per_run


@dataclass(frozen=True)
class Step:
    """``times``: how often it is still to be taken; ``estimate`` of one time, ``None`` where nothing is known;
    ``on_processors``: whether ``use_gpu: false`` keeps it from the GPUs."""

    kind: Literal["data", "tune", "store", "run", "report"]
    what: str
    inputs: str
    times: int
    estimate: Estimate | None = None
    on_processors: bool = False


@dataclass(frozen=True)
class Pace:
    """Operations per second of a matrix product: of what the command does itself, and of each of the runs that go
    ``together``, on processors or on GPUs.

    Attributes:
        in_words: the devices, and what is assumed of them.
    """

    command: float
    run_on_processors: float
    run_on_gpus: float
    together: int
    in_words: str

    def seconds(self, step: Step) -> float | None:
        """Of all times that the step is still to be taken, of which runs go together; ``None``: nobody knows."""
        if not step.times:
            return 0.0
        if step.estimate is None:
            return None
        if step.kind != "run":
            return step.estimate.seconds(self.command) * step.times
        speed = self.run_on_processors if step.on_processors else self.run_on_gpus
        return step.estimate.seconds(speed) * step.times / self.together


def pace_here(benchmark: Benchmark, steps: Sequence[Step]) -> Pace:
    """The pace of this machine when nobody else is on it, measured for the devices that ``steps`` go on."""
    import torch

    gpus = len(visible_gpus())
    runs = [step for step in steps if step.kind == "run" and step.times]
    local = benchmark.executor == "local"
    parallel = benchmark.parallel_runs if local else 1
    together = max(min(parallel, sum(step.times for step in runs)), 1)
    if local:
        threads = benchmark.cpus_per_run or threads_per_run(parallel)
        share_of_gpu = min(1.0, gpus / together)
    else:
        threads = benchmark.cpus_per_run or 1
        share_of_gpu = min(1.0, benchmark.gpus_per_run) if gpus else 0.0
    on_processors = not share_of_gpu or any(step.on_processors for step in runs)
    of_a_thread = thread_speed() if on_processors or not gpus else 0.0
    of_processors = of_a_thread * min(threads, cores() / together)
    name, of_gpu = gpu_speed() if gpus else ("", 0.0)
    words = []
    if share_of_gpu and (not runs or not all(step.on_processors for step in runs)):
        words.append(name if gpus == 1 else f"{name}, {gpus} of them")
    if on_processors:
        words.append(f"CPU, {threads} thread{'s' if threads > 1 else ''}{' a run' if parallel > 1 else ''}")
    if together > 1:
        words.append(f"{together} runs at a time")
    if not local:
        words.append("one run after the other; the Ray cluster was not looked at")
    return Pace(
        command=of_gpu if gpus else of_a_thread * torch.get_num_threads(),
        run_on_processors=of_processors,
        run_on_gpus=of_gpu * share_of_gpu if share_of_gpu else of_processors,
        together=together,
        in_words=", ".join(words),
    )
