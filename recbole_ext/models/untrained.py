"""What the baselines without training share: they count the training split, or read vectors, and learn nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.trainer import Trainer
from recbole.utils import InputType
from torch import nn

from recbole_ext.data.sequences import SequenceViewDataset, training_rows

SAMPLES_AT_ONCE = 2**16


class Untrained(SequentialRecommender):
    """A model whose scores are there when it is built; a subclass says them in ``score``.

    Items that a subclass finds equal are to stand in the order of ``shuffled``, random and fixed by the seed, so that
    a tie is neither the evaluator's nor the file's order to decide.

    Attributes:
        learns_nothing: there are no epochs.
        reads_item_vectors: whether it reads the store of ``item_embedding``; it has no table that one could fill.
        shuffled: each item's place in a random order, int64 ``[n_items]``.
        training_samples: what a record says that the model was trained on.
    """

    input_type = InputType.POINTWISE
    learns_nothing = True
    reads_item_vectors = False
    training_samples = "none"

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.nothing = nn.Parameter(torch.zeros(1))  # RecBole's optimiser wants a parameter
        generator = torch.Generator().manual_seed(int(config["seed"]))
        self.shuffled: torch.Tensor
        self.register_buffer("shuffled", torch.randperm(self.n_items, generator=generator))

    def score(self, items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Scores of all items after each history, float32 ``[batch, n_items]``.

        Args:
            items: right-padded histories, ``[batch, longest]``.
            length: items of each history, ``[batch]``.
        """
        raise NotImplementedError

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        return self.score(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    def predict(self, interaction: Any) -> torch.Tensor:
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)


class UntrainedTrainer(Trainer):
    """One epoch that does nothing, and RecBole's evaluation."""

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.epochs = 1

    def _train_epoch(self, *_: Any, **__: Any) -> float:
        return 0.0


def last_items(items: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """The last item of each history, ``[batch]``."""
    return items.gather(1, length.unsqueeze(1) - 1).squeeze(1)


def training_interactions(dataset: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Users, items and times of all interactions of the training split ``dataset``, ``[interactions]`` each.

    They are the item that each user began with, which is no sample's target, and the targets of the samples; where data
    are cut in time, every row before the cut. Each user's are in order. Times are those of the file where the dataset
    keeps them (:data:`recbole_ext.compat.times.KEEP_EXACT_TIMES`), else RecBole's, and ``None`` of files without any.
    """
    user, item, time = dataset.uid_field, dataset.iid_field, dataset.time_field
    if isinstance(dataset, SequenceViewDataset):
        rows, history = np.sort(training_rows(dataset)), dataset.history
        times = getattr(dataset, "times_of_history", history[time].numpy() if time in history.columns else None)
        return history[user].numpy()[rows], history[item].numpy()[rows], None if times is None else times[rows]
    samples, suffix = dataset.inter_feat, dataset.config["LIST_SUFFIX"]
    first = dataset[torch.nonzero(samples[dataset.item_list_length_field] == 1).squeeze(1)]
    users = torch.cat([first[user], samples[user]]).numpy()
    return users, torch.cat([first[item + suffix][:, 0], samples[item]]).numpy(), None


def transitions(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Each pair of neighbours in the training split ``dataset``: the items before and the items after, ``[pairs]``."""
    before = []
    for chunk in torch.arange(len(dataset)).split(SAMPLES_AT_ONCE):
        samples = dataset[chunk]
        items = samples[dataset.iid_field + dataset.config["LIST_SUFFIX"]]
        before.append(last_items(items, samples[dataset.item_list_length_field]))
    return torch.cat(before).numpy(), dataset.inter_feat[dataset.iid_field].numpy()
