"""What a behaviour tuning can be told, on the command line and in a benchmark's YAML alike."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

OBJECTIVES = ("recformer", "contrast", "mlm", "pairs")


class TuneSettings(BaseModel):
    """One behaviour tuning. Defaults are RECFORMER's pre-training where it has the setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Literal["recformer", "contrast", "mlm", "pairs"] = "recformer"
    attributes: tuple[str, ...] | None = None
    """Item fields that are read, in order; by default those that the dataset config's ``item_text`` names."""
    attribute_tokens: int = Field(default=32, ge=2)
    """Tokens kept of an attribute, its key's included."""
    max_items: int = Field(default=50, ge=1)
    """Items of a sequence, the newest ones."""
    max_tokens: int = Field(default=1024, ge=4)
    """Tokens of a sequence (``pairs``: of an item)."""
    pooling: Literal["cls", "mean", "last"] | None = None
    """Default: the encoder's own; ``cls`` where it has none."""
    temperature: float = Field(default=0.05, gt=0)
    mask_probability: float = Field(default=0.15, gt=0, lt=1)
    mlm_weight: float = Field(default=0.1, ge=0)
    """Weight of masked language modelling beside the contrast (``recformer``)."""
    freeze_words: bool = True
    """Keep the word embeddings as they are."""
    sequences: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the source sequences that is used."""
    held_out: float = Field(default=0.05, ge=0, lt=1)
    """Fraction of the sequences that measures the loss after every epoch instead of being tuned on."""
    epochs: float = Field(default=3, gt=0)
    batch_size: int = Field(default=64, ge=2)
    """Sequences (``pairs``: pairs) in a step on one device; they are each other's negatives."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients make one step."""
    learning_rate: float = Field(default=5e-5, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Fraction of the steps in which the learning rate rises."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(default=200, ge=1)
    """Steps between two checkpoints, the most that an interruption costs."""
    seed: int = 42
