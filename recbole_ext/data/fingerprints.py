"""What a result was made from, by content: SHA-256 of datasets, stores and encoders."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from recbole_ext.data.files import interaction_file
from recbole_ext.errors import EncoderError


def dataset_fingerprint(dataset: str, data_path: str) -> str | None:
    """SHA-256 of the dataset's ``.inter`` file; ``None`` where it is not there yet."""
    return _sha256(interaction_file(dataset, data_path))


def store_fingerprint(store: str | None) -> str | None:
    """SHA-256 of the store's vectors and item tokens, whatever its form; ``None`` without a store."""
    if not store:
        return None
    path = Path(store).expanduser()
    if path.is_dir():
        files = [path / "embeddings.safetensors", path / "items.json"]
    else:
        files = [path, path.with_suffix(".items.json"), path.with_suffix(".items.txt")]
    hashes = [digest for file in files if (digest := _sha256(file))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else None


def encoder_fingerprint(encoder: str) -> str | None:
    """What identifies an encoder: of a folder that ``tune`` wrote the request it answers, else its weights' hash.

    ``None`` where it is not there yet.
    """
    record = Path(encoder) / "tuning.json"
    if record.is_file():
        return str(json.loads(record.read_text(encoding="utf-8"))["request"])
    try:
        return _identity(encoder)
    except EncoderError:
        return None


@cache
def _identity(encoder: str) -> str:
    from recbole_ext.encode.source import resolve_encoder

    return resolve_encoder(encoder).identity


_HASHES: dict[tuple[str, int, int], str] = {}


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    if key not in _HASHES:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        _HASHES[key] = digest.hexdigest()
    return _HASHES[key]
