"""What all models are split, trained and ranked by."""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

PROTOCOL: Settings = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "rank_seen_items": "auto",
    "metrics": ["Recall", "NDCG", "MRR"],
    "topk": [1, 5, 10, 20, 50],
    "valid_metric": "NDCG@10",
    "stopping_step": 10,
    "epochs": 300,
    "metric_decimal_place": 8,
    "eval_batch_size": 512,
    "MAX_ITEM_LIST_LENGTH": 50,
}
"""The design's protocol: leave-one-out in time order, full ranking, early stopping on validation NDCG@10.

A benchmark's ``protocols`` go above it: ``{eval_args: {split: {temporal: {…}}}}`` cuts all users at one time
(:class:`recbole_ext.data.temporal.Temporal`), ``{benchmark_filename: [train, valid, test]}`` takes files that are split
already.
"""
