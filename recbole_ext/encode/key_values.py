"""Items through an encoder that was tuned by RECFORMER's objectives: key–value tokens instead of a line of text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_ext.encode.source import EncoderSource
from recbole_ext.text import key_values

if TYPE_CHECKING:
    from torch import Tensor

    from recbole_ext.recformer.encoder import BehaviourEncoder


def render_key_values(fields: pd.DataFrame, attributes: Sequence[str]) -> pd.Series:
    """Each item's key–value pairs as one JSON text, ``""`` for an item without any; the index is that of ``fields``."""
    pairs = key_values(fields, attributes)
    texts = [json.dumps(item, ensure_ascii=False) if item else "" for item in pairs]
    return pd.Series(texts, index=fields.index, name="text", dtype=object)


class KeyValueEncoder:
    """What the stage needs of an encoder, for texts of :func:`render_key_values`."""

    def __init__(self, encoder: BehaviourEncoder, tokenizer: Any, attribute_tokens: int, max_tokens: int) -> None:
        self.encoder, self.tokenizer = encoder, tokenizer
        self.attribute_tokens, self.max_seq_length = attribute_tokens, max_tokens

    def encode(self, texts: list[str], batch_size: int = 64, **_: Any) -> Tensor:
        """Pooled vectors, ``[texts, width]``."""
        from recbole_ext.recformer.item_tokens import ItemTokens

        tokens = ItemTokens.of(
            [json.loads(text) for text in texts], self.tokenizer, self.attribute_tokens, 1, self.max_seq_length
        )
        return self.encoder.encode_items(tokens, batch_tokens=batch_size * 128)[1:]


def load_key_value_encoder(
    source: EncoderSource,
    reading: dict[str, Any],
    pooling: str | None,
    precision: str,
    device: str | None,
    max_tokens: int | None,
) -> KeyValueEncoder:
    """Load a folder that ``tune`` wrote; arguments as for :func:`recbole_ext.encode.encoder.load_encoder`.

    Raises:
        EncoderError: it can't be loaded.
    """
    import torch

    from recbole_ext.recformer.encoder import load_behaviour_encoder

    encoder, tokenizer, _ = load_behaviour_encoder(source, pooling=pooling)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device, getattr(torch, precision)).eval()
    limit = min(max_tokens or reading["max_tokens"], encoder.longest)
    return KeyValueEncoder(encoder, tokenizer, reading["attribute_tokens"], limit)
