"""``recbole-ext bench utilisation``: tokens per second of tuning and encoding, and their part of the device's peak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from recbole_ext.bench.measuring import peak_memory, timed
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import ConfigurationError
from recbole_ext.estimate import Transformer
from recbole_ext.machine import device_in_words, forget_peak_device_memory
from recbole_ext.moving import moved
from recbole_ext.recformer.encoder import BehaviourEncoder
from recbole_ext.recformer.item_tokens import ItemTokens
from recbole_ext.tuning.corpus import read_corpus
from recbole_ext.tuning.objectives.recformer import Contrast
from recbole_ext.tuning.settings import RecformerSettings
from recbole_ext.tuning.trainer import ByLength

ENCODERS: dict[str, tuple[str, dict[str, int]]] = {
    "MiniLM's size": ("bert", {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}),
    "Longformer-base's size": (
        "longformer",
        {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "attention_window": 64},
    ),
}
"""Randomly initialised, with 12 heads: how fast they are does not depend on what they know."""
ITEMS_OF_A_SEQUENCE = 8
"""Items that are encoded for each sequence that is tuned on, as far as there are so many."""
PRODUCT = {"cuda": 8192, "cpu": 1024}
"""The side of the square matrices whose product is taken for the device's peak."""


def run_utilisation(
    dataset: Dataset, sequences: int, max_tokens: int, batch_size: int, repeats: int, tokenizer: str = "minilm"
) -> dict[str, Any]:
    """Tune by RECFORMER's contrast on sequences of ``dataset``, encode its first items, both in bfloat16; the result.

    Operations are those of the matrix products of the layers (6 for each weight and token in tuning, 2 in encoding),
    attention itself left out; the peak is what a product of two large matrices reaches on the device in bfloat16.

    Args:
        tokenizer: an encoder's name, or a folder with a tokenizer alone.

    Raises:
        SourceDataError, TuningError: see :func:`recbole_ext.tuning.corpus.read_corpus`.
        ConfigurationError: there are fewer sequences than one batch.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = RecformerSettings(max_tokens=max_tokens, batch_size=batch_size)
    corpus = read_corpus([dataset], settings)
    if len(corpus.sequences) < batch_size:
        raise ConfigurationError(
            f"--batch-size: {batch_size}, but {dataset.name} has {len(corpus.sequences)} sequences."
        )
    peak = _peak(device)
    measured: dict[str, dict[str, Any]] = {}
    for name, shape in ENCODERS.items():
        forget_peak_device_memory()
        objective = _objective(*shape, corpus.attributes, settings, tokenizer).to(device)
        order = list(ByLength(objective.lengths(corpus.sequences), batch_size, seed=0))
        batches = [order[begin : begin + batch_size] for begin in range(0, len(order), batch_size)]
        chosen = np.random.default_rng(0).permutation(len(batches))[: max(1, sequences // batch_size)]
        batches = [batches[number] for number in chosen]
        of_layers = Transformer.of(objective.base.config.to_dict())
        tune = _tuning(objective, batches, corpus.sequences, device)
        encode = _encoding(objective, ITEMS_OF_A_SEQUENCE * sequences, device)
        kinds: dict[str, tuple[Callable[[], int], float]] = {"tuning": (tune, 3.0), "encoding": (encode, 1.0)}
        measured[name] = {}
        for kind, (work, passes) in kinds.items():
            work()  # the first time allocates
            found = [timed(work) for _ in range(repeats)]
            rate = found[0][1] / median(seconds for seconds, _ in found)
            operations = passes * of_layers.forward(1) * rate
            measured[name][kind] = {
                "tokens_per_second": rate,
                "operations_per_second": operations,
                "part_of_peak": operations / peak,
            }
        measured[name] |= peak_memory(device)
        del objective, tune, encode, kinds, work
    return {
        "dataset": dataset.name,
        "sequences": sequences,
        "batch_size": batch_size,
        "max_tokens": max_tokens,
        "device": device_in_words(device),
        "peak_operations_per_second": peak,
        "encoders": measured,
    }


def utilisation_table(result: dict[str, Any]) -> list[str]:
    """Tokens per second as a Markdown table."""
    peak = result["peak_operations_per_second"] / 1e12
    lines = [
        f"| {result['device']}, bfloat16, at most {peak:,.3g} TFLOP/s | work | tokens per second | of the peak "
        "| peak memory of the GPU, MiB |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, of_encoder in result["encoders"].items():
        memory = of_encoder.get("peak_device_memory_mb")
        held = "–" if memory is None else f"{memory:,.0f}"
        lines += [
            f"| {name} | {kind} | {of_encoder[kind]['tokens_per_second']:,.0f} "
            f"| {of_encoder[kind]['part_of_peak']:.1%} | {held} |"
            for kind in ("tuning", "encoding")
        ]
    return lines


def _peak(device: torch.device) -> float:
    """Operations per second of the fastest of some products in bfloat16."""
    size = PRODUCT[device.type]
    left, right = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    return max(2 * size**3 / timed(lambda: left @ right)[0] for _ in range(10))


def _objective(
    kind: str,
    shape: dict[str, int],
    attributes: list[list[tuple[str, str]]],
    settings: RecformerSettings,
    tokenizer_name: str,
) -> Contrast:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    torch.manual_seed(settings.seed)
    folder = tokenizer_name if Path(tokenizer_name).is_dir() else resolve_encoder(tokenizer_name).location
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.for_model(
        kind,
        **shape,
        num_attention_heads=12,
        vocab_size=len(tokenizer),
        max_position_embeddings=settings.max_tokens + 2,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1,
    )
    encoder = BehaviourEncoder(AutoModel.from_config(config, add_pooling_layer=False), settings.max_items)
    encoder.words.weight.requires_grad_(False)
    tokens = ItemTokens.of(attributes, tokenizer, settings.attribute_tokens, settings.max_items, settings.max_tokens)
    return Contrast(encoder, tokenizer, tokens, settings)


def _tuning(
    objective: Contrast, batches: list[list[int]], examples: list[np.ndarray], device: torch.device
) -> Callable[[], int]:
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, fused=device.type == "cuda")

    def tune() -> int:
        """A step for each batch; the tokens that were read."""
        objective.train()
        before = objective.tokens_read
        with torch.autograd.set_detect_anomaly(False):  # RecBole's SINE module switches it on
            for batch in batches:
                arguments = objective.collate([(index, examples[index]) for index in batch])
                optimizer.zero_grad()
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    loss = objective(**moved(arguments, device))["loss"]
                loss.backward()
                optimizer.step()
        return objective.tokens_read - before

    return tune


def _encoding(objective: Contrast, items: int, device: torch.device) -> Callable[[], int]:
    rows = [np.array([row]) for row in range(1, 1 + min(items, objective.tokens.n_items))]

    def encode() -> int:
        """The items; their tokens."""
        with torch.autocast(device.type, dtype=torch.bfloat16):
            objective.encoder.encode_sequences(objective.tokens, rows)
        return int(objective.tokens.lengths(rows).sum())

    return encode
