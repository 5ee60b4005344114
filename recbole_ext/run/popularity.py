"""How popular each user's test item was in training, kept once per dataset and split beside the run records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.data.fingerprints import popularity_fingerprint
from recbole_ext.writing import replacing_file


def keep_popularity(loaders: Any, dataset: str, folder: Path) -> dict[str, str] | None:
    """Write ``folder/popularity/DATASET-HASH.npz`` unless it is there; returns what a record says of it.

    The file holds two int32 arrays: ``item_interactions`` ``[items]``, each item's interactions in the training split,
    and ``test_interactions`` ``[users]``, those of each user's test item, in the order of the ranks beside the record.
    Its name and the record's ``sha256`` are of the arrays' content, so runs on the same split share it.
    ``None`` where a user may have several test items.
    """
    test = loaders.test._dataset
    users = np.asarray(test.inter_feat[test.uid_field])
    items = np.asarray(test.inter_feat[test.iid_field])
    if len(np.unique(users)) != len(users):
        return None
    matrix = loaders.train._dataset.inter_matrix(form="csr")
    interactions = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int32)
    arrays = {
        "item_interactions": interactions[1:],  # without the padding item
        "test_interactions": interactions[items[np.argsort(users, kind="stable")]],
    }
    digest = popularity_fingerprint(**arrays)
    path = folder / "popularity" / f"{dataset}-{digest[:8]}.npz"
    if not path.is_file():
        with replacing_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
    return {"file": path.relative_to(folder).as_posix(), "sha256": digest}
