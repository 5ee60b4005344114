"""RecBole's metrics of one user from the rank of the one relevant item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError


def metric_of_ranks(metric: str, ranks: NDArray[np.integer]) -> NDArray[np.float64]:
    """``recall@K``, ``hit@K``, ``precision@K``, ``ndcg@K`` or ``mrr@K`` per user, ``[users]``.

    ``ranks`` ``[users]`` are 1-based, 0 = beyond the largest K; their mean over users is what RecBole reports.

    Raises:
        ConfigurationError: a metric that a rank does not decide.
    """
    family, _, cutoff = metric.partition("@")
    hit = (ranks >= 1) & (ranks <= int(cutoff or 0))
    rank = np.where(hit, ranks, 1).astype(np.float64)
    gain = {
        "recall": np.ones_like(rank),
        "hit": np.ones_like(rank),
        "precision": np.full_like(rank, 1.0 / max(int(cutoff or 0), 1)),
        "ndcg": 1.0 / np.log2(rank + 1.0),
        "mrr": 1.0 / rank,
    }
    if family not in gain or not cutoff:
        raise ConfigurationError(f"{metric} can't be computed from ranks.")
    return np.where(hit, gain[family], 0.0)
