"""The file beside run records that says how often training saw each item, and each user's test item."""

from __future__ import annotations

import hashlib
import io
import zlib
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.record import Popularity, RunRecord
from recbole_ext.writing import replacing_file


class Interactions(NamedTuple):
    """Training interactions of each item ``[items]`` and of each user's test item ``[users]``, both int32.

    Users are in the order of the ranks beside the record.
    """

    item_interactions: NDArray[np.int32]
    test_interactions: NDArray[np.int32]

    def sha256(self) -> str:
        """Of the content: runs on the same split have the same."""
        digest = hashlib.sha256(str(len(self.item_interactions)).encode())
        for values in self:
            digest.update(np.ascontiguousarray(values, dtype="<i4").tobytes())
        return digest.hexdigest()


def write_interactions(folder: Path, dataset: str, interactions: Interactions) -> Popularity:
    """Write ``folder/popularity/DATASET-HASH.npz`` unless it is there; returns what a record says of it."""
    digest = interactions.sha256()
    path = folder / "popularity" / f"{dataset}-{digest[:8]}.npz"
    if not path.is_file():
        packed = io.BytesIO()  # on a full disk, a half-written archive of numpy complains when it is let go of
        np.savez_compressed(packed, **interactions._asdict())
        with replacing_file(path) as temporary:
            temporary.write_bytes(packed.getvalue())
    return Popularity(file=path.relative_to(folder).as_posix(), sha256=digest)


def read_interactions(folder: Path, record: RunRecord) -> Interactions | None:
    """The training interactions that a finished record names; ``None`` where it names none.

    Raises:
        ConfigurationError: the file can't be read or is not the one that the record was made with.
    """
    named = record.evaluated.popularity
    if named is None:
        return None
    path = folder / named.file
    try:
        with np.load(path, allow_pickle=False) as file:
            interactions = Interactions(*(file[name] for name in Interactions._fields))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise ConfigurationError(f"{named.file} can't be read ({error}).") from error
    if interactions.sha256() != named.sha256:
        raise ConfigurationError(f"{named.file} is not the file that {record.run} was made with.")
    return interactions
