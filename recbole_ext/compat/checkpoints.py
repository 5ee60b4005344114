"""Checkpoints of plain values and tensors: since 2.6, ``torch.load`` reads nothing else (RecBole issue 2215).

RecBole pickles its ``Config`` into them, so every ``evaluate(load_best_model=True)`` dies after the training, and so
does every model that begins from another's checkpoint: ConvNCF, KD_DAGFM, NAIS, NeuMF, RaCT, S3Rec. What is written
here they read as they are, and nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_checkpoints_that_load_safely() -> None:
    """Let ``Trainer._save_checkpoint`` write plain values (trainer.py:289), whole or not at all."""
    from recbole.trainer import Trainer

    def save_checkpoint(self: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        target = kwargs.pop("saved_model_file", self.saved_model_file)
        progress = {"cur_step": self.cur_step, "best_valid_score": float(self.best_valid_score)}
        save(_state(self, epoch) | progress, target)
        if verbose:
            self.logger.info(f"Saving current: {target}")

    Trainer._save_checkpoint = save_checkpoint


def save_pretrained_models_that_load_safely() -> None:
    """The same for ``PretrainTrainer.save_pretrained_model`` (trainer.py:755): S3Rec and RaCT begin from its files."""
    from recbole.trainer.trainer import PretrainTrainer

    def save_pretrained_model(self: Any, epoch: int, saved_model_file: str) -> None:
        save(_state(self, epoch), saved_model_file)
        self.saved_model_file = saved_model_file

    PretrainTrainer.save_pretrained_model = save_pretrained_model


def _state(trainer: Any, epoch: int) -> dict[str, Any]:
    from recbole_ext.compat.configs import plain_config

    return {
        "config": plain_config(trainer.config),
        "epoch": epoch,
        "state_dict": trainer.model.state_dict(),
        "other_parameter": _learned(trainer.model.other_parameter()),
        "optimizer": trainer.optimizer.state_dict(),
    }


def _learned(parameters: dict[str, Any]) -> dict[str, Any]:
    """What of a model's ``other_parameter`` training changes and the state dict lacks.

    Modules (SASRecF, FDSA, DIN, …) are in the state dict; scipy and numpy matrices (ItemKNN, EASE, …) and RippleNet's
    sets of them are made of the data by the constructor and stay what they are.
    """
    return {name: value for name, value in parameters.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    import torch

    if type(value) is dict:
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, torch.Tensor) or type(value) in (bool, int, float, str, type(None))


def save(state: dict[str, Any], target: str | Path) -> None:
    """Write a checkpoint of plain values and tensors, whole or not at all."""
    import torch

    from recbole_ext.writing import replacing_file

    with replacing_file(Path(target)) as temporary:
        torch.save(state, temporary)
