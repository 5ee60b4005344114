"""``recbole-ext bench tune``: RECFORMER's pre-training and item encoding, here and the public code's way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear
from transformers import LongformerConfig, LongformerModel

from recbole_ext.allocator import keep_freed_memory
from recbole_ext.bench.measuring import take_turns
from recbole_ext.data.dataset import Dataset
from recbole_ext.dropout import CheapDropout
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.moving import moved
from recbole_ext.recformer.by_length import Parts
from recbole_ext.recformer.encoder import BehaviourEncoder, load_behaviour_encoder
from recbole_ext.recformer.item_tokens import ItemTokens
from recbole_ext.tuning.corpus import read_corpus
from recbole_ext.tuning.objectives.recformer import Recformer
from recbole_ext.tuning.settings import RecformerSettings
from recbole_ext.tuning.trainer import ByLength

SIDES = ("public way", "recbole-ext")
PUBLIC_BATCH = 16
WINDOW = 64
ENCODED_ITEMS = 1024


class WholeBatches(BehaviourEncoder):
    """An encoder that reads a batch at once, padded to its longest sequence, with torch's dropout."""

    tokens_per_pass = sys.maxsize

    def __init__(self, base: LongformerModel, max_items: int) -> None:
        super().__init__(base, max_items)
        for layer in base.encoder.layer:
            del layer.attention.self.forward
        del base._pad_to_window_size
        for module in base.modules():
            if type(module) is CheapDropout:
                module.__class__ = nn.Dropout


class PublicWay(Recformer):
    """The public code's step: Hugging Face's chunked window attention, the language-model head over every token."""

    def _masked_loss(self, parts: Parts) -> Tensor:
        assert self.lm_head is not None
        ((_, batch),) = parts
        hidden = self.encoder({**batch, "input_ids": batch["masked_ids"]})
        guess = self.lm_head.layer_norm(gelu(self.lm_head.dense(hidden)))
        labels = torch.where(batch["hidden"], batch["input_ids"], -100)
        logits = linear(guess, self.encoder.words.weight, self.lm_head.bias)
        return cross_entropy(logits.flatten(0, 1), labels.flatten())


def run_tuning_contest(dataset: Dataset, sequences: int, max_tokens: int, repeats: int) -> dict[str, Any]:
    """Tune on ``sequences`` sequences of ``dataset`` and encode its items both ways, in turns; returns the result.

    Both sides train the same randomly initialised Longformer (the size of MiniLM: 6 layers, width 384, window 64) on
    the same sequences, drawn once, with word embeddings frozen, in steps of 16 sequences: the public way's batches as
    they come, padded to the longest; this package's by length. Tokens are counted without padding.

    Raises:
        SourceDataError, TuningError: see :func:`recbole_ext.tuning.corpus.read_corpus`.
    """
    from recbole_ext.machine import device_in_words

    settings = RecformerSettings(max_tokens=max_tokens, batch_size=PUBLIC_BATCH)
    keep_freed_memory()  # as `tune` does; it serves both sides
    corpus = read_corpus([dataset], settings)
    sides = {side: _objective(side, corpus.attributes, settings) for side in SIDES}
    drawn = _drawn(corpus.sequences, sequences, settings.seed)
    tokens: dict[tuple[str, str], int] = {}

    def tune(side: str) -> None:
        objective = sides[side]
        before = objective.tokens_read
        _tune_once(objective, _batches(side, objective, drawn), drawn)
        tokens[side, "tuning"] = objective.tokens_read - before

    def encode(side: str) -> None:
        tokens[side, "encoding"] = _encode_once(side, sides[side])

    kinds: dict[str, Callable[[str], None]] = {"tuning": tune, "encoding": encode}
    work = {f"{side} {kind}": partial(do, side) for side in SIDES for kind, do in kinds.items()}
    seconds = take_turns(work, repeats, dataset.name)
    of_side = {side: {kind: seconds[f"{side} {kind}"] for kind in kinds} for side in SIDES}
    rates = {side: {kind: tokens[side, kind] / median(of_side[side][kind]) for kind in kinds} for side in SIDES}
    return {
        "dataset": dataset.name,
        "sequences": len(drawn),
        "encoded_items": min(ENCODED_ITEMS, sides["recbole-ext"].tokens.n_items),
        "max_tokens": max_tokens,
        "device": device_in_words(next(sides["recbole-ext"].parameters()).device),
        "seconds": of_side,
        "tokens_per_second": rates,
        "ratios": {kind: rates["recbole-ext"][kind] / rates["public way"][kind] for kind in kinds},
    }


def tuning_table(result: dict[str, Any]) -> list[str]:
    """Tokens per second as a Markdown table."""
    lines = [
        f"| {result['dataset']}, {result['sequences']:,} sequences of at most {result['max_tokens']:,} tokens "
        "| public way, tokens/s | recbole-ext, tokens/s | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for work, ratio in result["ratios"].items():
        public, own = (result["tokens_per_second"][side][work] for side in SIDES)
        lines.append(f"| {work} | {public:,.0f} | {own:,.0f} | {ratio:.1f} |")
    return lines


def _objective(side: str, attributes: list[list[tuple[str, str]]], settings: RecformerSettings) -> Recformer:
    torch.manual_seed(settings.seed)
    _, tokenizer, _ = load_behaviour_encoder(resolve_encoder("minilm"))
    config = LongformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        attention_window=WINDOW,
        max_position_embeddings=-(-settings.max_tokens // WINDOW) * WINDOW + 2,  # chunked attention pads to it
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=1,
    )
    base = LongformerModel(config, add_pooling_layer=False)
    encoder = (WholeBatches if side == "public way" else BehaviourEncoder)(base, settings.max_items)
    encoder.words.weight.requires_grad_(False)
    tokens = ItemTokens.of(attributes, tokenizer, settings.attribute_tokens, settings.max_items, settings.max_tokens)
    objective = (PublicWay if side == "public way" else Recformer)(encoder, tokenizer, tokens, settings)
    return objective.to("cuda" if torch.cuda.is_available() else "cpu")


def _drawn(sequences: list[np.ndarray], wanted: int, seed: int) -> list[np.ndarray]:
    """So many of the sequences, drawn at random and filled up to whole batches, where there are so many."""
    whole = -(-wanted // PUBLIC_BATCH) * PUBLIC_BATCH
    most = len(sequences) // PUBLIC_BATCH * PUBLIC_BATCH or len(sequences)
    order = np.random.default_rng(seed).permutation(len(sequences))
    return [sequences[number] for number in order[: min(whole, most)]]


def _batches(side: str, objective: Recformer, examples: list[np.ndarray]) -> list[list[int]]:
    """The examples once, in the batches that this side makes of them."""
    if side == "public way":
        order = list(range(len(examples)))
    else:
        order = list(ByLength(objective.lengths(examples), PUBLIC_BATCH, seed=0))
    return [order[begin : begin + PUBLIC_BATCH] for begin in range(0, len(order), PUBLIC_BATCH)]


def _tune_once(objective: Recformer, batches: list[list[int]], examples: list[np.ndarray]) -> None:
    """A step for each batch."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=5e-5)
    objective.train()
    # RecBole, which read the corpus, has switched anomaly detection on for the whole process.
    with torch.autograd.set_detect_anomaly(False):
        for batch in batches:
            optimizer.zero_grad()
            arguments = objective.collate([(index, examples[index]) for index in batch])
            objective(**moved(arguments, objective.base.device))["loss"].backward()
            optimizer.step()


def _encode_once(side: str, objective: Recformer) -> int:
    """Encode items; the number of their tokens."""
    rows = [np.array([row]) for row in range(1, 1 + min(ENCODED_ITEMS, objective.tokens.n_items))]
    if side == "public way":
        objective.eval()
        with torch.no_grad():
            for begin in range(0, len(rows), PUBLIC_BATCH):
                objective.encoder.pool(objective.tokens.batch(rows[begin : begin + PUBLIC_BATCH]))
    else:
        objective.encoder.encode_sequences(objective.tokens, rows)
    return int(objective.tokens.lengths(rows).sum())
