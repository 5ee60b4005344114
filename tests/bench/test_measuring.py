"""How is measured: in turns, every repeat kept."""

from __future__ import annotations

import os
import time

import pytest

from recbole_ext.bench.measuring import apart, take_turns, timed
from recbole_ext.errors import MeasurementError


def test_work_takes_turns_and_every_repeat_is_kept() -> None:
    order: list[str] = []
    seconds = take_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3, "letters")  # type: ignore[misc]
    assert order == ["a", "b"] * 3
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def test_a_call_is_timed_and_returns_what_it_returned() -> None:
    def slow() -> str:
        time.sleep(0.05)
        return "done"

    seconds, returned = timed(slow)
    assert returned == "done" and 0.05 <= seconds < 5


def test_what_is_measured_apart_is_another_process() -> None:
    assert apart(os.getpid) != os.getpid()


def test_a_process_that_is_killed_ends_the_measurement_in_words() -> None:
    with pytest.raises(MeasurementError, match="the process that measured was killed; .* when memory runs out"):
        apart(os.abort)
