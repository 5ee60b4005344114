"""Items that follow each other, as two short texts: the cheap way of telling a PLM about behaviour."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_ext.errors import TuningError
from recbole_ext.estimate import TOKENS_OF_A_TEXT, Estimate, Transformer
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.base import estimate_of
from recbole_ext.tuning.objectives.contrast import in_batch_contrast, log_frequencies
from recbole_ext.tuning.objectives.hard_negatives import nearest_strangers
from recbole_ext.tuning.objectives.texts import TextObjective
from recbole_ext.tuning.settings import PairsSettings, TuneSettings

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Size

log = logging.getLogger(__name__)


class Pairs(TextObjective):
    """In-batch contrast, in both directions, between the texts of items near each other in a sequence.

    An item that stands in several pairs of a batch is no negative of itself: its cosine of 1 would drown all others.

    With hard negatives, each pair's first item also has to prefer the second one to items whose texts are like its
    own but that nobody had beside it (Xiong et al., "Approximate nearest neighbor negative contrastive learning",
    ICLR 2021; here they are looked for once, with the encoder as it is before the first step). They serve as
    negatives of the whole batch.
    """

    log_frequency: Tensor | None
    known: Tensor | None

    def __init__(self, model: Any, token_ids: list[list[int]], settings: PairsSettings, corpus: Corpus) -> None:
        super().__init__(model, token_ids, settings, corpus)
        frequencies = None
        if settings.debias:
            frequencies = settings.debias * log_frequencies(corpus.sequences, len(corpus.texts))
        is_asked = settings.spare_neighbours or settings.hard_negatives
        known = torch.from_numpy(self._known(corpus)) if is_asked else None
        self.register_buffer("log_frequency", frequencies, persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.strangers: np.ndarray | None = None

    def prepare(self, corpus: Corpus) -> None:
        if wanted := self.settings.hard_negatives:
            if (others := max(map(len, corpus.domain_items())) - 1) < wanted:
                raise TuningError(
                    f"hard_negatives: {wanted} are wanted, but an item of these sources has {others:,} others of its "
                    f"domain. Ask for {others} at most, or name a larger source."
                )
            pairs = np.stack(np.divmod(self._known(corpus), len(self.token_ids)), axis=-1)
            self.strangers = nearest_strangers(self.item_vectors, corpus.domain_items(), pairs, self.same_text)
            if few := int(((self.strangers[1:] > 0).sum(axis=1) < wanted).sum()):
                log.warning(
                    "hard_negatives: %d of %d items have fewer than %d, because all others of their domain are a pair "
                    "with them or have their text; they get what there is",
                    few,
                    len(self.strangers) - 1,
                    wanted,
                )

    @classmethod
    def estimate(cls, shape: Transformer, sources: Sequence[Size], settings: TuneSettings) -> Estimate:
        assert isinstance(settings, PairsSettings)
        pairs = settings.window * sum(size.interactions - 3 * size.users for size in sources)
        texts = 2 + settings.hard_negatives
        return estimate_of(shape, pairs, texts * min(settings.max_tokens, TOKENS_OF_A_TEXT), settings)

    def examples(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        neighbours = [
            pair
            for sequence in sequences
            for apart in range(1, min(self.settings.window, len(sequence) - 1) + 1)
            for pair in zip(sequence[:-apart], sequence[apart:], strict=True)
            if pair[0] != pair[1]
        ]
        return list(np.array(neighbours)) if neighbours else []

    def collate(self, numbered: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        pairs = np.stack([pair for _, pair in numbered])
        first, second = pairs.T
        batch = {"first": self.batch_of(first), "second": self.batch_of(second), "rows": torch.from_numpy(pairs)}
        rows = self._hard(first, numbered[0][0])
        if len(rows):
            batch |= {"hard": self.batch_of(rows), "hard_rows": torch.from_numpy(rows)}
        return batch

    def forward(
        self,
        first: dict[str, Tensor],
        second: dict[str, Tensor],
        rows: Tensor,
        hard: dict[str, Tensor] | None = None,
        hard_rows: Tensor | None = None,
    ) -> dict[str, Tensor]:
        vectors = [self.vectors_of(batch) for batch in (first, second)]
        first_rows, second_rows = rows.T
        temperature, frequency = self.settings.temperature, self.log_frequency
        more = None if hard is None or hard_rows is None else (self.vectors_of(hard), hard_rows)
        spared = self._spared(first_rows, 0 if hard_rows is None else len(hard_rows))
        forward, hits = in_batch_contrast(vectors[0], vectors[1], second_rows, temperature, frequency, spared, more)
        backward, _ = in_batch_contrast(
            vectors[1], vectors[0], first_rows, temperature, frequency, self._spared(second_rows)
        )
        return {"loss": (forward + backward) / 2, "hits": hits}

    def _hard(self, first: np.ndarray, draw: int) -> np.ndarray:
        """Hard negatives of these items, each once; drawn anew for every draw."""
        if self.strangers is None:
            return np.array([], dtype=np.int64)
        generator = np.random.default_rng([self.settings.seed, draw])
        found = [generator.permutation(of[of > 0])[: self.settings.hard_negatives] for of in self.strangers[first]]
        return np.unique(np.concatenate(found)).astype(np.int64)

    def _known(self, corpus: Corpus) -> np.ndarray:
        """Every pair of the sequences tuned on in both directions, as numbers ``first * (items + 1) + second``, the
        smallest first."""
        pairs = np.array(self.examples(corpus.sequences), dtype=np.int64).reshape(-1, 2)
        both = np.concatenate([pairs, pairs[:, ::-1]])
        return np.unique(both[:, 0] * len(self.token_ids) + both[:, 1])

    def _spared(self, queries: Tensor, n_hard: int = 0) -> Callable[[Tensor], Tensor]:
        """Which items are no negatives of which query: itself and, where asked for, its known neighbours; these are
        none anyway among the last ``n_hard`` items, which were looked for as strangers of another query."""

        def spared(items: Tensor) -> Tensor:
            itself = queries.unsqueeze(-1) == items
            known = self.known
            if known is None or not len(known):
                return itself
            pairs = queries.unsqueeze(-1) * len(self.token_ids) + items
            is_known = known[torch.searchsorted(known, pairs).clamp_max(len(known) - 1)] == pairs
            if not self.settings.spare_neighbours:
                is_known[:, : len(items) - n_hard] = False
            return itself | is_known

        return spared
