"""Vectors on their way into a store: finished shards on disk, so that an interrupted call can go on."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_ext.errors import StoreError, WriteError
from recbole_ext.writing import replacing_file, replacing_folder, write_json

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_REQUEST_FILE = "request.json"
_TENSOR, _SECONDS = "text_embeddings", "seconds"


class Shard(NamedTuple):
    """Vectors ``[texts of the shard, dim]``, and how long encoding them took."""

    vectors: Tensor
    seconds: float


class ShardFolder:
    """The folder ``OUT.partial``: ``shard_size`` texts a file, each file whole or absent.

    It is made with its first shard: an empty one would be of no use to anybody.

    Args:
        folder: where it lies, or shall lie; left over from another request, its first shard replaces it.
        request: what the vectors are the answer to; shards of another request are never reused.
        texts: how many texts there are.
        shard_size: texts in a shard. A folder that goes on with the same request keeps the size it began
            with.

    Raises:
        StoreError: ``folder`` exists and wasn't made by this class.
    """

    def __init__(self, folder: Path, request: str, texts: int, shard_size: int) -> None:
        self.folder, self.request, self.texts = folder, request, texts
        begun = self._begun()
        self._goes_on = begun.get("request") == request
        self.shard_size = begun["shard_size"] if self._goes_on else shard_size
        if begun and not self._goes_on:
            logger.info("%s belongs to another request (encoder, text or options changed): starting anew", folder)

    def __len__(self) -> int:
        return -(-self.texts // self.shard_size)

    def bounds(self, shard: int) -> slice:
        """Which of the texts belong to the shard."""
        return slice(shard * self.shard_size, min((shard + 1) * self.shard_size, self.texts))

    def read(self, shard: int) -> Shard | None:
        """The shard, or None when it has to be encoded (again)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path, bounds = self._path(shard), self.bounds(shard)
        if not self._goes_on or not path.exists():
            return None
        try:
            content = load_file(path)
            found = Shard(content[_TENSOR], float(content[_SECONDS]))
        except (SafetensorError, OSError, KeyError):
            logger.warning("%s is damaged and is encoded again", path)
            return None
        return found if len(found.vectors) == bounds.stop - bounds.start else None

    def write(self, shard: int, content: Shard) -> None:
        """Keep the shard.

        Raises:
            WriteError: the file can't be written; the shards before it stay.
        """
        import torch
        from safetensors.torch import save_file

        tensors = {_TENSOR: content.vectors.contiguous(), _SECONDS: torch.tensor(content.seconds)}
        with self.kept():
            if self._goes_on:
                with replacing_file(self._path(shard)) as temporary:
                    save_file(tensors, temporary)
                return
            with replacing_folder(self.folder) as new:
                write_json(new / _REQUEST_FILE, {"request": self.request, "shard_size": self.shard_size})
                save_file(tensors, new / self._path(shard).name)
            self._goes_on = True

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Say of a write that fails within the block that the finished shards stay, where there are any."""
        try:
            yield
        except WriteError as error:
            if not self._goes_on:
                raise
            raise WriteError(
                error.target,
                error.reason,
                f"What is encoded so far is kept in {self.folder}: free some space and repeat the command, and it goes "
                "on from there.",
            ) from error

    def remove(self) -> None:
        """Delete the folder; its vectors are in the store."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, shard: int) -> Path:
        return self.folder / f"shard-{shard:05d}.safetensors"

    def _begun(self) -> dict[str, Any]:
        """The request of an interrupted call; empty when there was none."""
        if not self.folder.exists():
            return {}
        try:
            begun = json.loads((self.folder / _REQUEST_FILE).read_text(encoding="utf-8"))
            return {"request": str(begun["request"]), "shard_size": int(begun["shard_size"])}
        except (OSError, ValueError, KeyError, TypeError):
            raise StoreError(
                f"{self.folder} is needed for unfinished work, but something else is there. Remove it, or "
                "choose another --out."
            ) from None
