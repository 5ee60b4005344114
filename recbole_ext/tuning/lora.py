"""Low-rank additions to an encoder's linear layers (LoRA, Hu et al., ICLR 2022), through ``peft``."""

from __future__ import annotations

from typing import Any

from recbole_ext.errors import EncoderError


def add_lora(base: Any, rank: int, alpha: float | None) -> Any:
    """Put additions of this rank beside every linear layer of a Hugging Face model, in place, and freeze the rest.

    Args:
        alpha: they are scaled by ``alpha / rank``; by default twice the rank.

    Returns:
        peft's tuner, whose ``merge_and_unload`` adds them to the weights, in place.

    Raises:
        EncoderError: ``peft`` is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise EncoderError("lora_rank: LoRA is done by the package peft: pip install peft.") from error
    # Longformer's projections for global attention are read by their weights, past the module.
    read_past = ["key_global", "value_global"] if base.config.model_type == "longformer" else None
    alpha = 2 * rank if alpha is None else alpha
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", exclude_modules=read_past)  # type: ignore[arg-type]
    return LoraModel(base, config, "default")
