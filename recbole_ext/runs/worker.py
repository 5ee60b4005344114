"""What the process that runs are forked from has loaded, and how a run's process behaves."""

from __future__ import annotations

import recbole.data  # noqa: F401  (loaded once, so that each run starts in milliseconds)
import recbole.model.general_recommender  # noqa: F401
import recbole.trainer  # noqa: F401
import torch._dynamo  # noqa: F401  (which the first optimizer would load, in two seconds)

import recbole_ext.runs.single
import recbole_ext.training  # noqa: F401
from recbole_ext.machine import git_revision
from recbole_ext.terminal import log_to_terminal

git_revision()


def quiet_recbole() -> None:
    """RecBole logs through the root logger; a run's progress is its record, so only warnings of others pass."""
    log_to_terminal()
