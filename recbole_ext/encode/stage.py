"""The stage: a dataset's item text in, an item embedding store out, nothing done twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext import __version__
from recbole_ext.encode.batches import check_devices, encoding
from recbole_ext.encode.encoder import (
    POOLINGS,
    PRECISIONS,
    check_choice,
    describe_modules,
    load_encoder,
)
from recbole_ext.encode.item_file import locate_item_file
from recbole_ext.encode.key_values import load_key_value_encoder, render_key_values
from recbole_ext.encode.shards import ShardFolder
from recbole_ext.encode.source import resolve_encoder
from recbole_ext.errors import ConfigurationError, EncoderError, SourceDataError, StoreError
from recbole_ext.store.folder import has_vectors, read_meta, refuse_to_overwrite
from recbole_ext.store.item_embedding_store import ItemEmbeddingStore
from recbole_ext.text import default_template, fields_of, read_item_fields, render_texts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodeReport:
    """What a call of :func:`encode` found and did.

    Attributes:
        store: where the store is.
        items: its rows.
        items_without_text: items of the dataset that have no row, because their text is empty.
        unique_texts: different texts among the items.
        encoded_texts: texts that this call encoded; the rest came from an earlier call.
        dim: width of the vectors.
        up_to_date: the store was there already and nothing was done.
    """

    store: Path
    items: int
    items_without_text: int
    unique_texts: int
    encoded_texts: int
    dim: int
    up_to_date: bool

    def lines(self) -> list[str]:
        """The report in words."""
        done = (
            "up to date, nothing to do"
            if self.up_to_date
            else f"{self.encoded_texts} of {self.unique_texts} different texts encoded now"
        )
        lines = [f"{self.store}: {self.items} items, {self.dim} dimensions; {done}"]
        if self.items_without_text:
            lines.append(
                f"{self.items_without_text} items have no text and get no vector "
                "(item_embedding_missing decides about them)"
            )
        return lines


def encode(
    dataset: str,
    data_path: Path | str | None,
    encoder: str = "minilm",
    *,
    out: Path | str,
    template: Sequence[str] | None = None,
    pooling: str | None = None,
    batch_size: int = 64,
    precision: str = "float32",
    devices: Sequence[str] | None = None,
    shard_size: int = 1024,
    max_tokens: int | None = None,
    layers: int | None = None,
    drop: Sequence[str] = (),
    item_field: str = "item_id",
) -> EncodeReport:
    """Encode the text of every item of ``dataset`` into the store ``out``.

    Identical texts are encoded once. A store that already answers the same request (weights, pooling,
    precision, texts, items) is left as it is. An interrupted call leaves its finished shards in
    ``OUT.partial``; the next one goes on from there and encodes at most one shard again.

    Args:
        dataset: RecBole's name of the dataset; its text is ``data_path/dataset/dataset.item``.
        data_path: RecBole's ``data_path``; None is its default.
        encoder: ``minilm``, a Hugging Face name or a local folder. One that was tuned by RECFORMER's objectives reads
            the template's fields as key–value pairs, each item as a sequence of its own.
        out: the store folder to write.
        template: parts of an item's text, such as ``["{title}", "Brand: {brand}"]``; None takes all text
            fields.
        pooling: see :func:`~recbole_ext.encode.encoder.load_encoder`.
        batch_size: texts in a forward pass.
        precision: ``float32``, ``float16`` or ``bfloat16``, for computing and for storing.
        devices: torch devices such as ``["cuda:0", "cuda:1"]``; None picks one.
        shard_size: texts between two writes, the most that an interruption costs.
        max_tokens: cuts texts shorter than the encoder itself would.
        layers: keeps the first so many of the encoder's layers; for encoders that read plain text.
        drop: leaves out layers ``"L"`` and heads ``"L.H"``, counted from 1; for encoders that read plain text.
        item_field: the item column of the ``.item`` file.

    Raises:
        SourceDataError: no ``.item`` file, a malformed one, or one without any text.
        EncoderError: the encoder can't be found or loaded, or gives NaN or infinite vectors.
        StoreError: ``out`` is something else than a store.
        WriteError: ``out`` or a shard can't be written.
        ConfigurationError: an option is wrong.
    """
    check_choice("pooling", pooling, [None, *POOLINGS])
    check_choice("precision", precision, PRECISIONS)
    for key, value in {"batch_size": batch_size, "shard_size": shard_size}.items():
        if value < 1:
            raise ConfigurationError(f"{key}: {value} is out of range; it must be at least 1.")
    out = Path(out).expanduser()
    refuse_to_overwrite(out)

    fields = read_item_fields(locate_item_file(dataset, data_path), item_field)
    template = list(template) if template is not None else default_template(fields)
    source = resolve_encoder(encoder)
    reading = source.key_value_reading
    if reading is None:
        rendered = render_texts(fields, template)
    else:
        template = list(reading.get("attributes") or fields_of(template))
        rendered = render_key_values(fields, template)
    texts = {str(item): str(text) for item, text in rendered.items() if text}
    if not texts:
        raise SourceDataError(
            f"dataset {dataset!r}: no item has any text with the template {template}. Choose other fields "
            "of its .item file."
        )
    texts_hash = _sha256(list(texts.items()))
    pruning = ([] if layers is None else [layers]) + ([sorted(map(str, drop))] if drop else [])
    request = _sha256([source.identity, pooling, precision, max_tokens, template, texts_hash, *pruning])
    # Longest first, as sentence-transformers sorts within a call: a batch pads little, and what doesn't fit
    # in memory fails at once rather than at the end. The order is the same in every call, so shards can be
    # reused.
    unique_texts = sorted(set(texts.values()), key=lambda text: (-len(text), text))
    counts = {
        "items": len(texts),
        "items_without_text": len(fields) - len(texts),
        "unique_texts": len(unique_texts),
    }
    if (dim := _width_if_up_to_date(out, request)) is not None:
        return EncodeReport(out, **counts, encoded_texts=0, dim=dim, up_to_date=True)
    if counts["items_without_text"]:
        logger.warning("%s: %d items have no text and get no vector", dataset, counts["items_without_text"])

    check_devices(devices)
    several = devices is not None and len(devices) > 1
    # The pool moves the model to its devices itself.
    device = None if devices is None else "cpu" if several else devices[0]
    model: Any
    if reading is None:
        model = load_encoder(source, pooling, precision, device, max_tokens, layers, drop)
    elif pruning:
        raise ConfigurationError(
            f"{'drop' if drop else 'layers'}: encoder {source.name!r} reads key–value text and is used whole."
        )
    elif several:
        raise ConfigurationError(f"devices: encoder {source.name!r} reads key–value text, on one device at a time.")
    else:
        model = load_key_value_encoder(source, reading, pooling, precision, device, max_tokens)
    shards = ShardFolder(out.with_name(out.name + ".partial"), request, len(unique_texts), shard_size)
    vectors, encoded = _encode_missing(model, unique_texts, shards, devices, batch_size)
    row_of = {text: row for row, text in enumerate(unique_texts)}
    modules, effective_pooling = (
        describe_modules(model) if reading is None else ([type(model.encoder).__name__], model.encoder.pooling)
    )
    meta: dict[str, Any] = {
        "dataset": dataset,
        "encoder": source.name,
        "encoder_sha256": source.sha256,
        "encoder_revision": source.revision,
        "encoder_modules": modules,
        "pooling": effective_pooling,
        "max_tokens": model.max_seq_length,
        "layers": layers,
        "drop": list(drop),
        "template": template,
        "texts_hash": texts_hash,
        "request": request,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        **counts,
    }
    store = ItemEmbeddingStore(vectors[[row_of[text] for text in texts.values()]], list(texts), meta)
    with shards.kept():
        store.save(out)
    shards.remove()
    return EncodeReport(out, **counts, encoded_texts=encoded, dim=store.dim, up_to_date=False)


def _encode_missing(
    model: SentenceTransformer,
    texts: list[str],
    shards: ShardFolder,
    devices: Sequence[str] | None,
    batch_size: int,
) -> tuple[Tensor, int]:
    """Vectors of all texts, ``[len(texts), dim]``, and how many of them weren't in ``shards`` yet."""
    import torch
    from tqdm import tqdm

    finished = [shards.read(shard) for shard in range(len(shards))]
    found = sum(len(vectors) for vectors in finished if vectors is not None)
    if found:
        logger.info("%s: going on after %d of %d texts", shards.folder, found, len(texts))
    if found < len(texts):
        with (
            encoding(model, devices, batch_size) as encode_texts,
            tqdm(total=len(texts), initial=found, desc="encoding", unit="text", disable=None) as progress,
        ):
            for shard, vectors in enumerate(finished):
                if vectors is None:
                    shard_texts = texts[shards.bounds(shard)]
                    pieces: list[Tensor] = []
                    for piece in encode_texts(shard_texts):
                        pieces.append(piece)
                        progress.update(len(piece))
                    vectors = torch.cat(pieces)
                    _refuse_nonfinite(vectors, shard_texts)
                    shards.write(shard, vectors)
                    finished[shard] = vectors
    return torch.cat(finished), len(texts) - found


def _refuse_nonfinite(vectors: Tensor, texts: list[str]) -> None:
    finite = vectors.isfinite().all(dim=1)
    if not finite.all():
        text = texts[int((~finite).nonzero()[0])]
        raise EncoderError(
            f"the encoder gives NaN or infinite values for the text {text[:80]!r}. float16 overflows in some "
            "encoders: use precision bfloat16 or float32."
        )


def _width_if_up_to_date(out: Path, request: str) -> int | None:
    """Width of the vectors if ``out`` is a whole store that answers ``request``, without importing torch."""
    if not out.is_dir() or not any(out.iterdir()):
        return None
    try:
        meta = read_meta(out)
    except StoreError as error:
        logger.warning("%s", error)
        return None
    if meta.get("request") != request:
        logger.info("%s was made by another request (encoder, text or options changed): encoding anew", out)
        return None
    items, dim = int(meta["items"]), int(meta["dim"])
    if not has_vectors(out, items, dim):
        logger.warning("%s: its vectors are damaged: encoding anew", out)
        return None
    return dim


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
