"""What a tuning is validated by: how often the held-out sequences' next items are found by the vectors alone."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import TrainerCallback

from recbole_ext.tuning.objectives.base import Objective
from recbole_ext.tuning.settings import RECALL
from recbole_ext.tuning.unfinished import is_writer
from recbole_ext.writing import replacing_file

log = logging.getLogger(__name__)

CUT = 10
QUERIES, ITEMS = 1_000, 10_000
"""At most so many held-out sequences have their loss computed and look for their next item, among at most about so many
items."""


class Retrieval:
    """Looks for each held-out sequence's last item by the cosine with what stands before it.

    Vectors are centred first; the item just before the target is no candidate, as in the nearest-neighbour row of the
    tables. Sequences and items beyond the limits are drawn by the seed.

    Args:
        held_out: sequences of item rows, at least two each.
        n_items: items of all domains; rows count from 1.
    """

    def __init__(self, held_out: list[np.ndarray], n_items: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        chosen = draw.permutation(len(held_out))[:QUERIES]
        self.histories = [held_out[number][:-1] for number in chosen]
        self.targets = np.array([held_out[number][-1] for number in chosen])
        before = np.array([history[-1] for history in self.histories])
        some = 1 + draw.permutation(n_items)[:ITEMS]
        self.items = np.unique(np.concatenate([self.targets, before, some]))
        self.before = np.searchsorted(self.items, before)
        self.seconds = 0.0

    def recall(self, objective: Objective) -> float:
        """The part of the sequences whose next item is among the ten nearest."""
        began = time.perf_counter()
        was_training, tokens_read = objective.training, objective.tokens_read
        objective.eval()
        with torch.no_grad():
            items = objective.item_vectors(self.items).float()
            queries = objective.history_vectors(self.histories).float()
            centre = items.mean(dim=0)
            scores = normalize(queries - centre, dim=-1) @ normalize(items - centre, dim=-1).T
            rows = torch.arange(len(scores), device=scores.device)
            target = torch.from_numpy(np.searchsorted(self.items, self.targets)).to(scores.device)
            before = torch.from_numpy(self.before).to(scores.device)
            own = scores[rows, target].unsqueeze(-1)
            scores[rows, before] = torch.where(before == target, scores[rows, before], float("-inf"))
            # A vector that is no number finds nothing: it is larger than no other.
            found = (((scores > own).sum(dim=-1) < CUT) & own.isfinite().squeeze(-1)).float().mean()
        objective.train(was_training)
        objective.tokens_read = tokens_read
        self.seconds += time.perf_counter() - began
        return float(found)


class StopsAtTheBest(TrainerCallback):
    """Logs the recall before the first step and at every evaluation; with ``patience``, ends there and keeps the best.

    What was best, and for how long, is read off the trainer's log, which its checkpoints hold; the best weights lie
    beside them, so that an interrupted tuning goes on with both.
    """

    def __init__(self, trainer: Any, retrieval: Retrieval, patience: int | None, folder: Path) -> None:
        self.trainer, self.retrieval, self.patience, self.folder = trainer, retrieval, patience, folder

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if not self._scores(state):
            self._measure(state, model)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.eval_strategy == "steps" and state.global_step >= state.max_steps:
            control.should_evaluate = True  # whatever the last step is

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._measure(state, model)
        scores = self._scores(state)
        best = max(range(len(scores)), key=lambda number: scores[number][1])
        if self.patience is not None and len(scores) - 1 - best >= self.patience:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Older weights go once a checkpoint knows of better ones: an interrupted tuning goes on from its log."""
        scores = self._scores(state)
        if self.patience is None or not scores or not is_writer():
            return
        step = max(scores, key=lambda entry: entry[1])[0]
        for path in self.folder.glob("best-*.safetensors"):
            if path != self._weights(step):
                path.unlink(missing_ok=True)

    def restore_best(self, objective: Objective) -> None:
        """Give ``objective`` the weights of its best evaluation, where a patience kept them."""
        from safetensors.torch import load_file

        scores = self._scores(self.trainer.state)
        if self.patience is None or not scores or not is_writer():
            return
        step, score = max(scores, key=lambda entry: entry[1])
        objective.load_state_dict(load_file(self._weights(step)), strict=False)
        log.info("kept: the weights after step %d, recall@%d %.4f", step, CUT, score)

    def _measure(self, state: Any, model: Any) -> None:
        recall = self.retrieval.recall(model)
        self.trainer.log({RECALL: recall})
        if self.patience is None or not is_writer():
            return
        scores = self._scores(state)
        if all(score < recall for _, score in scores[:-1]):
            self._keep(model, state.global_step)

    def _keep(self, model: Any, step: int) -> None:
        from safetensors.torch import save_file

        with replacing_file(self._weights(step)) as temporary:
            save_file({name: value.contiguous() for name, value in _trained(model)}, temporary)

    def _weights(self, step: int) -> Path:
        return self.folder / f"best-{step}.safetensors"

    @staticmethod
    def _scores(state: Any) -> list[tuple[int, float]]:
        """Step and recall of each evaluation so far."""
        return [(entry["step"], entry[RECALL]) for entry in state.log_history if RECALL in entry]


def _trained(model: Any) -> list[tuple[str, torch.Tensor]]:
    return [(name, value.detach().cpu().clone()) for name, value in model.named_parameters() if value.requires_grad]
