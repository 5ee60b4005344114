"""The interface of an objective: a module that the Trainer trains, and the examples it is trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from recbole_ext.encoders.source import ResolvedEncoder
from recbole_ext.estimate import LOADED_MB, Estimate, Transformer
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.settings import TuneSettings

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Size

LOADING_SECONDS = 20.0
"""Importing torch and transformers, loading an encoder, reading and tokenising a corpus."""


class Objective(nn.Module, ABC):
    """An encoder with the loss that tunes it.

    An example is one array of item rows (a user's sequence, or a pair); :meth:`collate` makes a batch of numbered
    examples into the arguments of ``forward``, which returns ``{"loss": scalar}`` and whatever else is worth logging.

    Attributes:
        tokens_read: tokens (without padding) that batches have held so far, for the speed in the report.
    """

    accepts_loss_kwargs = False  # Trainer: the mean over a batch needs no outside count of its items

    def __init__(self) -> None:
        super().__init__()
        self.tokens_read = 0

    @classmethod
    @abstractmethod
    def build(
        cls, source: ResolvedEncoder, corpus: Corpus, settings: TuneSettings, checkpoint: Path | None
    ) -> Objective:
        """Load the encoder of ``source`` and tokenise the corpus once.

        Args:
            corpus: all items, and the sequences that are tuned on.
            checkpoint: a RECFORMER state dict to begin from instead of the encoder's own weights.

        Raises:
            EncoderError: the encoder can't be loaded or lacks what the objective needs.
        """

    @classmethod
    @abstractmethod
    def estimate(cls, shape: Transformer, sources: Sequence[Size], settings: TuneSettings) -> Estimate:
        """What tuning a transformer of this shape on source domains of these sizes costs."""

    def prepare(self, corpus: Corpus) -> None:
        """Make what is made with the encoder as it is before the first step: cut, on its device, without gradient."""

    @abstractmethod
    def examples(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        """The training examples of these sequences."""

    @abstractmethod
    def lengths(self, examples: list[np.ndarray]) -> list[int]:
        """Tokens of each example; those of similar length go together."""

    @abstractmethod
    def collate(self, numbered: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
        """The arguments of ``forward`` for a batch; what is random follows from the seed and the first number."""

    @abstractmethod
    def item_vectors(self, rows: np.ndarray) -> Tensor:
        """Vectors of single items as the tuned encoder will encode them, ``[rows, width]``, on its device."""

    def history_vectors(self, histories: list[np.ndarray]) -> Tensor:
        """What the next item is looked for with, ``[histories, width]``: by default the last item's vector."""
        return self.item_vectors(np.array([history[-1] for history in histories]))

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]: ...

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the tuned encoder so that ``from_pretrained`` and the ``encode`` stage load it."""

    def added(self) -> list[nn.Parameter]:
        """Parameters in the encoder that the objective has put there: tuned whole where LoRA tunes the rest."""
        return []

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass instead of keeping them."""
        self.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    @property
    @abstractmethod
    def base(self) -> Any:
        """The Hugging Face model inside."""


def estimate_of(
    shape: Transformer, examples: float, tokens: float, settings: TuneSettings, readings: int = 1, masked: float = 0.0
) -> Estimate:
    """The cost of a tuning whose examples have so many ``tokens`` each, read ``readings`` times.

    Backward costs twice as much as forward; a ``masked`` part of the tokens costs a softmax over the vocabulary.
    """
    per_example = readings * shape.forward(tokens) + masked * tokens * 2 * shape.words
    passes = settings.epochs * settings.sequences * max(examples, 0)
    step = settings.batch_size * tokens * readings
    logits = 3 * 4 * settings.batch_size * tokens * masked * shape.vocabulary
    megabytes = (16 * shape.parameters + 4 * step * shape.kept_per_token + logits) / 2**20
    return Estimate(3 * passes * per_example, LOADED_MB + megabytes, fixed=LOADING_SECONDS)
