"""Masked language modelling over key–value sequences: which tokens are hidden, and the head that guesses them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from recbole_ext.recformer.item_tokens import Batch

REPLACED, RANDOM = 0.8, 0.1  # the rest of the chosen tokens stay as they are (Devlin et al., 2019)


def mask_words(
    batch: Batch, probability: float, mask_id: int, vocabulary: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Hide whole words at random: each with ``probability``, at least one in every sequence that has any.

    Args:
        batch: from :meth:`recbole_ext.recformer.ItemTokens.batch`.
        vocabulary: tokens among which a random replacement is drawn.

    Returns:
        The ids to read, ``[B, L]``, and where a token is to be guessed, bool ``[B, L]``.
    """
    word, ids = batch["word"], batch["input_ids"]
    n_words = int(word.max()) + 1
    if n_words < 1:
        return ids, torch.zeros_like(ids, dtype=torch.bool)
    chance = torch.rand(len(word), n_words, generator=generator)
    chance[torch.arange(n_words) > word.max(dim=1).values.unsqueeze(-1)] = 1.0
    chance[torch.arange(len(word)), chance.argmin(dim=1)] = 0.0
    hidden = (chance.gather(1, word.clamp_min(0)) < probability) & (word >= 0)
    fate = torch.rand(ids.shape, generator=generator)
    masked = torch.where(hidden & (fate < REPLACED), mask_id, ids)
    random = hidden & (fate >= REPLACED) & (fate < REPLACED + RANDOM)
    return torch.where(random, torch.randint(vocabulary, ids.shape, generator=generator), masked), hidden


class LanguageModelHead(nn.Module):
    """RoBERTa's head (dense, GELU, layer norm, decoder tied to the word embeddings), at the hidden tokens alone.

    It begins with random weights, whatever head the encoder was published with.
    """

    def __init__(self, base: Any) -> None:
        super().__init__()
        words = base.get_input_embeddings().weight
        self.dense = nn.Linear(words.shape[1], words.shape[1])
        self.layer_norm = nn.LayerNorm(words.shape[1], eps=getattr(base.config, "layer_norm_eps", 1e-12))
        self.bias = nn.Parameter(torch.zeros(len(words)))
        nn.init.normal_(self.dense.weight, std=getattr(base.config, "initializer_range", 0.02))
        nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor, words: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy of the tokens ``target``, ``[hidden tokens]``, from ``hidden``, ``[hidden tokens, D]``."""
        if not len(target):
            return hidden.sum() * 0.0
        guess = self.layer_norm(gelu(self.dense(hidden)))
        return cross_entropy(torch.nn.functional.linear(guess, words, self.bias).float(), target)
