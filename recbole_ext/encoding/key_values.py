"""Items through an encoder that was tuned by RECFORMER's objectives: key–value tokens instead of a line of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.encoding.settings import EncodingSettings
from recbole_ext.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from recbole_ext.recformer.encoder import BehaviourEncoder

WITHOUT_MEANING = ("prompt", "prompt_name", "average_layers", "layers", "drop", "adapter")
"""Settings for encoders that read plain text; this one is used whole."""


class KeyValueEncoder:
    """What the stage needs of an encoder, for items written as JSON texts of their pairs of key and value."""

    def __init__(self, encoder: BehaviourEncoder, tokenizer: Any, attribute_tokens: int, max_tokens: int) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.attribute_tokens, self.max_seq_length = attribute_tokens, max_tokens

    def encode(self, texts: list[str], batch_size: int = 64, truncate_dim: int | None = None, **_: Any) -> Tensor:
        """Pooled vectors, ``[texts, width]``."""
        from recbole_ext.recformer.item_tokens import ItemTokens

        tokens = ItemTokens.of(
            [json.loads(text) for text in texts], self.tokenizer, self.attribute_tokens, 1, self.max_seq_length
        )
        return self.encoder.encode_items(tokens, batch_tokens=batch_size * 128)[1:, :truncate_dim]


def load_key_value_encoder(
    source: ResolvedEncoder, reading: dict[str, Any], settings: EncodingSettings, device: str | None
) -> KeyValueEncoder:
    """Load a folder that ``tune`` wrote.

    Raises:
        ConfigurationError: a setting that is about encoders that read plain text.
        EncoderError: it can't be loaded.
    """
    import torch

    from recbole_ext.recformer.encoder import load_behaviour_encoder

    for key in WITHOUT_MEANING:
        if getattr(settings, key) not in (None, ()):
            raise ConfigurationError(f"{key}: encoder {source.name!r} reads key–value text and is used whole.")
    if settings.pooling == "last":
        raise ConfigurationError(f"pooling: encoder {source.name!r} reads key–value text; choose cls or mean.")
    encoder, tokenizer, _ = load_behaviour_encoder(
        source, pooling=settings.pooling, trust_remote_code=settings.trust_remote_code
    )
    if settings.dim is not None and settings.dim > encoder.width:
        raise ConfigurationError(f"dim: {settings.dim} is more than the width of {source.name!r}, {encoder.width}.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device, getattr(torch, settings.precision)).eval()
    limit = min(settings.max_tokens or reading["max_tokens"], encoder.longest)
    return KeyValueEncoder(encoder, tokenizer, reading["attribute_tokens"], limit)
