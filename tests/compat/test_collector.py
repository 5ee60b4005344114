"""RecBole's evaluation as its own documentation describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import torch
from recbole.evaluator.collector import Collector

Build = Callable[..., SimpleNamespace]


def test_numbers_and_counts_reach_the_metrics_and_stay_for_the_next_evaluation(build: Build) -> None:
    built = build("SASRec", metrics=["ItemCoverage", "AveragePopularity"], valid_metric="ItemCoverage@5", topk=[5])
    collector = Collector(built.config)
    collector.data_collect(built.loaders.train)
    for _ in range(2):
        collector.eval_batch_collect(torch.randn(3, 61), None, torch.arange(3), torch.tensor([5, 6, 7]))
        struct = collector.get_data_struct()
        assert struct.get("data.num_items") == 61
        assert isinstance(struct.get("data.count_items"), Counter)
        assert struct.get("rec.items").shape == (3, 5)
