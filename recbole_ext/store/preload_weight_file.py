"""An atomic file of vectors, as RecBole's ``preload_weight`` reads them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import StoreError
from recbole_ext.store.pickles import refuse_pickle
from recbole_ext.store.widths import odd_one_out

if TYPE_CHECKING:
    from torch import Tensor


def read_preload_weight_file(path: Path, most: int | None = None) -> tuple[Tensor, list[str]]:
    """Read an atomic file with one ``token`` and one ``float_seq`` column, as ``preload_weight`` uses it.

    Other columns are ignored. Values are read as float32.

    Args:
        most: items that are read, from the first on; by default all.

    Returns:
        The vectors and the tokens; whether they make a store is not checked here.

    Raises:
        StoreError: not such a file, or a line (named) whose vector is broken or of another width.
    """
    import numpy
    import torch

    refuse_pickle(path)
    items: list[str] = []
    vectors: list[numpy.ndarray] = []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            kinds = [column.rpartition(":")[2] for column in file.readline().rstrip("\r\n").split("\t")]
            if kinds.count("token") != 1 or kinds.count("float_seq") != 1:
                raise StoreError(
                    f"{path} is nothing a store can be read from. Offer a store folder, a .npy or .pt tensor "
                    "with its list of item tokens, or an atomic file whose first line has one ':token' and "
                    "one ':float_seq' column."
                )
            id_column, vector_column = kinds.index("token"), kinds.index("float_seq")
            for number, line in enumerate(islice(file, most), start=2):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) != len(kinds):
                    raise StoreError(f"{path}, line {number}: {len(cells)} fields instead of {len(kinds)}.")
                items.append(cells[id_column])
                vectors.append(_parse_vector(cells[vector_column], path, number))
    except UnicodeDecodeError:
        raise StoreError(
            f"{path} is neither a store folder, nor a .npy or .pt tensor, nor a text file RecBole could read."
        ) from None
    if not items:
        raise StoreError(f"{path} has a header but no item.")
    if (odd := odd_one_out(vectors)) is not None:
        place, width = odd
        raise StoreError(
            f"{path}, line {place + 2}: a vector of width {len(vectors[place])}, where others have {width}."
        )
    return torch.from_numpy(numpy.stack(vectors)), items


def _parse_vector(cell: str, path: Path, number: int) -> Any:
    import numpy

    try:
        return numpy.array(cell.split(), dtype=numpy.float32)
    except ValueError as error:
        raise StoreError(f"{path}, line {number}: {error}.") from None
