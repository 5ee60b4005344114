"""How popular each user's test item was in training, kept once per dataset and split beside the run records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.records.popularity import Interactions, write_interactions
from recbole_ext.records.record import Popularity


def keep_popularity(loaders: Any, dataset: str, folder: Path) -> Popularity | None:
    """Count and write it, see :func:`recbole_ext.records.popularity.write_interactions`; returns what a record says.

    ``None`` where a user may have several test items.
    """
    test = loaders.test._dataset
    users = np.asarray(test.inter_feat[test.uid_field])
    items = np.asarray(test.inter_feat[test.iid_field])
    if len(np.unique(users)) != len(users):
        return None
    matrix = loaders.train._dataset.inter_matrix(form="csr")
    interactions = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int32)
    of_user = interactions[items[np.argsort(users, kind="stable")]]
    return write_interactions(folder, dataset, Interactions(interactions[1:], of_user))  # without the padding item
