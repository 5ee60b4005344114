"""How item vectors lie: do they fill their space, and are an item's neighbours items that the same people take?

All figures are of the items of the training splits that have a vector, so that those of two sources compare.

- ``mean_cosine``: mean cosine of two different items. Near 0: directions are spread out; near 1: all lie in one narrow
  cone (Ethayarajh, EMNLP 2019).
- ``effective_rank``: over how many axes the variance is spread, from 1 to the width: the exponential of the entropy of
  the covariance's spectrum (Roy and Vetterli, EUSIPCO 2007).
- ``first_axis``: share of the variance on the first principal axis.
- ``hubness``: skewness of how often an item is among the 10 nearest neighbours of others (Radovanović, Nanopoulos and
  Ivanović, JMLR 2010). Near 0: all items are neighbours equally often; large: a few are everybody's.
- ``co_taken``: share of an item's 10 nearest neighbours, by cosine of centred vectors, that somebody took in training
  who took the item too; ``co_taken_by_chance``: the same of any items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbole_ext.records.card import Geometry, rounded

if TYPE_CHECKING:
    import numpy as np
    import torch

    from recbole_ext.data.histories import Histories

NEIGHBOURS = 10
MOST_ASKED = 10_000
"""Items whose neighbours are looked for; of more, so many drawn with a fixed seed."""
ROWS_AT_ONCE = 512


def geometry_of(vectors: torch.Tensor, items: Sequence[str], histories: Histories) -> Geometry:
    """The figures of ``vectors``, ``[len(items), width]``.

    Beside the vectors, memory is taken for those of the items in training once.

    Args:
        histories: each user's training items.
    """
    import numpy as np
    import torch

    from recbole_ext.store.transforms import Rows, center, l2

    users, rows = _taken(histories, {token: row for row, token in enumerate(items)})
    kept = np.unique(rows)
    of_kept = np.full(len(items), -1)
    of_kept[kept] = np.arange(len(kept))
    number = len(kept)
    chosen = Rows(vectors, torch.from_numpy(kept))
    directions, centred = chosen.then(l2(chosen)), chosen.then(center(chosen))
    together = directions.sum(lambda piece: piece.sum(dim=0))
    with_themselves = directions.sum(lambda piece: piece.pow(2).sum())
    mean_cosine = float(together @ together - with_themselves) / max(number * (number - 1), 1)
    share = torch.linalg.eigvalsh(centred.sum(lambda piece: piece.T @ piece) / max(number, 1)).clamp_min(0)
    share = share / share.sum().clamp_min(1e-300)
    entropy = float(-(share * share.clamp_min(1e-300).log()).sum())
    of_centred = centred.then(l2(centred)).gathered()
    hubness, co_taken, chance = _neighbourhood(of_centred, users, of_kept[rows])
    return Geometry(
        items=number,
        width=int(vectors.shape[1]),
        mean_cosine=rounded(mean_cosine),
        effective_rank=rounded(float(np.exp(entropy))),
        first_axis=rounded(float(share.max())),
        hubness=rounded(hubness),
        co_taken=rounded(co_taken),
        co_taken_by_chance=rounded(chance),
    )


def _taken(histories: Histories, row_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """User and row of each training interaction with an item that has a vector, ``[interactions]`` each."""
    import numpy as np

    row_of_number = np.array([row_of.get(token, -1) for token in histories.tokens.astype(str).tolist()])
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories.numbers])
    rows = row_of_number[np.concatenate(histories.numbers)]
    return users[rows >= 0], rows[rows >= 0]


def _neighbourhood(directions: torch.Tensor, users: np.ndarray, items: np.ndarray) -> tuple[float, float, float]:
    """Hubness, and the share of neighbours, and of any items, that are taken by somebody who took the item."""
    import numpy as np
    import torch
    from scipy.sparse import csr_matrix
    from scipy.stats import skew

    number = len(directions)
    k = min(NEIGHBOURS, number - 1)
    if k < 1:
        return 0.0, 0.0, 0.0
    taken = csr_matrix((np.ones(len(items), dtype=np.int32), (users, items)), shape=(users.max() + 1, number))
    asked = np.arange(number)
    if number > MOST_ASKED:
        asked = np.sort(np.random.default_rng(0).choice(number, MOST_ASKED, replace=False))
    counts, shared, by_chance = np.zeros(number, dtype=np.int64), 0, 0.0
    for start in range(0, len(asked), ROWS_AT_ONCE):
        rows = asked[start : start + ROWS_AT_ONCE]
        scores = directions[torch.from_numpy(rows)] @ directions.T
        scores[torch.arange(len(rows)), torch.from_numpy(rows)] = -torch.inf
        nearest = scores.topk(k, dim=1).indices.numpy()
        counts += np.bincount(nearest.reshape(-1), minlength=number)
        together = (taken[:, rows].T @ taken).tocsr()
        users_of_both = np.asarray(together[np.arange(len(rows)).repeat(k), nearest.reshape(-1)])
        shared += int((users_of_both > 0).sum())
        by_chance += float((np.diff(together.indptr) - 1).sum()) / (number - 1)  # each item goes with itself
    varies = counts.std() > 0
    return float(skew(counts)) if varies else 0.0, shared / (len(asked) * k), by_chance / len(asked)
