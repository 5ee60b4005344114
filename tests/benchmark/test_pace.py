"""Steps are counted at the speed of what they run on, as many at a time as will go."""

from __future__ import annotations

from typing import Any

import pytest

from recbole_ext.benchmark import pace
from recbole_ext.benchmark.pace import Pace, Step, pace_here
from recbole_ext.benchmark.settings import Benchmark
from recbole_ext.estimate import EFFICIENCY, Estimate, thread_speed

THREAD, GPU = 1e9, 1e12


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``machine(cores, gpus, omp)``: a made-up one."""

    def machine(cores: int, gpus: int = 0, omp: str = "") -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
        monkeypatch.setattr("recbole_ext.machine.cores", lambda: cores)
        monkeypatch.setattr(pace, "cores", lambda: cores)
        monkeypatch.setattr(pace, "visible_gpus", lambda: [str(number) for number in range(gpus)])
        monkeypatch.setattr(pace, "thread_speed", lambda: THREAD)
        monkeypatch.setattr(pace, "gpu_speed", lambda: ("a GPU", GPU))

    return machine


def runs(times: int, on_processors: bool = False) -> Step:
    """Runs that take a second each on one thread of the made-up machine."""
    return Step("run", "", "", times, Estimate(THREAD * EFFICIENCY, 0.0), on_processors)


def seconds(step: Step, **keys: Any) -> float | None:
    return of_benchmark(step, **keys).seconds(step)


def of_benchmark(step: Step, **keys: Any) -> Pace:
    return pace_here(Benchmark(name="trial", datasets=["tiny"], models={"SASRec": {}}, **keys), [step])


def test_all_cores_are_busy_however_many_runs_go_at_a_time(machine: Any) -> None:
    machine(cores=4)
    for parallel in (1, 2, 4, 8):
        assert seconds(runs(16), parallel_runs=parallel) == pytest.approx(4)
    assert seconds(runs(1), parallel_runs=4) == pytest.approx(1), "the last run has its share of the cores, no more"


def test_runs_of_one_thread_each_go_side_by_side(machine: Any) -> None:
    machine(cores=2, omp="1")
    assert seconds(runs(2)) == pytest.approx(2)
    assert seconds(runs(2), parallel_runs=2) == pytest.approx(1)
    assert of_benchmark(runs(2), parallel_runs=2).in_words == "CPU, 1 thread a run, 2 runs at a time"


def test_runs_have_the_threads_that_the_benchmark_says(machine: Any) -> None:
    machine(cores=4)
    assert seconds(runs(2), parallel_runs=2, cpus_per_run=1) == pytest.approx(1)
    assert seconds(runs(2), parallel_runs=2, cpus_per_run=8) == pytest.approx(0.5), "there are no more than four"


def test_the_last_run_has_the_cores_of_those_that_are_done(machine: Any) -> None:
    machine(cores=4)
    assert seconds(runs(1), parallel_runs=4, cpus_per_run=4) == pytest.approx(1 / 4)


def test_runs_that_are_kept_from_the_gpu_are_counted_on_processors(machine: Any) -> None:
    machine(cores=1, gpus=1)
    assert seconds(runs(1)) == pytest.approx(THREAD / GPU)
    assert seconds(runs(1, on_processors=True)) == pytest.approx(1)
    assert of_benchmark(runs(1)).in_words == "a GPU"
    assert of_benchmark(runs(1, on_processors=True)).in_words == "CPU, 1 thread"


def test_each_run_has_a_gpu_of_its_own_as_far_as_there_are(machine: Any) -> None:
    machine(cores=8, gpus=2)
    alone = THREAD / GPU
    assert seconds(runs(4)) == pytest.approx(4 * alone)
    assert seconds(runs(4), parallel_runs=2) == pytest.approx(2 * alone)
    assert seconds(runs(4), parallel_runs=4) == pytest.approx(2 * alone), "two share each"
    assert of_benchmark(runs(4), parallel_runs=2).in_words == "a GPU, 2 of them, 2 runs at a time"


def test_a_ray_cluster_is_not_looked_at_and_that_is_said(machine: Any) -> None:
    machine(cores=4, gpus=1)
    assert seconds(runs(3), executor="ray", parallel_runs=3) == pytest.approx(3)
    assert seconds(runs(3), executor="ray", cpus_per_run=2) == pytest.approx(1.5)
    assert seconds(runs(1), executor="ray", gpus_per_run=0.5) == pytest.approx(2 * THREAD / GPU)
    assert "the Ray cluster was not looked at" in of_benchmark(runs(3), executor="ray").in_words
    machine(cores=4)  # a laptop whose cluster has GPUs
    assert seconds(runs(1), executor="ray", gpus_per_run=0.5) == pytest.approx(1)


def test_what_is_done_takes_no_time_and_what_nobody_knows_has_none(machine: Any) -> None:
    machine(cores=1)
    assert seconds(runs(0)) == 0
    assert seconds(Step("run", "", "", 1)) is None


def test_a_speed_is_measured_once_and_is_one() -> None:
    assert thread_speed() == thread_speed() > 1e8
