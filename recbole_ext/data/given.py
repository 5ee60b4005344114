"""The protocol ``given``: files that are split already (RecBole's ``benchmark_filename``), as RecBole's datasets.

A row may carry its history in a column ``item_id_list:token_seq``, as UniSRec's files do (Hou et al., KDD 2022), or be
plain: user, item and perhaps a time. RecBole 1.2.1 trains sequential models on files of the first kind alone, asks for
the column in each of them, and has to be told by ``load_col`` and ``alias_of_item_id`` what it holds.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import SequentialDataset
from recbole.utils import FeatureSource

from recbole_ext.data.files import history_column
from recbole_ext.data.sequences import SequenceViewDataset, select
from recbole_ext.data.temporal import Timeline


class GivenFiles:
    """Mixed in before a dataset class of RecBole that reads such files.

    The history of a plain row is what its user did in plain rows before: in the files before, and in its own at earlier
    times, as exactly as the file has them, or in earlier lines where it has none. For sequential models a row without
    any history is no sample, and histories keep their newest ``MAX_ITEM_LIST_LENGTH`` items. (RecBole hands longer ones
    to models that have no place for them.)

    Attributes:
        file_of_row: which of the files each row is of, int ``[rows]``.
    """

    config: Any
    inter_feat: Any
    file_size_list: list[int]
    field2seqlen: dict[str, int]
    uid_field: str
    iid_field: str
    time_field: str
    item_id_list_field: str | None
    kind: type

    def __reduce__(self) -> Any:
        return _empty, (self.kind,), self.__dict__  # the class is made at run time, and loaders' workers unpickle it

    @property
    def _history_column(self) -> str | None:
        return history_column(getattr(self.config, "final_config_dict", self.config))  # RecBole's Config is no mapping

    def _get_load_and_unload_col(self, source: Any) -> Any:
        """Histories are read wherever there are some: models that don't need them rank the same items then."""
        load, unload = super()._get_load_and_unload_col(source)  # type: ignore[misc]
        column = self._history_column
        return ({*load, column} if source == FeatureSource.INTERACTION and load and column else load), unload

    def _set_alias(self, alias_name: str, default_value: list[str]) -> None:
        if alias_name == "item_id" and (column := self._history_column) and column in self.inter_feat:
            default_value = [*default_value, column]
        super()._set_alias(alias_name, default_value)  # type: ignore[misc]

    def _benchmark_presets(self) -> None:
        self.item_id_list_field = self._history_column  # RecBole looks for it by this name, whatever items are called
        super()._benchmark_presets()  # type: ignore[misc]

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        super()._load_inter_feat(token, dataset_path)  # type: ignore[misc]
        self.file_of_row = np.repeat(np.arange(len(self.file_size_list)), self.file_size_list)
        if self.time_field in self.inter_feat:
            order = np.lexsort((self.inter_feat[self.time_field].to_numpy(), self.file_of_row))
            self.inter_feat = self.inter_feat.iloc[order].reset_index(drop=True)
        if (column := self._history_column) and column in self.inter_feat:
            self._fill_histories(column)

    def _fill_histories(self, field: str) -> None:
        longest = int(self.config["MAX_ITEM_LIST_LENGTH"]) if isinstance(self, SequentialDataset) else None
        before: dict[str, list[str]] = {}
        histories = []
        rows = self.inter_feat
        for user, item, given in zip(rows[self.uid_field], rows[self.iid_field], rows[field], strict=True):
            if isinstance(given, np.ndarray):
                history = given
            else:
                past = before.setdefault(user, [])
                history = np.array(past, dtype=str)
                past.append(item)
            histories.append(history if longest is None else history[-longest:])
        lengths = np.array([len(history) for history in histories])
        self.inter_feat[field] = histories
        self.field2seqlen[field] = max(int(lengths.max()), 1)
        if longest is not None:
            self.inter_feat = self.inter_feat[lengths > 0].reset_index(drop=True)
            self.file_of_row = self.file_of_row[lengths > 0]
            self.file_size_list = np.bincount(self.file_of_row, minlength=len(self.file_size_list)).tolist()


class GivenSequences(GivenFiles, SequenceViewDataset):
    """Plain files for a sequential model: one history per user, through all files, without copies."""

    def _benchmark_presets(self) -> None:
        """RecBole's looks for given histories."""

    def _data_processing(self) -> None:
        super()._data_processing()
        users, items = (self.inter_feat[field].to_numpy() for field in (self.uid_field, self.iid_field))
        self.timeline = Timeline(users, items, self.file_of_row)

    def _change_feat_format(self) -> None:
        super()._change_feat_format()
        self.data_augmentation()

    def _sort_by_user(self) -> None:
        self.sort(by=self.uid_field)  # rows come in the order of files and time

    def build(self) -> list[Any]:
        """A split for each file: those of its rows that have a history."""
        self._change_feat_format()
        self._drop_unused_col()
        of_file = (self.timeline.sample[self.file_of_row == file] for file in range(len(self.file_size_list)))
        samples = (np.sort(numbers[numbers >= 0]) for numbers in of_file)
        splits = [self.copy(select(self.inter_feat, torch.from_numpy(part))) for part in samples]
        splits[0].holds_training = True
        return splits


GivenSequences.kind = SequenceViewDataset


@cache
def given(kind: type) -> type:
    """The dataset class ``kind`` for files that are split already; ``SequenceViewDataset`` for plain ones."""
    if kind is SequenceViewDataset:
        return GivenSequences
    return type(f"Given{kind.__name__}", (GivenFiles, kind), {"kind": kind})


def _empty(kind: type) -> Any:
    return object.__new__(given(kind))
