"""How many operations a prediction takes, as RecBole counts them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from recbole.data.transform import construct_transform
from recbole.utils import get_flops

from recbole_ext.training.exactness import own_random_numbers
from recbole_ext.training.prepare import PreparedRun
from recbole_ext.training.transformer import recboles_attention

log = logging.getLogger(__name__)


def count_flops(run: PreparedRun) -> float | None:
    """RecBole's count for one prediction; ``None`` for a model that it can't count.

    RecBole counts between building and training a model, and a prediction may draw random numbers: call it there.
    It copies the model and predicts one item of one sample, which not every model can (``SASRecCPR`` ranks only).
    """
    config, model = run.config, run.model
    try:
        # As the model is, because the random numbers that this draws are part of what a seed means; and again with
        # RecBole's attention, because a fused one hides its layers from the count.
        for attention in (nullcontext(), _attention_of_recbole(model)):
            with attention:
                counted = get_flops(model, run.loaders.dataset, config["device"], log, construct_transform(config))
        return float(counted)
    except Exception as error:  # whatever a model does not bear, its training does not depend on it
        log.info("FLOPs of %s: not counted (%s: %s)", type(model).__name__, type(error).__name__, error)
        return None


@contextmanager
def _attention_of_recbole(model: torch.nn.Module) -> Iterator[None]:
    """Its blocks in place of the fused ones, and the training's random numbers left alone."""
    with own_random_numbers(), recboles_attention(model):
        yield
