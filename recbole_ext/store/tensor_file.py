"""A ``.npy``, ``.pt`` or ``.safetensors`` tensor with a list of item tokens beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_ext.errors import StoreError
from recbole_ext.store.item_tokens import parse_item_tokens
from recbole_ext.store.pickles import CONVERT, refuse_pickle

if TYPE_CHECKING:
    from torch import Tensor

TENSOR_FORMATS = (".npy", ".pt", ".pth", ".safetensors")


def read_tensor_file(path: Path) -> tuple[Tensor, list[str]]:
    """Read the tensor ``path`` and the tokens of ``NAME.items.json`` or ``NAME.items.txt`` (one a line).

    Returns:
        The tensor as it is on disk and the tokens; whether they fit together is not checked here.

    Raises:
        StoreError: an unsafe or damaged file, something else than a single tensor, or no token list.
    """
    readers = {".npy": _read_npy, ".safetensors": _read_safetensors}
    return readers.get(path.suffix, _read_pt)(path), read_token_list(path)


def token_list_of(path: Path) -> Path:
    """The file beside the tensor ``path`` that says which row is which item.

    Raises:
        StoreError: there is none.
    """
    as_json, as_text = path.with_suffix(".items.json"), path.with_suffix(".items.txt")
    for beside in (as_json, as_text):
        if beside.exists():
            return beside
    raise StoreError(
        f"{path} says nothing about which row is which item. Put the item tokens, in row order, beside it: "
        f"{as_json.name} (a JSON list) or {as_text.name} (one a line)."
    )


def read_token_list(path: Path) -> list[str]:
    """The tokens beside the tensor ``path``, in row order.

    Raises:
        StoreError: there are none, or they can't be read.
    """
    beside = token_list_of(path)
    try:
        text = beside.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a byte order mark
        return parse_item_tokens(
            json.loads(text) if beside.suffix == ".json" else text.removesuffix("\n").split("\n"), beside
        )
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: its list of item tokens can't be read: {error}.") from None


def shape_of_tensor(path: Path) -> tuple[int, ...]:
    """Of the tensor ``path``, by its header; what is wrong with the file is an error of its reader's."""
    if path.suffix == ".npy":
        import numpy

        return numpy.load(path, mmap_mode="r", allow_pickle=False).shape
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            (name,) = file.keys()
            return tuple(file.get_slice(name).get_shape())
    import torch

    return tuple(torch.load(path, map_location="meta", weights_only=True).shape)


def _read_npy(path: Path) -> Tensor:
    import numpy
    import torch

    refuse_pickle(path)
    try:
        array = numpy.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise StoreError(f"{path} is no plain .npy array ({error}). {CONVERT}") from None
    if not isinstance(array, numpy.ndarray) or array.dtype.kind not in "fiu":
        raise StoreError(f"{path} doesn't hold one array of numbers. {CONVERT}")
    return torch.from_numpy(numpy.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _read_pt(path: Path) -> Tensor:
    import torch

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    # The kinds of damage a file can have are the business of torch's reader; whatever it says, it isn't a
    # tensor.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{path} doesn't load with weights_only=True ({reason}). {CONVERT}") from error
    if not isinstance(tensor, torch.Tensor):
        raise StoreError(
            f"{path} holds a {type(tensor).__name__}, not one tensor; save the matrix alone with torch.save."
        )
    return tensor.detach()


def _read_safetensors(path: Path) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    refuse_pickle(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path} is damaged ({error}).") from error
    if len(tensors) != 1:
        raise StoreError(f"{path} holds {', '.join(tensors) or 'nothing'}; save the matrix of item vectors alone.")
    return next(iter(tensors.values()))
