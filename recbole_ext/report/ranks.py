"""The ranks that a run keeps per user, and RecBole's metrics from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RunRecord
from recbole_ext.records.ranks import alone, expected_worth, ranks_beside
from recbole_ext.report.metrics import cutoff, family

_OF_ONE_ITEM = ("recall", "hit", "precision", "ndcg", "mrr")
_OF_SEVERAL_ITEMS = ("hit", "mrr")


def decided_by_ranks(metric: str, record: RunRecord) -> bool:
    """Whether a user's value of the metric follows from the rank of the test item that stands highest.

    Where users have several test items (no popularity was kept, which tells it), the others count too.
    """
    made = record.evaluated
    families = _OF_ONE_ITEM if made.popularity else _OF_SEVERAL_ITEMS
    return family(metric) in families and 0 < cutoff(metric) <= made.largest_k


def metric_of_ranks(metric: str, ranks: NDArray[np.integer]) -> NDArray[np.float64]:
    """``recall@K``, ``hit@K``, ``precision@K``, ``ndcg@K`` or ``mrr@K`` per user, of ``ranks`` ``[..., 2]``: ``[...]``.

    ``ranks`` are of the user's one test item: its first place from 1, 0 = beyond the largest K, and how many places it
    is spread over, because as many items score the same; the value is the mean over these places. The mean over users
    is what is reported.

    Raises:
        ConfigurationError: a metric that a rank does not decide.
    """
    name, k = family(metric), cutoff(metric)
    place = np.arange(1, k + 1, dtype=np.float64)
    gain = {
        "recall": np.ones_like(place),
        "hit": np.ones_like(place),
        "precision": np.full_like(place, 1.0 / max(k, 1)),
        "ndcg": 1.0 / np.log2(place + 1.0),
        "mrr": 1.0 / place,
    }
    if name not in gain or not k:
        raise ConfigurationError(f"{metric} can't be computed from ranks.")
    return expected_worth(ranks, np.concatenate([[0.0], gain[name]]))


def load_ranks(folder: Path, record: RunRecord) -> NDArray[np.integer] | None:
    """The place of each user's test item and how many places it is spread over, from ``RUN.ranks.npy``: ``[users, 2]``.

    See :func:`metric_of_ranks`. ``None`` where the run kept none: its metrics need no ranking.

    Raises:
        ConfigurationError: the file can't be read, or contradicts what the record reports.
    """
    path = ranks_beside(folder / record.kept_in / f"{record.run}.json")
    name = f"{record.kept_in}/{path.name}"
    if not path.exists():
        return None
    try:
        ranks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigurationError(f"{name} can't be read ({error}).") from error
    fits = ranks.ndim == 1 or (ranks.ndim == 2 and ranks.shape[1] == 2 and (ranks[:, 1] > 0).all())
    if not fits or not len(ranks) or not np.issubdtype(ranks.dtype, np.integer):
        raise ConfigurationError(f"{name} should hold one integer per user, or two, not {ranks.dtype} {ranks.shape}.")
    made = record.evaluated
    if made.largest_k > np.iinfo(ranks.dtype).max:
        raise ConfigurationError(f"{name} holds {ranks.dtype}, too narrow for ranks up to {made.largest_k}.")
    ranks = alone(ranks) if ranks.ndim == 1 else ranks
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
