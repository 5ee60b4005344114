"""Time and memory of runs and encodings before they are made: arithmetic counted, not measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recbole_ext.data.keys import Settings
from recbole_ext.tune.settings import TuneSettings

EFFICIENCY = 0.4
"""The part of a matrix product's speed that training reaches: about that on `Scientific`, SASRec, one or two cores."""
LOADED_MB = 600
"""Resident memory of a process that has torch and RecBole loaded and nothing else."""
TOKENS_OF_A_TEXT = 64
"""Assumed where ``max_tokens`` does not say less."""
ATTRIBUTES = 3
"""Of an item in a sequence, where none are named."""
GPT2_NAMES = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer"}
"""What GPT-2's ``config.json`` calls it."""
TOKENS_OF_A_STEP = 8192
"""Of RECFORMER, which splits larger batches."""


@dataclass(frozen=True)
class DatasetSize:
    """``at_least``: interactions are not known, and no less than this."""

    users: int
    items: int
    interactions: int
    at_least: bool = False


@dataclass(frozen=True)
class Estimate:
    """``operations``: floating-point operations; ``memory_mb``: at the peak."""

    operations: float
    memory_mb: float

    def seconds(self, speed: float) -> float:
        """On a device whose matrix products run at ``speed`` operations per second."""
        return self.operations / (speed * EFFICIENCY)


def estimate_run(config: Settings, size: DatasetSize) -> Estimate:
    """All epochs of one run of a transformer with ``hidden_size``, ``n_layers`` and ``inner_size``.

    Per training token each layer costs 2 (4 d² + 2 d d_inner) operations and its attention 4 L d; per target a softmax
    over all items costs 2 d per item; backward costs twice as much as forward. Every epoch ends with an evaluation.
    Parameters are kept four times (value, gradient and Adam's two means).
    """
    width = int(config.get("hidden_size") or config.get("embedding_size") or 64)
    layers = int(config.get("n_layers") or config.get("num_layers") or 1)
    inner = int(config.get("inner_size") or 4 * width)
    length = int(config["MAX_ITEM_LIST_LENGTH"])
    weights = layers * (4 * width**2 + 2 * width * inner)
    tokens = max(size.interactions - 2 * size.users, size.users)
    history = min(length, max(tokens // max(size.users, 1), 1))
    per_token = 2 * weights + layers * 4 * history * width
    targets = tokens * float(config.get("mask_ratio") or 1.0)
    all_items = (config.get("training_loss") or "model") in ("model", "softmax")
    scored = size.items if all_items else int(config.get("training_negatives") or 1000)
    training = 3 * (tokens * per_token + targets * 2 * width * scored)
    evaluation = size.users * (history * per_token + 2 * width * size.items)
    logits = min(int(config["train_batch_size"]) * history * scored, 2**27)
    scores = min(int(config["eval_batch_size"]) * size.items, 2**28)
    parameters = (size.items + length) * width + weights
    megabytes = (16 * parameters + 8 * logits + 8 * scores + 24 * size.interactions) / 2**20
    return Estimate(int(config["epochs"]) * (training + evaluation), LOADED_MB + megabytes)


SHAPES: dict[str, Settings] = {
    "allenai/longformer-base-4096": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "vocab_size": 50265,
    },
}
"""What the ``config.json`` of encoders of our presets says, for where they are not on this machine."""


def estimate_encoding(encoder: dict[str, Any], items: int, max_tokens: int | None) -> Estimate:
    """Texts of ``items`` through a transformer of this Hugging Face ``config.json``."""
    shape = _Transformer.of(encoder)
    tokens = items * min(max_tokens or TOKENS_OF_A_TEXT, TOKENS_OF_A_TEXT)
    return Estimate(shape.forward(tokens), LOADED_MB + (4 * shape.parameters + 4 * items * shape.width) / 2**20)


def estimate_tuning(encoder: dict[str, Any], sources: Sequence[DatasetSize], settings: TuneSettings) -> Estimate:
    """Behaviour tuning of a transformer of this ``config.json`` on source domains of these sizes.

    An example is a user's sequence and the item after it, read once plain and once masked as the objective has it, or
    a pair of texts. Backward costs twice as much as forward; guessed words cost a softmax over the vocabulary.
    """
    shape = _Transformer.of(encoder)
    if settings.objective == "pairs":
        examples = sum(size.interactions - 3 * size.users for size in sources)
        tokens, readings, masked = 2 * min(settings.max_tokens, TOKENS_OF_A_TEXT), 1, 0.0
    else:
        examples = sum(size.users for size in sources)
        history = sum(size.interactions - 2 * size.users for size in sources) // max(examples, 1)
        reading = settings.model_dump()
        tokens = _tokens_of_a_sequence(history, reading) + _tokens_of_a_sequence(1, reading)
        readings = 2 if settings.objective == "recformer" else 1
        masked = settings.mask_probability if settings.objective != "contrast" else 0.0
    per_example = readings * shape.forward(tokens) + masked * tokens * 2 * shape.words
    passes = settings.epochs * settings.sequences * max(examples, 0)
    step = settings.batch_size * tokens * readings
    logits = 3 * 4 * settings.batch_size * tokens * masked * shape.vocabulary
    megabytes = (16 * shape.parameters + 4 * step * shape.kept_per_token + logits) / 2**20
    return Estimate(3 * passes * per_example, LOADED_MB + megabytes)


def estimate_recformer(
    encoder: dict[str, Any], size: DatasetSize, config: Settings, tuned: TuneSettings | None
) -> Estimate:
    """All epochs of both stages of RECFORMER, one sequence per user each, and the evaluations after them.

    ``tuned``: how the encoder was tuned to read items, which the model's own keys override.
    """
    shape = _Transformer.of(encoder)
    own = {"attributes": config.get("item_attributes"), **config}
    keys = ("attributes", "attribute_tokens", "max_items", "max_tokens")
    reading = {key: own.get(key) or (getattr(tuned, key) if tuned else None) for key in keys}
    history = max(size.interactions - 2 * size.users, 0) // max(size.users, 1)
    users = shape.forward(size.users * _tokens_of_a_sequence(history, reading))
    items = shape.forward(size.items * _tokens_of_a_sequence(1, reading))
    one, two = int(config["stage_one_epochs"]), int(config["stage_two_epochs"])
    scores = 3 * size.users * 2 * shape.width * size.items
    megabytes = (
        16 * shape.parameters + 8 * size.items * shape.width + 4 * TOKENS_OF_A_STEP * shape.kept_per_token
    ) / 2**20
    return Estimate((one + two) * (4 * users + scores) + one * items, LOADED_MB + megabytes)


def _tokens_of_a_sequence(history: int, reading: Settings) -> int:
    """Of ``history`` items read as ``reading`` says; unset keys stand for RECFORMER's defaults."""
    attributes = len(reading["attributes"] or ()) or ATTRIBUTES
    of_item = min(attributes * (reading["attribute_tokens"] or 32), TOKENS_OF_A_TEXT)
    return 1 + min(min(max(history, 1), reading["max_items"] or 50) * of_item, reading["max_tokens"] or 1024)


@dataclass(frozen=True)
class _Transformer:
    """The shape that a Hugging Face ``config.json`` describes, biases and norms aside."""

    width: int
    layers: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> _Transformer:
        width, layers = (int(config.get(name) or config[gpt2]) for name, gpt2 in GPT2_NAMES.items())
        return cls(width, layers, int(config.get("intermediate_size") or 4 * width), int(config.get("vocab_size") or 0))

    @property
    def weights(self) -> int:
        return self.layers * (4 * self.width**2 + 2 * self.width * self.inner)

    @property
    def words(self) -> int:
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        return self.weights + self.words

    @property
    def kept_per_token(self) -> int:
        """Numbers that the backward pass needs: some ten of the width and two of the inner width in a layer."""
        return self.layers * (10 * self.width + 2 * self.inner)

    def forward(self, tokens: int) -> float:
        """Operations; attention itself is left out, which short sequences allow."""
        return 2.0 * self.weights * tokens


def measured_speed() -> tuple[str, float]:
    """This machine's device and the operations per second that a matrix product reaches on it, in single precision."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = 4096 if device.type == "cuda" else 768
    left, right = torch.randn(2, size, size, device=device)
    best = 0.0
    for _ in range(4):
        began = time.perf_counter()
        (left @ right).sum().item()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return name, best
