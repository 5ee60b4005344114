"""Encoders that read a dataset's sequences, and what they do meanwhile: attention maps and layer outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import ResolvedEncoder, resolve_encoder
from recbole_ext.recformer.encoder import BehaviourEncoder, load_behaviour_encoder
from recbole_ext.recformer.item_tokens import Batch, ItemTokens
from recbole_ext.recformer.window_attention import attention_of
from recbole_ext.studies.settings import StudySettings
from recbole_ext.tuning.corpus import Corpus, read_corpus
from recbole_ext.tuning.settings import ContrastSettings


@dataclass(frozen=True)
class Reading:
    """What an encoder did with a batch.

    Attributes:
        batch: from :meth:`recbole_ext.recformer.item_tokens.ItemTokens.batch`.
        attention: per layer its maps, rows summing to one, ``[B, heads, L, L]``.
        hidden: the embeddings' and every layer's output, ``[B, L, width]`` each.
    """

    batch: Batch
    attention: list[torch.Tensor]
    hidden: list[torch.Tensor]


def sequences_of(settings: StudySettings) -> Corpus:
    """The dataset's items, and as many of its training sequences as the study reads."""
    corpus = read_corpus([_dataset(settings)], ContrastSettings(attributes=settings.attributes))
    order = np.random.default_rng(settings.seed).permutation(len(corpus.sequences))[: settings.sequences]
    chosen = [corpus.sequences[index] for index in order]
    return Corpus(corpus.attributes, corpus.texts, chosen, corpus.too_short)


def readings(name: str, settings: StudySettings, corpus: Corpus) -> Iterator[Reading]:
    """The encoder ``name`` of the settings on the corpus, batch by batch, without dropout or gradients.

    Raises:
        EncoderError: it can't be loaded.
        TuningError: it is to be tuned first, and can't be.
    """
    encoder, tokenizer, reading = load_behaviour_encoder(_encoder(name, settings))
    tokens = ItemTokens.of(
        corpus.attributes,
        tokenizer,
        reading.get("attribute_tokens", settings.attribute_tokens),
        min(settings.max_items, encoder.max_items),
        min(settings.max_tokens, encoder.longest),
    )
    order = np.argsort(tokens.lengths(corpus.sequences), kind="stable")
    for begin in tqdm(range(0, len(order), settings.batch_size), desc=name, unit="batch", disable=None):
        rows = order[begin : begin + settings.batch_size]
        yield observe(encoder, tokens.batch([corpus.sequences[row] for row in rows]))


def observe(encoder: BehaviourEncoder, batch: Batch) -> Reading:
    """Attention maps and hidden states of a BERT-like, Longformer or decoder model on a batch."""
    encoder.eval()
    base, is_longformer = encoder.base, encoder.base.config.model_type == "longformer"
    if not is_longformer:
        base.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = encoder.outputs(batch, output_hidden_states=True, output_attentions=not is_longformer)
        hidden = list(outputs.hidden_states)
        if is_longformer:
            padding = batch["attention_mask"] == 0
            layers = zip(base.encoder.layer, hidden[:-1], strict=True)
            maps = [attention_of(layer.attention.self, state, padding) for layer, state in layers]
        else:
            maps = list(outputs.attentions)
    return Reading(batch, maps, hidden)


def _dataset(settings: StudySettings) -> Dataset:
    return Dataset.named(settings.dataset, settings.data_path, settings.dataset_configs)


def _encoder(name: str, settings: StudySettings) -> ResolvedEncoder:
    named = settings.encoders[name]
    if isinstance(named, str):
        return resolve_encoder(named)
    named.require_whole("this study")
    return named.resolved(_dataset(settings), settings.artifacts)
