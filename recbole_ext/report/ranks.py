"""The ranks that a run keeps per user, and RecBole's metrics from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RunRecord
from recbole_ext.report.metrics import cutoff, family

_OF_ONE_ITEM = ("recall", "hit", "precision", "ndcg", "mrr")
_OF_SEVERAL_ITEMS = ("hit", "mrr")


def decided_by_ranks(metric: str, record: RunRecord) -> bool:
    """Whether a user's value of the metric follows from the rank of the test item that stands highest.

    Where users have several test items (no popularity was kept, which tells it), the others count too.
    """
    made = record.done
    families = _OF_ONE_ITEM if made.popularity else _OF_SEVERAL_ITEMS
    return family(metric) in families and 0 < cutoff(metric) <= made.largest_k


def metric_of_ranks(metric: str, ranks: NDArray[np.integer]) -> NDArray[np.float64]:
    """``recall@K``, ``hit@K``, ``precision@K``, ``ndcg@K`` or ``mrr@K`` per user, in the shape of ``ranks``.

    ``ranks`` are 1-based, of the user's one test item, 0 = beyond the largest K; the mean over users is what RecBole
    reports.

    Raises:
        ConfigurationError: a metric that a rank does not decide.
    """
    name, k = family(metric), cutoff(metric)
    hit = (ranks >= 1) & (ranks <= k)
    rank = np.where(hit, ranks, 1).astype(np.float64)
    gain = {
        "recall": np.ones_like(rank),
        "hit": np.ones_like(rank),
        "precision": np.full_like(rank, 1.0 / max(k, 1)),
        "ndcg": 1.0 / np.log2(rank + 1.0),
        "mrr": 1.0 / rank,
    }
    if name not in gain or not k:
        raise ConfigurationError(f"{metric} can't be computed from ranks.")
    return np.where(hit, gain[name], 0.0)


def load_ranks(folder: Path, record: RunRecord) -> NDArray[np.integer] | None:
    """The rank of each user's test item ``[users]``, 1-based, 0 = beyond the largest K, from ``RUN.ranks.npy``.

    ``None`` where the run kept none: its metrics need no ranking.

    Raises:
        ConfigurationError: the file can't be read, or contradicts what the record reports.
    """
    path = folder / "runs" / f"{record.run}.ranks.npy"
    name = f"runs/{path.name}"
    if not path.exists():
        return None
    try:
        ranks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigurationError(f"{name} can't be read ({error}).") from error
    if ranks.ndim != 1 or not len(ranks) or not np.issubdtype(ranks.dtype, np.integer):
        raise ConfigurationError(f"{name} should hold one integer per user, not {ranks.dtype} {ranks.shape}.")
    made = record.done
    if made.largest_k > np.iinfo(ranks.dtype).max:
        raise ConfigurationError(f"{name} holds {ranks.dtype}, too narrow for ranks up to {made.largest_k}.")
    tolerance = 0.5 * 10.0**-made.decimal_places + 1e-6  # RecBole rounds what it reports
    for metric, reported in made.test.items():
        if decided_by_ranks(metric, record):
            found = float(metric_of_ranks(metric, ranks).mean())
            if not abs(found - reported) <= tolerance:
                raise ConfigurationError(
                    f"{name} gives {metric} {found:.4f}, but its record says {reported:.4f}: they are of different "
                    "runs. Delete both and run the benchmark again."
                )
    return ranks
