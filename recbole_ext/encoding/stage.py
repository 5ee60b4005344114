"""The stage: texts in, their vectors out, nothing encoded twice."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.allocator import out_of_memory_as
from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.encoding.batches import check_devices, encoding
from recbole_ext.encoding.encoder import describe_modules, encoding_options, load_encoder
from recbole_ext.encoding.key_values import load_key_value_encoder
from recbole_ext.encoding.settings import Compute, EncodingSettings
from recbole_ext.encoding.shards import Shard, ShardFolder
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.hashing import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

logger = logging.getLogger(__name__)

TOO_LARGE = "while encoding: lower batch_size (--batch-size) or max_tokens, or set precision: bfloat16."


@dataclass(frozen=True)
class Encoded:
    """Vectors ``[texts, dim]``, and what there is to say about them.

    Attributes:
        unique_texts: different texts among them.
        encoded_texts: texts that this call encoded; the rest came from an earlier call that was interrupted.
        seconds: that encoding the different texts took, in all calls, without loading the encoder.
        parameters: of the encoder, as it was used.
        devices: that it was used on, as torch names them.
        meta: for the store: how the encoder was used.
        shards: what is to be removed once the vectors are in their store.
    """

    vectors: Tensor
    unique_texts: int
    encoded_texts: int
    seconds: float
    parameters: int
    devices: tuple[str, ...]
    meta: dict[str, Any]
    shards: ShardFolder


def encode_texts(
    source: ResolvedEncoder,
    settings: EncodingSettings,
    texts: Sequence[str],
    work: Path,
    compute: Compute | None = None,
) -> Encoded:
    """Encode ``texts``, each different one once; the vectors lie in memory once, and a shard beside them.

    An interrupted call leaves its finished shards in ``work``; the next one goes on from there and encodes at most one
    shard again.

    Args:
        texts: lines of text; for an encoder that reads key–value pairs each item's as JSON.

    Raises:
        EncoderError: the encoder can't be loaded, gives NaN or infinite vectors, or the same for all texts.
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
    place = {text: number for number, text in enumerate(unique_texts)}
    filled = _encode_missing(model, unique_texts, [place[text] for text in texts], shards, compute, options)
    if len(unique_texts) > 1 and _all_alike(filled.vectors):
        shards.remove()
        raise EncoderError(
            f"encoder {source.name!r} gives one and the same vector for all {len(unique_texts)} different texts, which "
            "says nothing about an item. It reads nothing of them: raise max_tokens, shorten the prompt, take another "
            "pooling (a decoder's first token has read no other), or see that its tokenizer knows their letters."
        )
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
    module = model if reading is None else model.encoder
    return Encoded(
        filled.vectors,
        len(unique_texts),
        filled.encoded_now,
        filled.seconds,
        sum(parameter.numel() for parameter in module.parameters()),
        compute.devices or (str(getattr(next(module.parameters(), None), "device", "cpu")),),
        meta,
        shards,
    )


@dataclass(frozen=True)
class _Filled:
    """Vectors ``[items, dim]``; how many texts weren't in the shards yet; seconds of all shards."""

    vectors: Tensor
    encoded_now: int
    seconds: float


def _encode_missing(
    model: SentenceTransformer,
    texts: list[str],
    text_of_item: list[int],
    shards: ShardFolder,
    compute: Compute,
    options: dict[str, Any],
) -> _Filled:
    """Vectors of all items, of which ``text_of_item`` says which of the different ``texts`` is theirs."""
    import torch
    from tqdm import tqdm

    vectors: Tensor | None = None
    encode: Callable[[list[str]], Iterator[Tensor]] | None = None
    encoded, seconds = 0, 0.0
    numbers = torch.tensor(text_of_item)
    by_text = numbers.argsort(stable=True)
    first_of = torch.searchsorted(numbers[by_text], torch.arange(len(texts) + 1))
    with ExitStack() as opened, tqdm(total=len(texts), desc="encoding", unit="text", disable=None) as progress:
        for shard in range(len(shards)):
            bounds = shards.bounds(shard)
            finished = shards.read(shard)
            if finished is not None:
                progress.update(len(finished.vectors))
            else:
                if encode is None:
                    if shard:
                        logger.info("%s: going on after %d of %d texts", shards.folder, bounds.start, len(texts))
                    encode = opened.enter_context(encoding(model, compute.devices, compute.batch_size, **options))
                pieces: list[Tensor] = []
                began = time.perf_counter()
                with out_of_memory_as(EncoderError, TOO_LARGE):
                    for piece in encode(texts[bounds]):
                        pieces.append(piece)
                        progress.update(len(piece))
                finished = Shard(torch.cat(pieces), time.perf_counter() - began)
                _refuse_nonfinite(finished.vectors, texts[bounds])
                shards.write(shard, finished)
                encoded += len(finished.vectors)
            seconds += finished.seconds
            if vectors is None:  # filled in place: a million items are not to lie in memory twice
                vectors = finished.vectors.new_empty(len(text_of_item), finished.vectors.shape[1])
            items = by_text[first_of[bounds.start] : first_of[bounds.stop]]
            vectors[items] = finished.vectors[numbers[items] - bounds.start]
    assert vectors is not None
    return _Filled(vectors, encoded, seconds)


def _all_alike(vectors: Tensor) -> bool:
    """Whether all rows of ``[items, dim]`` are the same, but for rounding."""
    import torch

    return all(torch.allclose(piece, vectors[:1], rtol=1e-5, atol=1e-7) for piece in vectors.split(1024))


def _refuse_nonfinite(vectors: Tensor, texts: list[str]) -> None:
    finite = vectors.isfinite().all(dim=1)
    if not finite.all():
        text = texts[int((~finite).nonzero()[0])]
        raise EncoderError(
            f"the encoder gives NaN or infinite values for the text {text[:80]!r}. float16 overflows in some "
            "encoders: use precision bfloat16 or float32."
        )
