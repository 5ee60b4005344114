"""The stage: texts in, their vectors out, nothing encoded twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.encoding.batches import check_devices, encoding
from recbole_ext.encoding.encoder import describe_modules, encoding_options, load_encoder
from recbole_ext.encoding.key_values import load_key_value_encoder
from recbole_ext.encoding.settings import Compute, EncodingSettings
from recbole_ext.encoding.shards import ShardFolder
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.hashing import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Vectors ``[texts, dim]``, and what there is to say about them.

    Attributes:
        unique_texts: different texts among them.
        encoded_texts: texts that this call encoded; the rest came from an earlier call that was interrupted.
        meta: for the store: how the encoder was used.
        shards: what is to be removed once the vectors are in their store.
    """

    vectors: Tensor
    unique_texts: int
    encoded_texts: int
    meta: dict[str, Any]
    shards: ShardFolder


def encode_texts(
    source: ResolvedEncoder,
    settings: EncodingSettings,
    texts: Sequence[str],
    work: Path,
    compute: Compute | None = None,
) -> Encoded:
    """Encode ``texts``, each different one once.

    An interrupted call leaves its finished shards in ``work``; the next one goes on from there and encodes at most one
    shard again.

    Args:
        texts: lines of text; for an encoder that reads key–value pairs each item's as JSON.

    Raises:
        EncoderError: the encoder can't be loaded, or gives NaN or infinite vectors.
        StoreError: ``work`` is something else than unfinished work.
        WriteError: a shard can't be written.
        ConfigurationError: a setting that does not fit the encoder.
    """
    compute = compute or Compute()
    check_devices(compute.devices)
    several = compute.devices is not None and len(compute.devices) > 1
    # The pool moves the model to its devices itself.
    device = None if compute.devices is None else "cpu" if several else compute.devices[0]
    reading = source.key_value_reading
    model: Any
    if reading is None:
        model = load_encoder(source, settings, device)
    elif several:
        raise ConfigurationError(f"devices: encoder {source.name!r} reads key–value text, on one device at a time.")
    else:
        model = load_key_value_encoder(source, reading, settings, device)
    # Longest first, as sentence-transformers sorts within a call: a batch pads little, and what doesn't fit
    # in memory fails at once rather than at the end. The order is the same in every call, so shards can be
    # reused.
    unique_texts = sorted(set(texts), key=lambda text: (-len(text), text))
    request = sha256_of([source.identity, settings.reading(), unique_texts])
    shards = ShardFolder(work, request, len(unique_texts), compute.shard_size)
    options = encoding_options(model, settings) if reading is None else {"truncate_dim": settings.dim}
    vectors, encoded = _encode_missing(model, unique_texts, shards, compute, options)
    row_of = {text: row for row, text in enumerate(unique_texts)}
    modules, pooling = (
        describe_modules(model) if reading is None else ([type(model.encoder).__name__], model.encoder.pooling)
    )
    meta = {
        "encoder": source.name,
        "encoder_identity": source.identity,
        "encoder_modules": modules,
        "pooling": pooling,
        "max_tokens": model.max_seq_length,
        "padding": getattr(model.tokenizer, "padding_side", None) if reading is None else "right",
        "unique_texts": len(unique_texts),
    }
    return Encoded(vectors[[row_of[text] for text in texts]], len(unique_texts), encoded, meta, shards)


def _encode_missing(
    model: SentenceTransformer, texts: list[str], shards: ShardFolder, compute: Compute, options: dict[str, Any]
) -> tuple[Tensor, int]:
    """Vectors of all texts, ``[len(texts), dim]``, and how many of them weren't in ``shards`` yet."""
    import torch
    from tqdm import tqdm

    vectors: Tensor | None = None
    encode: Callable[[list[str]], Iterator[Tensor]] | None = None
    encoded = 0
    with ExitStack() as opened, tqdm(total=len(texts), desc="encoding", unit="text", disable=None) as progress:
        for shard in range(len(shards)):
            bounds = shards.bounds(shard)
            finished = shards.read(shard)
            if finished is not None:
                progress.update(len(finished))
            else:
                if encode is None:
                    if shard:
                        logger.info("%s: going on after %d of %d texts", shards.folder, bounds.start, len(texts))
                    encode = opened.enter_context(encoding(model, compute.devices, compute.batch_size, **options))
                pieces: list[Tensor] = []
                for piece in encode(texts[bounds]):
                    pieces.append(piece)
                    progress.update(len(piece))
                finished = torch.cat(pieces)
                _refuse_nonfinite(finished, texts[bounds])
                shards.write(shard, finished)
                encoded += len(finished)
            if vectors is None:  # filled in place: a million items are not to lie in memory twice
                vectors = finished.new_empty(len(texts), finished.shape[1])
            vectors[bounds] = finished
    assert vectors is not None
    return vectors, encoded


def _refuse_nonfinite(vectors: Tensor, texts: list[str]) -> None:
    finite = vectors.isfinite().all(dim=1)
    if not finite.all():
        text = texts[int((~finite).nonzero()[0])]
        raise EncoderError(
            f"the encoder gives NaN or infinite values for the text {text[:80]!r}. float16 overflows in some "
            "encoders: use precision bfloat16 or float32."
        )
