"""How far a run under way is: written by its process, on whatever machine, and read by the command that waits."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recbole_ext.errors import WriteError
from recbole_ext.wording import duration
from recbole_ext.writing import write_json

NO_EPOCH_YET = "first epoch not over yet"


@dataclass(frozen=True)
class Progress:
    """``epoch`` epochs of at most ``epochs`` are over; validation only, never test. What is infinite or no number is
    not told."""

    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    valid: float | None = None
    best: float | None = None
    seconds_per_epoch: float | None = None

    @classmethod
    def of(cls, curve: Sequence[Mapping[str, float]], epochs: int, began: float, direction: int = 1) -> Progress:
        """After the epochs of ``curve``, of at most ``epochs``, since ``began``, in Unix seconds; ``direction`` is -1
        where lower scores are better."""
        loss = curve[-1].get("train_loss", math.nan)  # boosted trees have none
        validated = [entry["valid"] for entry in curve if math.isfinite(entry.get("valid", math.nan))]
        return cls(
            epoch=len(curve),
            epochs=epochs,
            loss=round(loss, 4) if math.isfinite(loss) else None,
            valid=round(validated[-1], 4) if validated else None,
            best=round(direction * max(direction * valid for valid in validated), 4) if validated else None,
            seconds_per_epoch=(time.time() - began) / len(curve),
        )

    def in_words(self) -> str:
        """``epoch 7 of at most 300, loss 5.61, validation 0.0611 (best 0.0624), at most 4 min left``."""
        if not self.epoch:
            return NO_EPOCH_YET
        words = [f"epoch {self.epoch} of at most {self.epochs}"]
        if self.loss is not None:
            words.append(f"loss {self.loss:g}")
        if self.valid is not None:
            words.append(f"validation {self.valid:.4f} (best {self.best:.4f})")
        if self.seconds_per_epoch is not None:
            words.append(f"at most {duration((self.epochs - self.epoch) * self.seconds_per_epoch)} left")
        return ", ".join(words)

    def in_short(self) -> str:
        """``7/300, 0.0611, ≤ 4 min``: for several runs on one line of a terminal."""
        if not self.epoch:
            return NO_EPOCH_YET
        words = [f"{self.epoch}/{self.epochs}"]
        if self.valid is not None:
            words.append(f"{self.valid:.4f}")
        if self.seconds_per_epoch is not None:
            words.append(f"≤ {duration((self.epochs - self.epoch) * self.seconds_per_epoch)}")
        return ", ".join(words)


def write_progress(path: Path, progress: Progress) -> None:
    """Tell whoever waits; what can't be written is not told."""
    try:
        write_json(path, asdict(progress))
    except WriteError:
        return


def tell_progress(path: Path, began: float, curve: list[dict[str, float]], epochs: int, direction: int) -> None:
    """Write how far a run is; as :data:`recbole_ext.training.trainer.OnEpoch`, with the first two arguments given."""
    write_progress(path, Progress.of(curve, epochs, began, direction))


def read_progress(path: Path) -> Progress | None:
    """What the run's process wrote last; ``None`` before it has begun and after it has ended."""
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remove_progress(path: Path) -> None:
    """Of a run that has ended, with what an earlier process of the same run left when it was killed while writing."""
    path.unlink(missing_ok=True)
    for unfinished in path.parent.glob(f".{path.name}.*.tmp"):
        unfinished.unlink(missing_ok=True)
