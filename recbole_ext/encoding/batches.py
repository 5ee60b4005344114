"""Texts through an encoder, on one device or on several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import ConfigurationError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor


@contextmanager
def encoding(
    model: SentenceTransformer, devices: Sequence[str] | None, batch_size: int, **options: Any
) -> Iterator[Callable[[list[str]], Iterator[Tensor]]]:
    """Yield a function from texts to their vectors, ``[n, dim]`` on the CPU, in pieces and in order.

    One device encodes batch by batch, a piece each. Several share the texts through sentence-transformers'
    own process pool, which lives as long as this context, so that its start is paid once; the piece is then
    the whole. Pass texts of similar length together: a batch is padded to its longest. ``options`` go to
    ``model.encode``.
    """
    import torch

    def tensor(vectors: Tensor) -> Tensor:
        # sentence-transformers works under inference_mode; its tensors refuse ordinary use.
        return torch.as_tensor(vectors).cpu().clone()

    if devices is None or len(devices) == 1:

        def encode_here(texts: list[str]) -> Iterator[Tensor]:
            for start in range(0, len(texts), batch_size):
                batch = texts[start : start + batch_size]
                yield tensor(
                    model.encode(
                        batch, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False, **options
                    )
                )

        yield encode_here
        return

    pool = model.start_multi_process_pool(list(devices))

    def encode_in_pool(texts: list[str]) -> Iterator[Tensor]:
        yield tensor(
            model.encode(
                texts,
                batch_size=batch_size,
                convert_to_tensor=True,
                pool=pool,
                # A batch a message keeps all devices busy to the end of a shard.
                chunk_size=batch_size,
                show_progress_bar=False,
                **options,
            )
        )

    try:
        yield encode_in_pool
    finally:
        model.stop_multi_process_pool(pool)


def check_devices(devices: Sequence[str] | None) -> None:
    """Raise ConfigurationError unless torch can use each of ``devices``."""
    if devices is None:
        return
    import torch

    if not devices:
        raise ConfigurationError("devices: the list is empty; leave it out to let torch choose.")
    for name in devices:
        try:
            torch.empty(0, device=name)
        # An unknown word, a build without CUDA and a missing card have three different types.
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(f"devices: {name!r} can't be used here ({reason}). cpu always works.") from error
