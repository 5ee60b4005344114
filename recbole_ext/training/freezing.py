"""Parts of a model that keep their weights: item vectors for the first epochs, the sequential model's first blocks."""

from __future__ import annotations

from typing import Any

from recbole_ext.errors import ConfigurationError


def frozen_epochs(model: Any, config: Any) -> int:
    """For how many epochs the item vectors take no gradient: ``item_embedding_frozen_epochs``, 0 by default.

    Raises:
        ConfigurationError: not a number of epochs, or there are no item vectors of a store that would train.
    """
    epochs = _count(config, "item_embedding_frozen_epochs")
    if not epochs:
        return 0
    if not config["item_embedding"] or config["item_embedding_mode"] not in (None, "full"):
        raise ConfigurationError(
            "item_embedding_frozen_epochs: only vectors of a store that train later can wait: name one with "
            "item_embedding, and leave item_embedding_mode at full."
        )
    if hasattr(model, "item_vector_coverage"):
        raise ConfigurationError(
            f"item_embedding_frozen_epochs: {type(model).__name__} makes its items of the vectors; there is no item "
            "embedding of its own that could wait."
        )
    return epochs


def freeze_blocks(model: Any, config: Any) -> None:
    """Keep the first ``frozen_blocks`` transformer blocks as they were initialised; 0 by default.

    Raises:
        ConfigurationError: the model has no ``trm_encoder`` with blocks in ``layer`` (as RecBole's SASRec, BERT4Rec
            and others have), or fewer than that.
    """
    wanted = _count(config, "frozen_blocks")
    if not wanted:
        return
    blocks = getattr(getattr(model, "trm_encoder", None), "layer", None)
    if blocks is None:
        raise ConfigurationError(f"frozen_blocks: {type(model).__name__} has no transformer blocks. Leave the key out.")
    if wanted > len(blocks):
        raise ConfigurationError(f"frozen_blocks: {wanted}, but {type(model).__name__} has {len(blocks)} blocks.")
    for block in blocks[:wanted]:
        block.requires_grad_(False)


def _count(config: Any, key: str) -> int:
    value = config[key] or 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{key}: {value!r} is not a whole number from 0.")
    return value
