"""What a behaviour tuning can be told, on the command line and in a benchmark's YAML alike."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from recbole_ext.settings import CheckedSettings, Seed

NEAREST = 30
"""An item's hard negatives are drawn from so many that are nearest to it."""
RECALL = "eval_recall@10"
"""In a tuning's curve: how often the held-out sequences' next items are found."""


class TuneSettings(CheckedSettings):
    """What every objective can be told. Defaults are RECFORMER's pre-training where it has the setting."""

    reads_key_values: ClassVar[bool] = False
    """Whether items are read as key–value pairs in sequences (RECFORMER's way) rather than as a line of text each."""

    @property
    def counts_sequences(self) -> bool:
        """Whether the loss depends on all sequences that are tuned on, beyond the examples of a batch."""
        return False

    pooling: Literal["cls", "mean", "last"] | None = None
    """Default: the encoder's own. One that has none is pooled at its first token (cls) by the objectives over key–value
    sequences, and as `encode` does it by the others."""
    layers: int | None = Field(default=None, ge=1)
    """Tune the first so many layers of the encoder; the rest is cut off before."""
    max_tokens: int = Field(default=1024, ge=4)
    """Tokens of a sequence, or of an item where the objective reads items one by one."""
    freeze_words: bool = True
    """Keep the word embeddings as they are."""
    lora_rank: int | None = Field(default=None, ge=1)
    """Tune additions of this rank to the encoder's linear layers (LoRA, Hu et al., ICLR 2022) and nothing else of it,
    for encoders too large to be tuned whole; they are merged into the tuned encoder. Needs the package peft."""
    lora_alpha: float | None = Field(default=None, gt=0)
    """The additions are scaled by lora_alpha / lora_rank. Default: twice the rank."""
    sequences: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the source sequences that is used."""
    source_temperature: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    """How several source domains are mixed: a domain with n examples has a part of n^(1/temperature) in each epoch,
    which stays as long. 1: every example once; the higher, the more alike the domains' parts."""
    held_out: float = Field(default=0.05, ge=0, lt=1)
    """Fraction of the sequences that measures the tuning instead of being tuned on. Of more than 1,000 the loss reads
    the first 1,000, and the recall 1,000 drawn at random."""
    epochs: float = Field(default=3, gt=0)
    """Passes over the examples; a fraction ends within one."""
    evaluate_every: float = Field(default=1.0, gt=0, le=1)
    """Epochs between two evaluations on the held-out sequences."""
    patience: int | None = Field(default=None, ge=1)
    """End after so many evaluations that find the held-out sequences' next items no better, and keep the best one's
    weights. By default all epochs are done and the last weights kept."""
    batch_size: int = Field(default=64, ge=2)
    """Examples in a step on one device; they are each other's negatives."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients make one step."""
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    """Of AdamW, at its highest; 1e-6 to 1e-3 are usual, and above 1 no encoder is left."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Of the encoder in tuning and, through its folder, in what is trained from it. Default: the encoder's own."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW."""
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Fraction of the steps in which the learning rate rises."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the forward and backward pass; weights stay float32."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    checkpoint_steps: int = Field(default=200, ge=1)
    """Steps between two checkpoints, the most that an interruption costs."""
    seed: Seed = 42
    """Of held-out sequences, cuts, masks, order and dropout."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the encoder."""

    def request(self) -> dict[str, Any]:
        """What of them decides the tuned encoder, as JSON values. Without its code an encoder is not loaded at all."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"trust_remote_code"})

    @model_validator(mode="after")
    def _patience_needs_sequences(self) -> TuneSettings:
        if self.patience is not None and not self.held_out:
            raise ValueError("patience: held_out is 0, and without held-out sequences nothing says what is better")
        return self

    @model_validator(mode="after")
    def _lora_leaves_the_rest(self) -> TuneSettings:
        if self.lora_alpha is not None and self.lora_rank is None:
            raise ValueError("lora_alpha: says nothing without lora_rank")
        if self.lora_rank is not None and not self.freeze_words:
            raise ValueError("lora_rank: the word embeddings stay as they are; leave freeze_words out")
        return self


class _Contrasting(TuneSettings):
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by."""


class _Debiasing(_Contrasting):
    debias: float = Field(default=0.0, ge=0, le=1)
    """How much of the logarithm of an item's frequency is taken off its logit: 1 corrects for popular items being
    negatives more often, 0 does not."""

    @property
    def counts_sequences(self) -> bool:
        return self.debias > 0


class _Masking(TuneSettings):
    mask_probability: float = Field(default=0.15, gt=0, lt=1)
    """Fraction of the words that is masked."""


class _ReadingSequences(TuneSettings):
    reads_key_values: ClassVar[bool] = True

    attributes: tuple[str, ...] | None = None
    """Item fields that are read, in order; by default those that the dataset config's item_text names."""
    attribute_tokens: int = Field(default=32, ge=2)
    """Tokens kept of an attribute, its key's included."""
    max_items: int = Field(default=50, ge=1)
    """Items of a sequence, the newest ones."""
    attention_window: int | None = Field(default=None, ge=2, multiple_of=2)
    """Of a Longformer, and of no other encoder: tokens that a token sees around it, half of them on either side.
    Default: a tuned encoder's own; of another Longformer RECFORMER's 64, or its own where that is narrower."""

    def request(self) -> dict[str, Any]:
        """The default window is told too: it was the encoder's own before."""
        return {"attention_window": "at most 64", **super().request()}


class RecformerSettings(_Debiasing, _Masking, _ReadingSequences):
    """Of :class:`recbole_ext.tuning.objectives.recformer.Recformer`."""

    mlm_weight: float = Field(default=0.1, ge=0)
    """Weight of masked language modelling beside the contrast."""


class ContrastSettings(_Debiasing, _ReadingSequences):
    """Of :class:`recbole_ext.tuning.objectives.recformer.Contrast`."""


class MaskedLanguageModelSettings(_Masking, _ReadingSequences):
    """Of :class:`recbole_ext.tuning.objectives.recformer.MaskedLanguageModel`."""


class PairsSettings(_Debiasing):
    """Of :class:`recbole_ext.tuning.objectives.pairs.Pairs`."""

    window: int = Field(default=1, ge=1)
    """Items at most so many steps apart are a pair; beyond 1, an item has several positives."""
    spare_neighbours: bool = False
    """Items that are a pair anywhere in the sequences that are tuned on are never each other's negatives."""
    hard_negatives: int = Field(default=0, ge=0, le=NEAREST)
    """For each pair so many more negatives, 30 at most: items of the same domain whose texts were nearest to the pair's
    first item before the tuning, without those that are a pair with it."""

    @property
    def counts_sequences(self) -> bool:
        return super().counts_sequences or self.spare_neighbours or self.hard_negatives > 0


class ItemContrastSettings(_Contrasting):
    """Of :class:`recbole_ext.tuning.objectives.item_contrast.ItemContrast`."""

    dropout: float | None = Field(default=0.2, gt=0, lt=1)
    """Of the encoder in tuning and, through its folder, in what is trained from it: all that tells an item's two
    readings apart."""


class AttributeContrastSettings(_Contrasting):
    """Of :class:`recbole_ext.tuning.objectives.attribute_contrast.AttributeContrast`."""

    left_out: float = Field(default=0.4, ge=0, lt=1)
    """Part of an item's attributes (the parts of its text) that a copy is without, rounded down."""


class NextTitleSettings(TuneSettings):
    """Of :class:`recbole_ext.tuning.objectives.next_title.NextTitle`."""

    max_items: int = Field(default=10, ge=2)
    """Items that are read one after the other; longer sequences are read in pieces."""
    item_tokens: int = Field(default=32, ge=1)
    """Tokens kept of an item's text."""
    batch_size: int = Field(default=8, ge=2)
    """Pieces of sequences in a step on one device: each token of them costs a row as long as the vocabulary."""
