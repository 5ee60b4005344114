"""RECFORMER's two-stage fine-tuning as a RecBole trainer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from recbole_ext import __version__
from recbole_ext.capacity import SHARE_OF_ACTIVATIONS, activation_bytes, at_once
from recbole_ext.data.dataset import Dataset
from recbole_ext.losses_of_epoch import LossesOfEpoch
from recbole_ext.mixed_precision import mixed_precision
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.vectors.before_the_cut import tuned_on
from recbole_ext.writing import replacing_folder

log = logging.getLogger(__name__)

TOKENS_PER_PART = 8192  # of one forward pass on a CPU; a batch's parts add up their gradients


class RECFORMERTrainer(Trainer):
    """Stage one encodes all items before every epoch; stage two keeps the best epoch's item matrix and trains on.

    Without epochs in stage one, that matrix is what the PLM makes of the items as it comes.

    Each stage ends after its ``_epochs``, or after its ``_patience`` epochs without a better validation score, and the
    best epoch of both is the result. An epoch predicts one random item of each user's training sequence, as in the
    public code. With ``export_item_embedding`` the PLM of stage one's best epoch encodes all items into a store: the
    paper's ``finetune`` vectors; with ``export_encoder`` that PLM becomes a folder. (That epoch's own matrix is older:
    it was encoded before the epoch's training, and after one epoch would be no more than ``pretrain``'s.)
    """

    encodes_items = True
    epochs_done = 0
    epoch_limit: int
    """Epochs that there are at most: those that an ended stage took, and all of the stages from this one on. In the end
    those that there were, where one of the stages was ended by its own limit."""

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        config = self.config
        result = (0.0, None)
        first_of_stage = 0
        at_limit = False
        to_come = sum(int(config[f"stage_{stage}_epochs"]) for stage in ("one", "two"))
        for stage in ("one", "two"):
            epochs = int(config[f"stage_{stage}_epochs"])
            self.epoch_limit = first_of_stage + to_come
            to_come -= epochs
            if stage == "two" and not epochs:
                break
            self.encodes_items = stage == "one"
            if self.encodes_items and not epochs:
                self.model.encode_items()  # which its epochs do, and stage two trains against
            self.start_epoch, self.epochs = first_of_stage, first_of_stage + epochs
            # RecBole stops beyond its number of epochs without a better score, and not at it.
            self.stopping_step, self.cur_step = int(config[f"stage_{stage}_patience"]) - 1, 0
            result = super().fit(train_data, valid_data, *args, **kwargs)
            at_limit = at_limit or (0 < epochs <= self.epochs_done - first_of_stage)
            first_of_stage = self.epochs_done
            if valid_data is not None:
                self._load_best()
            if stage == "one":
                self._export(train_data._dataset, config["export_item_embedding"], config["export_encoder"])
        if at_limit:
            self.epoch_limit = self.epochs_done
        return result

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        self.epochs_done = epoch_idx + 1
        if self.encodes_items:
            self.model.encode_items()
        self.model.train()
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.enable_scaler)
        losses = LossesOfEpoch()
        batches = list(self._batches(train_data._dataset, epoch_idx))
        for parts in tqdm(batches, desc=f"Train {epoch_idx:>4}", disable=not show_progress, leave=False):
            n_sequences = sum(len(part) for part in parts)
            self.optimizer.zero_grad()
            for part in parts:
                with mixed_precision(self.device, self.enable_amp, self.enable_scaler):
                    loss = self.model.calculate_loss(part) * (len(part) / n_sequences)
                losses.add(loss)
                scaler.scale(loss).backward()
            if self.clip_grad_norm:
                scaler.unscale_(self.optimizer)
                clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            scaler.step(self.optimizer)
            scaler.update()
        (total,) = losses.sums()
        return total / len(batches) * len(train_data)  # RecBole divides by the batches of its own loader

    def _batches(self, dataset: Any, epoch: int) -> Iterator[list[Interaction]]:
        """One random training sample of every user, ``train_batch_size`` a step, in parts of similar token length."""
        generator = np.random.default_rng([int(self.config["seed"]), epoch])
        users = dataset.inter_feat[dataset.uid_field].numpy()
        shuffled = generator.permutation(len(users))
        _, first = np.unique(users[shuffled], return_index=True)
        samples = generator.permutation(shuffled[first])
        lengths = dataset.inter_feat[dataset.item_list_length_field].numpy()
        per_item = np.diff(self.model.tokens.offset)[1:].mean()
        size = int(self.config["train_batch_size"])
        for begin in range(0, len(samples), size):
            batch = samples[begin : begin + size]
            batch = batch[np.argsort(lengths[batch], kind="stable")]
            tokens = np.minimum(1 + lengths[batch] * per_item, self.model.tokens.max_tokens)
            part = (tokens.cumsum() // self._tokens_per_part).astype(int)
            yield [dataset[batch[part == number]] for number in np.unique(part)]

    @property
    def _tokens_per_part(self) -> int:
        config = self.model.encoder.base.config
        size = activation_bytes(int(config.hidden_size), int(config.num_hidden_layers))
        return at_once(self.device, TOKENS_PER_PART, SHARE_OF_ACTIVATIONS, size)

    def _load_best(self) -> None:
        checkpoint = torch.load(self.saved_model_file, map_location=self.device)
        self.model.load_state_dict(checkpoint["state_dict"])

    def _export(self, dataset: Any, store: str | None, encoder: str | None) -> None:
        """Write what stage one's best epoch made: its PLM, and all items as that PLM encodes them."""
        if encoder:
            with replacing_folder(Path(encoder)) as folder:
                self.model.save_encoder(folder)
            log.info("%s: the PLM of stage one's best epoch", encoder)
        if not store:
            return
        items = dataset.id2token(dataset.iid_field, np.arange(1, dataset.item_num))
        meta = {
            "encoder": str(self.config["encoder"]),
            "made_by": "RECFORMER, stage one",
            "dataset": dataset.dataset_name,
            # Read where the store is given to a run whose data are cut in time.
            "tuned_on": {
                "sources": {dataset.dataset_name: {"histories": Dataset.of_config(self.config).histories_request()}},
                "encoder": tuned_on(Path(self.config["encoder"]).expanduser()),
            },
            "seed": int(self.config["seed"]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": __version__,
        }
        matrix = self.model.encoder.encode_items(self.model.tokens)[1:].cpu().float()
        ItemEmbeddingStore(matrix, [str(item) for item in items], meta).save(Path(store))
        log.info("%s: items encoded by stage one's best epoch", store)
