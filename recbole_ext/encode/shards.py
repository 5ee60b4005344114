"""Vectors on their way into a store: finished shards on disk, so that an interrupted call can go on."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import StoreError
from recbole_ext.store.write_errors import explaining_write_errors
from recbole_ext.writing import replacing_file, replacing_folder, write_json

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

_REQUEST_FILE = "request.json"
_TENSOR = "text_embeddings"


class ShardFolder:
    """The folder ``OUT.partial``: ``shard_size`` texts a file, each file whole or absent.

    Args:
        folder: where it lies, or shall lie; left over from another request, it is emptied.
        request: what the vectors are the answer to; shards of another request are never reused.
        texts: how many texts there are.
        shard_size: texts in a shard. A folder that goes on with the same request keeps the size it began
            with.

    Raises:
        StoreError: ``folder`` exists and wasn't made by this class, or can't be written.
    """

    def __init__(self, folder: Path, request: str, texts: int, shard_size: int) -> None:
        self.folder = folder
        self.texts = texts
        begun = self._begun()
        if begun.get("request") == request:
            self.shard_size = begun["shard_size"]
            return
        if begun:
            logger.info("%s belongs to another request (encoder, text or options changed): starting anew", folder)
        self.shard_size = shard_size
        with (
            explaining_write_errors(folder, "Choose another folder, and repeat."),
            replacing_folder(folder) as new,
        ):
            write_json(new / _REQUEST_FILE, {"request": request, "shard_size": shard_size})

    def __len__(self) -> int:
        return -(-self.texts // self.shard_size)

    def bounds(self, shard: int) -> slice:
        """Which of the texts belong to the shard."""
        return slice(shard * self.shard_size, min((shard + 1) * self.shard_size, self.texts))

    def read(self, shard: int) -> Tensor | None:
        """The shard's vectors ``[texts of the shard, dim]``, or None when it has to be encoded (again)."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path, bounds = self._path(shard), self.bounds(shard)
        if not path.exists():
            return None
        try:
            vectors = load_file(path)[_TENSOR]
        except (SafetensorError, OSError, KeyError):
            logger.warning("%s is damaged and is encoded again", path)
            return None
        return vectors if len(vectors) == bounds.stop - bounds.start else None

    def write(self, shard: int, vectors: Tensor) -> None:
        """Keep the shard's vectors.

        Raises:
            StoreError: the file can't be written; the shards before it stay.
        """
        from safetensors.torch import save_file

        path = self._path(shard)
        way_out = "Earlier shards are kept: free some space and repeat the command, and it goes on from there."
        with explaining_write_errors(path, way_out), replacing_file(path) as temporary:
            save_file({_TENSOR: vectors.contiguous()}, temporary)

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
