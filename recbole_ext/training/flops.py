"""How many operations a prediction takes, as RecBole counts them."""

from __future__ import annotations

import logging

from recbole.data.transform import construct_transform
from recbole.utils import get_flops

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
        with recboles_attention(model):
            return float(get_flops(model, run.loaders.dataset, config["device"], log, construct_transform(config)))
    except Exception as error:  # whatever a model does not bear, its training does not depend on it
        log.info("FLOPs of %s: not counted (%s: %s)", type(model).__name__, type(error).__name__, error)
        return None
