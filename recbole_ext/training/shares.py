"""Which part of a batch is whose, where several processes train one model (:mod:`recbole_ext.training.team`)."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction

from recbole_ext.errors import ConfigurationError
from recbole_ext.training.exactness import (
    loss_is_a_mean_over_samples,
    normalises_over_the_batch,
    own_random_numbers,
)
from recbole_ext.training.objective import LossOfRows, row_loss
from recbole_ext.training.rows import TARGET_POSITION, TARGET_ROW, TARGET_SLOT
from recbole_ext.training.team import Team


def share_of_rows(part: Interaction, team: Team, of_targets: tuple[str, ...]) -> tuple[Interaction, int]:
    """This process's rows of a part of a batch, with their targets, and how many targets it is to count.

    It is every ``size``-th row, for neighbours are of similar length. Who is left without a target computes a row of
    another's and counts none of it: so every process has a gradient to add, of zeros.

    Args:
        of_targets: the items' fields, with an entry for each target; other fields have one for each row.
    """
    row = part[TARGET_ROW]
    if team.size == 1:
        return part, len(row)
    first, step = team.number, team.size
    ours = row % step == first
    counted = int(ours.sum())
    if not counted:
        first, step = int(row[0]), int(row[-1]) + 1
        ours = row == first
    at_targets = {TARGET_POSITION, TARGET_SLOT, *of_targets}
    fields = {name: part[name][ours] if name in at_targets else part[name][first::step] for name in part.columns}
    fields[TARGET_ROW] = (row[ours] - first) // step
    return Interaction(fields), counted


def share_of_samples(samples: Interaction, team: Team) -> tuple[Interaction, float]:
    """This process's samples of a batch of RecBole's, and how much of the batch they are; see :func:`share_of_rows`."""
    if team.size == 1:
        return samples, 1.0
    ours = torch.arange(team.number, len(samples), team.size)
    return (samples[ours], len(ours) / len(samples)) if len(ours) else (samples[:1], 0.0)


def require_shares_that_add_up(config: Any, model: Any, loader: Any, loss_of_rows: LossOfRows | None) -> None:
    """See that a batch's loss is the mean over its targets, so that processes can share it and get the same.

    Args:
        loader: RecBole's, of training samples.

    Raises:
        ConfigurationError: it is not.
    """
    depends = config["training_loss"] == "sce" or normalises_over_the_batch(model)
    if not depends and loss_of_rows in (None, row_loss):
        with own_random_numbers():
            depends = not loss_is_a_mean_over_samples(model, loader)
    if depends:
        raise ConfigurationError(
            f"nproc: the loss of {type(model).__name__} here is no mean over samples: it depends on which of them are "
            "computed together, so that processes can't share a batch. Leave nproc out for this model."
        )
