"""A run here beside the same run in stock RecBole."""

from __future__ import annotations

from typing import Any

Metrics = dict[str, dict[str, float]]


def compared(ours: Metrics, theirs: dict[str, Any]) -> str:
    """Whether the metrics of all splits are equal to the last digit: ``yes``, or what is different.

    Args:
        ours: by split and name.
        theirs: what :func:`recbole_ext.survey.processes.stock` says about the same run.
    """
    if "metrics" not in theirs:
        return f"stock fails: {theirs['failure']}"
    mended = f", mended: {theirs['mended']}" if theirs.get("mended") else ""
    for split, metrics in ours.items():
        for name, value in metrics.items():
            if value != (expected := theirs["metrics"][split].get(name)):
                return f"no: {split} {name} {value} against {expected}{mended}"
        if missing := theirs["metrics"][split].keys() - metrics.keys():
            return f"no: {split} lacks {', '.join(sorted(missing))}{mended}"
    return "yes" + mended
