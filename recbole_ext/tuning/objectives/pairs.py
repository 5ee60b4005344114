"""Items that follow each other, as two short texts: the cheap way of telling a PLM about behaviour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_ext.encoders.quiet import quiet_bars
from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.encoding.encoder import load_encoder
from recbole_ext.encoding.settings import EncodingSettings
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.estimate import TOKENS_OF_A_TEXT, Estimate, Transformer
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.base import Objective, estimate_of
from recbole_ext.tuning.objectives.contrast import in_batch_contrast, log_frequencies
from recbole_ext.tuning.settings import PairsSettings, TuneSettings

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Size


ITEMS_OF_A_PASS = 64


class Pairs(Objective):
    """In-batch contrast, in both directions, between the texts of items near each other in a sequence.

    Works for encoders and, pooled at the last token, for decoders: any model that sentence-transformers loads. The
    texts are those of the ``encode`` stage, so the tuned folder is encoded just as the vanilla one.
    """

    log_frequency: Tensor | None
    known: Tensor | None

    def __init__(
        self, model: Any, token_ids: list[list[int]], settings: PairsSettings, log_frequency: Tensor | None = None
    ) -> None:
        super().__init__()
        self.model, self.token_ids, self.settings = model, token_ids, settings
        self.pad_id = model.tokenizer.pad_token_id
        self.register_buffer("log_frequency", log_frequency, persistent=False)
        self.register_buffer("known", None, persistent=False)

    @classmethod
    def build(
        cls, source: ResolvedEncoder, corpus: Corpus, settings: TuneSettings, checkpoint: Path | None
    ) -> Objective:
        assert isinstance(settings, PairsSettings)
        if checkpoint is not None:
            raise ConfigurationError("checkpoint: a RECFORMER state dict fits the objectives over sequences only.")
        model = load_encoder(source, EncodingSettings(pooling=settings.pooling), device="cpu")
        limit = min(settings.max_tokens, model.max_seq_length or settings.max_tokens)
        ids = model.tokenizer(corpus.texts, truncation=True, max_length=limit)["input_ids"]
        if not hasattr(model[0], "auto_model"):
            raise EncoderError(
                f"encoder {source.name!r} begins with {type(model[0]).__name__}, not with a transformer."
            )
        model[0].auto_model.get_input_embeddings().weight.requires_grad_(not settings.freeze_words)
        frequencies = None
        if settings.debias:
            frequencies = settings.debias * log_frequencies(corpus.sequences, len(corpus.texts))
        objective = cls(model, [[], *ids], settings, frequencies)
        if settings.spare_neighbours:
            pairs = np.array(objective.examples(corpus.sequences)).reshape(-1, 2)
            both = np.concatenate([pairs, pairs[:, ::-1]])
            objective.known = torch.from_numpy(np.unique(both[:, 0] * len(objective.token_ids) + both[:, 1]))
        return objective

    @classmethod
    def estimate(cls, shape: Transformer, sources: Sequence[Size], settings: TuneSettings) -> Estimate:
        assert isinstance(settings, PairsSettings)
        pairs = settings.window * sum(size.interactions - 3 * size.users for size in sources)
        return estimate_of(shape, pairs, 2 * min(settings.max_tokens, TOKENS_OF_A_TEXT), settings)

    @property
    def base(self) -> Any:
        return self.model[0].auto_model

    def examples(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        neighbours = [
            pair
            for sequence in sequences
            for apart in range(1, min(self.settings.window, len(sequence) - 1) + 1)
            for pair in zip(sequence[:-apart], sequence[apart:], strict=True)
            if pair[0] != pair[1]
        ]
        return list(np.array(neighbours)) if neighbours else []

    def lengths(self, examples: list[np.ndarray]) -> list[int]:
        return [sum(len(self.token_ids[row]) for row in pair) for pair in examples]

    def collate(self, numbered: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        pairs = np.stack([pair for _, pair in numbered])
        first, second = pairs.T
        return {"first": self._batch(first), "second": self._batch(second), "rows": torch.from_numpy(pairs)}

    def forward(self, first: dict[str, Tensor], second: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
        vectors = [self.model(dict(batch))["sentence_embedding"] for batch in (first, second)]
        first_rows, second_rows = rows.T
        temperature, frequency = self.settings.temperature, self.log_frequency
        forward, hits = in_batch_contrast(
            vectors[0], vectors[1], second_rows, temperature, frequency, self._spared(first_rows)
        )
        backward, _ = in_batch_contrast(
            vectors[1], vectors[0], first_rows, temperature, frequency, self._spared(second_rows)
        )
        return {"loss": (forward + backward) / 2, "hits": hits}

    def _spared(self, queries: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Which items are known neighbours of which query; ``None`` where they may be negatives."""
        known = self.known
        if known is None:
            return None
        return lambda items: torch.isin(queries.unsqueeze(-1) * len(self.token_ids) + items, known)

    def item_vectors(self, rows: np.ndarray) -> Tensor:
        order = np.argsort([-len(self.token_ids[row]) for row in rows], kind="stable")
        device = self.base.device
        pieces = []
        for begin in range(0, len(rows), ITEMS_OF_A_PASS):
            batch = self._batch(rows[order[begin : begin + ITEMS_OF_A_PASS]])
            features = {name: value.to(device) for name, value in batch.items()}
            pieces.append(self.model(features)["sentence_embedding"])
        return torch.cat(pieces)[torch.from_numpy(order).argsort().to(device)]

    def save(self, folder: Path) -> None:
        with quiet_bars():
            self.model.save(str(folder), create_model_card=False)

    def _batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        ids = [self.token_ids[row] for row in rows]
        self.tokens_read += sum(map(len, ids))
        longest = max(map(len, ids))
        padded = torch.tensor([row + [self.pad_id] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        return {"input_ids": padded, "attention_mask": mask}
