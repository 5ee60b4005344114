"""The truncated SVD that sources of sparse counts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PASSES = 7
"""Power iterations of the randomised SVD."""


@dataclass(frozen=True)
class Reduced:
    """Rows of a matrix in the space of its first right singular vectors.

    Attributes:
        rows: ``[rows, dim]``.
        singular_values: ``[dim]``.
        explained_variance: the part of the rows' variance that is kept; ``None`` where they have none.
    """

    rows: np.ndarray
    singular_values: np.ndarray
    explained_variance: float | None


def reduced(matrix: Any, dim: int, seed: int) -> Reduced:
    """The truncated SVD of a sparse ``matrix``, ``[rows, columns]``."""
    import numpy as np
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(dim, n_iter=PASSES, random_state=seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # of rows that are all the same: nothing over nothing
        rows = svd.fit_transform(matrix)
    explained = float(svd.explained_variance_ratio_.sum())
    return Reduced(rows, svd.singular_values_, round(explained, 4) if np.isfinite(explained) else None)
