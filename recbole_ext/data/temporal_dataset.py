"""RecBole's datasets under the protocol ``temporal``; see :mod:`recbole_ext.data.temporal`."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

from recbole_ext.data.sequences import select
from recbole_ext.data.temporal import TEST, TRAIN, VALID, Counted, Cut, Temporal, Timeline
from recbole_ext.errors import ConfigurationError


class TemporalSplit:
    """Mixed in before a dataset class of RecBole: its splits are one cut in time over all users.

    RecBole 1.2.1 has a split ``TS``, which is not this: only its test set is cut at one time, each user's rows before
    that are split by the user's own proportions, so that one user validates while another's later rows train; a user's
    test rows are all of them, without a choice of target; and times are compared in single precision. Its other splits
    (``RS`` without a group) cut all rows but then predict every one of them.

    Nothing after the cut touches what is before it:

    * rows are read in the order of time, so that users and items of training have the first internal ids, in an order
      that later rows can't change; new ones follow;
    * RecBole's filters by number of interactions count training rows alone. Whom they remove is removed everywhere, who
      is new after the cut is not judged;
    * numbers that rows lack are the mean of training rows;
    * popularity (``inter_matrix``) is that of training rows.

    Nor does the test period touch validation, which chooses epochs and trials: items first seen in it are not ranked
    there. One thing remains, which only ``new_items: leave_out`` takes away: a model's tables have a row for every
    item, so that how many items come later decides what a model draws at its start, as another seed would.

    Attributes:
        timeline: all interactions, in the order of time.
        counted: what the split leaves.
        n_trained_items: items of the training rows and the padding item; larger ids are new items.
        n_ranked_items: of a split: the items that are ranked in it and the padding item; larger ids are of later ones.
    """

    config: Any
    inter_feat: Any
    item_feat: Any
    uid_field: str
    iid_field: str
    time_field: str
    field2type: dict[str, Any]
    kind: type
    history: Interaction
    holds_training: bool = False
    n_ranked_items: int

    def __init__(self, config: Any) -> None:
        settings = Temporal.of(config["eval_args"])
        assert settings is not None
        self.temporal: Temporal = settings
        super().__init__(config)  # type: ignore[call-arg]

    def __reduce__(self) -> Any:
        return _empty, (self.kind,), self.__dict__  # the class is made at run time, and loaders' workers unpickle it

    def _data_processing(self) -> None:
        super()._data_processing()  # type: ignore[misc]
        users, items = (self.inter_feat[field].to_numpy() for field in (self.uid_field, self.iid_field))
        self.timeline = Timeline(users, items, self._period)
        self.counted = Counted.of(self.timeline, self.temporal, self._cut, self._left_out)
        self.n_trained_items = len(self.timeline.trained) + 1
        assert self.timeline.trained[-1] == self.n_trained_items - 1, "new items have the largest ids"
        self.n_ranked_items = self.item_num  # type: ignore[attr-defined]

    def _data_filtering(self) -> None:
        """RecBole's, after which it is known which rows are left in which period.

        A dataset with a knowledge graph takes out, last of all, interactions with items that no entity stands for. Such
        items are taken out of the ``.item`` file as well: their ids would come before those of training.
        """
        super()._data_filtering()  # type: ignore[misc]
        if self.item_feat is not None and hasattr(self, "item2entity"):
            self.item_feat = self.item_feat[self.item_feat[self.iid_field].isin(self.item2entity)]
        self._period = self._cut.period(self.inter_feat[self.time_field].to_numpy())
        rows_left = np.bincount(self._period, minlength=3)
        if not rows_left.all():
            what = ("trains", "validates", "tests")[int(rows_left.argmin())]
            raise ConfigurationError(
                "eval_args.split.temporal: once RecBole's filters and new items are taken out, no interaction "
                f"{what}. Choose other cuts, filters or new_items."
            )

    def _filter_by_inter_num(self) -> None:
        """Before this last filter of interactions rows are put in order and cut, as exactly as the file has times."""
        rows = self.inter_feat.sort_values(self.time_field, kind="stable")
        times = rows[self.time_field].to_numpy()
        self._cut: Cut = self.temporal.cut(times)
        trains = times < self._cut.valid
        self.inter_feat, later = rows[trains].copy(), rows[~trains]
        features = {name: getattr(self, name) for name in ("user_feat", "item_feat")}
        self.user_feat = self.item_feat = None
        super()._filter_by_inter_num()  # type: ignore[misc]
        for field, name in ((self.uid_field, "user_feat"), (self.iid_field, "item_feat")):
            removed = set(rows[field][trains]) - set(self.inter_feat[field])
            later = later[~later[field].isin(removed)]
            if features[name] is not None:
                features[name] = features[name][~features[name][field].isin(removed)]
        is_new = ~later[self.iid_field].isin(set(self.inter_feat[self.iid_field]))
        self._left_out = (0, 0)
        if self.temporal.new_items == "leave_out":
            self._left_out = (later[self.iid_field][is_new].nunique(), int(is_new.sum()))
            later = later[~is_new]
            if features["item_feat"] is not None:
                described = features["item_feat"][self.iid_field]
                features["item_feat"] = features["item_feat"][described.isin(set(self.inter_feat[self.iid_field]))]
        self.user_feat, self.item_feat = features["user_feat"], features["item_feat"]
        self.inter_feat = pd.concat([self.inter_feat, later])

    def _fill_nan(self) -> None:
        """Numbers that interactions lack are the mean of training's, or 0 where that has none; RecBole's is that of all
        rows."""
        trains = self._period == TRAIN
        for field in self.inter_feat:
            if self.field2type[field] is FeatureType.FLOAT:
                column = self.inter_feat[field]
                known = column[trains].dropna()
                self.inter_feat[field] = column.fillna(known.mean() if len(known) else 0.0)
        super()._fill_nan()  # type: ignore[misc]

    def build(self) -> list[Any]:
        """Training, validation and test split."""
        self._change_feat_format()  # type: ignore[attr-defined]
        timeline, target = self.timeline, self.temporal.target
        parts = [np.flatnonzero(timeline.period == TRAIN)]
        parts += [timeline.targets(period, target) for period in (VALID, TEST)]
        if isinstance(self, SequentialDataset):
            parts = [timeline.sample[rows] for rows in parts]
            parts = [np.sort(samples[samples >= 0]) for samples in parts]
        self._drop_unused_col()  # type: ignore[attr-defined]
        splits = [self.copy(select(self.inter_feat, torch.from_numpy(part))) for part in parts]  # type: ignore[attr-defined]
        splits[0].holds_training = True
        splits[VALID].n_ranked_items = 1 + int(timeline.items[timeline.period != TEST].max())
        return splits

    def with_rows(self, rows: np.ndarray) -> Any:
        """This dataset with the users and items of these rows of the timeline alone, for RecBole's samplers."""
        dataset = copy.copy(self)
        dataset.inter_feat = self._users_and_items(rows)
        return dataset

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        """User–item matrix, as in RecBole; that of training holds every training row.

        (A sequential model's samples lack the row of a user who has no more than one.)
        """
        if not self.holds_training or value_field is not None or not isinstance(self, SequentialDataset):
            return super().inter_matrix(form, value_field)  # type: ignore[misc]
        rows = self._users_and_items(np.flatnonzero(self.timeline.period == TRAIN))
        return self._create_sparse_matrix(rows, self.uid_field, self.iid_field, form, None)  # type: ignore[attr-defined]

    def _users_and_items(self, rows: np.ndarray) -> Interaction:
        users, items = (torch.from_numpy(values[rows]) for values in (self.timeline.users, self.timeline.items))
        return Interaction({self.uid_field: users, self.iid_field: items})


@cache
def temporal(kind: type) -> type:
    """The dataset class ``kind`` under this protocol."""
    return type(f"Temporal{kind.__name__}", (TemporalSplit, kind), {"kind": kind})


def _empty(kind: type) -> Any:
    return object.__new__(temporal(kind))
