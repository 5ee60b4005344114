"""RecBole's models that read item features, with the vectors of ``item_embedding`` as one of them.

RecBole 1.2.1 has no feature type for a given vector per item: its ``preload_weight`` never reaches these models
(RecBole issue 2196). Here the name ``item_embedding`` in their own key ``selected_features`` stands for the store's
vectors, alone or beside fields of the ``.item`` file; a learned linear layer brings them to the model's width. Without
that name in the list the models are RecBole's, and the store initialises their item embedding as for any other model.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from recbole.model.sequential_recommender.fdsa import FDSA as RecboleFDSA
from recbole.model.sequential_recommender.sasrecf import SASRecF as RecboleSASRecF
from recbole.utils import FeatureType
from torch import nn
from torch.nn.functional import embedding, pad

from recbole_ext.attach import item_vectors
from recbole_ext.models import VECTOR_FEATURE


class FeaturesAndVectors(nn.Module):
    """In place of RecBole's ``FeatureSeqEmbLayer``: its fields, and the projected item vectors as one field more.

    Args:
        fields: RecBole's layer for the other fields.
        vectors: ``[n_items - 1, dim]``, in the order of RecBole's internal item ids from 1.
        width: the model's.
    """

    def __init__(self, fields: nn.Module, vectors: torch.Tensor, width: int) -> None:
        super().__init__()
        self.fields = fields
        self.vectors: torch.Tensor
        self.register_buffer("vectors", pad(vectors, (0, 0, 1, 0)))
        self.project = nn.Linear(vectors.shape[1], width)

    def forward(self, users: Any, items: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sparse and dense embeddings of ``items``, ``[batch, length]``: ``[batch, length, fields, width]`` each."""
        sparse, dense = self.fields(users, items)
        if items.numel() < len(self.vectors):
            projected = self.project(self.vectors[items])
        else:
            projected = embedding(items, self.project(self.vectors))
        own = projected.unsqueeze(-2)
        given = dense["item"]
        return sparse, {**dense, "item": own if given is None else torch.cat([given, own], dim=-2)}


class WithVectorFeature:
    """Mixed in before a RecBole model with a ``feature_embed_layer``.

    Raises:
        AttachError, StoreError: ``selected_features`` names the vectors, and there are none or they don't fit.
    """

    def __init__(self: Any, config: Any, dataset: Any) -> None:
        if VECTOR_FEATURE not in config["selected_features"]:
            super().__init__(config, dataset)  # type: ignore[call-arg]
            return
        vectors, coverage = item_vectors(dataset, config)
        # As a float field that is not among the numerical ones it has its place in RecBole's count of features, and
        # RecBole's layer passes it over.
        with_field = copy.copy(dataset)
        with_field.field2type = {**dataset.field2type, VECTOR_FEATURE: FeatureType.FLOAT}
        super().__init__(config, with_field)  # type: ignore[call-arg]
        self.item_vector_coverage = coverage
        self.feature_embed_layer = FeaturesAndVectors(self.feature_embed_layer, vectors, self.hidden_size)
        self.feature_embed_layer.project.apply(self._init_weights)


class SASRecF(WithVectorFeature, RecboleSASRecF):
    """RecBole's SASRecF, which may read item vectors."""


class FDSA(WithVectorFeature, RecboleFDSA):
    """RecBole's FDSA, which may read item vectors."""
