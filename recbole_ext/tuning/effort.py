"""What a tuning has cost so far, kept in its checkpoints: one that was interrupted tells all of it in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from recbole_ext.tuning.objectives.base import Objective
from recbole_ext.tuning.unfinished import is_writer
from recbole_ext.writing import write_json

_FILE = "effort.json"


class Effort(TrainerCallback):
    """Seconds of training, and tokens that all processes have read in it, those before the last checkpoint included.

    Args:
        last: the checkpoint that the training goes on from.
        idle: seconds of this call that are not counted.
    """

    def __init__(self, trainer: Any, objective: Objective, last: Path | None, idle: Callable[[], float]) -> None:
        self.trainer, self.objective, self.idle = trainer, objective, idle
        self.seconds, self.tokens = 0.0, 0
        if last is not None and (last / _FILE).is_file():
            before = json.loads((last / _FILE).read_text(encoding="utf-8"))
            self.seconds, self.tokens = before["seconds"], before["tokens"]
        self.began = time.perf_counter()

    def so_far(self) -> tuple[float, int]:
        """Of all processes, which have to ask together."""
        seconds = time.perf_counter() - self.began - self.idle()
        read = torch.tensor(self.objective.tokens_read, device=self.trainer.args.device)
        return self.seconds + seconds, self.tokens + int(self.trainer.accelerator.reduce(read))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seconds, tokens = self.so_far()
        if is_writer():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / _FILE, {"seconds": round(seconds, 2), "tokens": tokens})
