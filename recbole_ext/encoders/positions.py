"""How many tokens a transformer can read, by its own table of positions."""

from __future__ import annotations

from typing import Any


def readable_tokens(transformer: Any) -> int | None:
    """The longest input of a Hugging Face transformer; ``None`` where nothing bounds it.

    A table of positions with a padding index (RoBERTa and its kin, MPNet, Longformer) begins after it: of 514 rows 512
    are positions. Tokenizers that should say so often don't (sentence-transformers issue 1600).
    """
    import torch

    config = transformer.config
    limit = getattr(config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    for name, module in transformer.named_modules():
        is_table = isinstance(module, torch.nn.Embedding) and module.num_embeddings == limit
        if is_table and "position" in name.rpartition(".")[2] and isinstance(module.padding_idx, int):
            return limit - module.padding_idx - 1
    return limit
