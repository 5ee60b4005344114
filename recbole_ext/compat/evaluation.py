"""RecBole's evaluation: what its collector hands on to the metrics."""

from __future__ import annotations

import functools
from typing import Any


def collect_what_is_no_tensor() -> None:
    """Let ``Collector.get_data_struct`` (collector.py:222) hand on numbers and counts too.

    RecBole issues 2131, 2191 and 2194: it moves all that it has collected to the CPU (``'int' object has no attribute
    'cpu'``), so that AveragePopularity, GiniIndex, ItemCoverage and TailPercentage end after the first epoch.
    """
    import torch
    from recbole.evaluator.collector import Collector

    original = Collector.get_data_struct

    @functools.wraps(original)
    def get_data_struct(self: Any) -> Any:
        values = self.data_struct._data_dict
        kept = {name: values.pop(name) for name in list(values) if not isinstance(values[name], torch.Tensor)}
        struct = original(self)
        for name, value in kept.items():
            self.data_struct.set(name, value)
            struct.set(name, value)
        return struct

    Collector.get_data_struct = get_data_struct
