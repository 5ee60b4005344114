"""RecBole's KSR (Huang et al., SIGIR 2018) with its relations in the precision of everything else.

RecBole 1.2.1 reads the given vectors of relations as doubles and multiplies them with single precision, which torch
refuses (``expected m1 and m2 to have the same dtype``).
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.ksr import KSR as RecboleKSR


class KSR(RecboleKSR):
    """KSR that computes."""

    relation_Matrix: torch.Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.relation_Matrix = self.relation_Matrix.float()
