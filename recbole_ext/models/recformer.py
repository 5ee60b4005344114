"""RECFORMER (Li et al., KDD 2023, arXiv 2305.13731) as a RecBole model: the PLM reads the whole sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.models.recformer_trainer import RECFORMERTrainer
from recbole_ext.moving import moved
from recbole_ext.recformer.encoder import load_behaviour_encoder
from recbole_ext.recformer.item_tokens import ItemTokens


class RECFORMER(SequentialRecommender):
    """Scores an item by the cosine between the pooled text of a user's sequence and the item's pooled text.

    Any Hugging Face encoder serves as the PLM; with a Longformer the parameters have the names of the public
    checkpoints, which ``checkpoint`` loads as they are. The item matrix (``item_embedding``) takes no gradient: the
    trainer's first stage encodes it anew before every epoch, its second keeps the best one; see
    :class:`recbole_ext.models.recformer_trainer.RECFORMERTrainer`.

    Loss: cross-entropy over all items, or over the target and ``negatives`` uniform ones, of cosine over
    ``temperature`` (section 2.4). Left out of the public code: the linear schedule of the learning rate.
    """

    input_type = InputType.POINTWISE
    training_samples = "text"
    """It reads users' histories through its own trainer; see :func:`recbole_ext.training.choose_samples`."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        source = resolve_encoder(config["encoder"])
        encoder, tokenizer, reading = load_behaviour_encoder(
            source, config["max_items"], config["pooling"], attention_window=config["attention_window"]
        )
        if config["checkpoint"]:
            encoder.load_checkpoint(Path(config["checkpoint"]))
        # Not a submodule: the PLM is registered under its own name alone, as in the public checkpoints.
        object.__setattr__(self, "encoder", encoder)
        self.add_module(encoder.prefix, encoder.base)
        encoder.words.weight.requires_grad_(not config["freeze_words"])
        self.temperature, self.negatives = float(config["temperature"]), int(config["negatives"] or 0)
        self.tokens, reading = _tokenise_items(config, dataset, tokenizer, reading, encoder.longest, encoder.max_items)
        self.tokenizer, self.reading = tokenizer, reading
        self.item_embedding = nn.Embedding(self.n_items, encoder.width, padding_idx=0)
        self.item_embedding.weight.requires_grad_(False)
        # Kept with the weights: the matrix that was validated is older than the PLM that stage two has trained on.
        self.register_buffer("items_are_current", torch.tensor(False))

    def encode_items(self) -> None:
        """Set the item matrix to what the PLM makes of every item's text now."""
        self.item_embedding.weight.copy_(self.encoder.encode_items(self.tokens))
        self.items_are_current.fill_(True)

    def save_encoder(self, folder: Path) -> None:
        """Write the PLM as ``tune`` does: ``encode``, ``study`` and this model load the folder."""
        self.encoder.save(folder, self.tokenizer, self.reading)

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        """Pooled vectors of the sequences, ``[B, width]``."""
        # Texts are put together on the host, where the trainer leaves its samples; RecBole's evaluation does not.
        rows = torch.cat([item_seq_len.unsqueeze(1), item_seq], dim=1).cpu().numpy()
        sequences = [row[1 : 1 + row[0]] for row in rows]
        if not torch.is_grad_enabled():
            return self.encoder.encode_sequences(self.tokens, sequences)
        return self.encoder.pool(self.tokens.batch(sequences))

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        users = normalize(self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]).float(), dim=-1)
        matrix = self.item_embedding.weight
        target = moved(interaction[self.ITEM_ID], matrix.device)
        if not self.negatives:
            logits = users @ normalize(matrix, dim=-1).T / self.temperature
            logits[:, 0] = float("-inf")
            return cross_entropy(logits, target)
        # Set where data are cut in time: items that are first seen later are no negatives.
        n_items = getattr(self, "n_trained_items", self.n_items)
        shape = (len(target), self.negatives)
        candidates = torch.cat([target.unsqueeze(-1), torch.randint(1, n_items, shape, device=target.device)], dim=-1)
        logits = (normalize(matrix[candidates], dim=-1) @ users.unsqueeze(-1)).squeeze(-1) / self.temperature
        # The target itself, drawn by chance, is no negative.
        logits[:, 1:].masked_fill_(candidates[:, 1:] == target.unsqueeze(-1), float("-inf"))
        return cross_entropy(logits, torch.zeros_like(target))

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Cosine with every item, ``[B, n_items]``."""
        users = self._users(interaction)
        return users @ normalize(self.item_embedding.weight, dim=-1).T

    def predict(self, interaction: Any) -> torch.Tensor:
        """Cosine with ``item_id``, ``[B]``."""
        items = normalize(self.item_embedding(interaction[self.ITEM_ID]), dim=-1)
        return (self._users(interaction) * items).sum(-1)

    def _users(self, interaction: Any) -> torch.Tensor:
        if not self.items_are_current:
            self.encode_items()
        return normalize(self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]), dim=-1)


def _tokenise_items(
    config: Any, dataset: Any, tokenizer: Any, reading: dict[str, Any], longest: int, max_items: int
) -> tuple[ItemTokens, dict[str, Any]]:
    """The dataset's items in RecBole's order, and how they are read.

    Items without text have no tokens and are read as ``<s>`` alone.
    """
    home = Dataset.of_config(config)
    attributes = home.attributes(config["item_attributes"] or reading.get("attributes"))
    of_item = home.item_key_values(attributes)
    items = dataset.id2token(dataset.iid_field, np.arange(1, dataset.item_num))
    attribute_tokens = config["attribute_tokens"] or reading.get("attribute_tokens", 32)
    max_tokens = min(config["max_tokens"] or reading.get("max_tokens", 1024), longest)
    tokens = ItemTokens.of(
        [of_item.get(str(item), []) for item in items], tokenizer, attribute_tokens, max_items, max_tokens
    )
    return tokens, {"attributes": attributes, "attribute_tokens": attribute_tokens, "max_tokens": max_tokens}


__all__ = ["RECFORMER", "RECFORMERTrainer"]
