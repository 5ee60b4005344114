"""Whose lists are asked for, and after which items: batches that a finished run's trainer can score."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_ext.data.sequences import SampleViews, SequenceViewDataset
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.lists import Target
from recbole_ext.lists.finished import FinishedRun
from recbole_ext.lists.histories import Histories
from recbole_ext.training.evaluation import bounded_batch_size, scores_all_items_at_once
from recbole_ext.wording import some

Batch: TypeAlias = tuple[Interaction, Any, Any, Any]
"""What RecBole's loaders of full ranking give: samples, row and item of what is masked, row and item of targets."""


@dataclass(frozen=True)
class Queries:
    """Users, and how a batch of them is read.

    Attributes:
        users: their tokens, in the order in which they are scored.
        at_once: users of a batch; their scores stay in bounded memory.
        split: whose items are ranked: under ``temporal`` validation knows none of the test period.
    """

    users: np.ndarray
    at_once: int
    _collate: Any
    split: str = "test"

    def bounded(self, n_items: int) -> Queries:
        """The same with batches whose scores stay in bounded memory for so many items."""
        return replace(self, at_once=bounded_batch_size(self.at_once, n_items))

    def batches(self) -> Iterator[tuple[np.ndarray, Batch]]:
        """Tokens of the users of a batch, and the batch."""
        for begin in range(0, len(self.users), self.at_once):
            places = np.arange(begin, min(begin + self.at_once, len(self.users)))
            yield self.users[places], self._collate(places)


def queries_of_users(run: FinishedRun, target: Target, wanted: Sequence[str] | None) -> Queries:
    """Known users: ``wanted`` by token, or all that have the ``target``.

    ``test`` and ``valid`` give exactly what the run was tested and validated on, batch by batch, where all users are
    asked for: their history ends before that item. ``next`` is after all that is known of a user.

    Raises:
        SourceDataError: an unknown user, or one that has no such item.
        ConfigurationError: the protocol gives users several such items, or the data have no histories to go on from.
    """
    known = set() if wanted is None else set(run.users[1:].tolist())
    if unknown := [user for user in dict.fromkeys(wanted or ()) if user not in known]:
        raise SourceDataError(
            f"--users: {some(unknown)}: not among the {len(run.users) - 1:,} users of {run.record.dataset} after its "
            "filters. Give the histories of new users in a file (--histories)."
        )
    return _of_next(run, wanted) if target == "next" else _of_split(run, target, wanted)


def _of_split(run: FinishedRun, split: str, wanted: Sequence[str] | None) -> Queries:
    loader = getattr(run.prepared.loaders, split)
    if not len(loader):
        raise ConfigurationError(f"--target {split}: the protocol of {run.record.run} holds out no such items.")
    assert isinstance(loader, FullSortEvalDataLoader)
    ids = np.asarray(loader._dataset.inter_feat[loader.uid_field] if loader.is_sequential else loader.uid_list)
    if len(np.unique(ids)) < len(ids):
        has_histories = isinstance(loader._dataset, SequenceViewDataset)
        way_out = "Take --target next." if has_histories else "Take a run of a general model, or of another protocol."
        raise ConfigurationError(
            f"--target {split}: this protocol gives users several such items, each with its own history, so a user has "
            f"no one list. {way_out}"
        )
    tokens = run.users[ids]
    places = np.arange(len(ids))
    if wanted is not None:
        asked = set(wanted)
        places = np.flatnonzero([token in asked for token in tokens])
        if left_out := sorted(asked - set(tokens[places].tolist())):
            raise SourceDataError(
                f"--users: {some(left_out)}: no {split} item under this protocol (too few interactions). Take --target "
                "next."
            )
    return Queries(tokens[places], int(loader.step), lambda chosen: loader.collate_fn(places[chosen]), split)


def _of_next(run: FinishedRun, wanted: Sequence[str] | None) -> Queries:
    if run.config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        return _of_next_by_id(run, wanted)
    dataset = _views(run, "--target next")
    users = dataset.history[dataset.uid_field].numpy()
    begin = np.flatnonzero(np.diff(users, prepend=-1))
    end = np.append(begin[1:], len(users))
    ids = users[begin]
    if wanted is not None:
        chosen = np.flatnonzero(np.isin(run.users[ids], list(wanted)))
        begin, end, ids = begin[chosen], end[chosen], ids[chosen]
    return _of_ranges(run, dataset, run.users[ids], ids, begin, end)


def _of_next_by_id(run: FinishedRun, wanted: Sequence[str] | None) -> Queries:
    """Of a model that knows a user by the id: the same scores, without what the user has had in any split."""
    dataset, loader = run.dataset, run.prepared.loaders.test
    users, items = (np.asarray(dataset.inter_feat[field]) for field in (dataset.uid_field, dataset.iid_field))
    order = np.argsort(users, kind="stable")
    users, items = users[order], items[order]
    ids = np.unique(users)
    if wanted is not None:
        ids = ids[np.isin(run.users[ids], list(wanted))]
    first, last = np.searchsorted(users, ids), np.searchsorted(users, ids, side="right")

    def collate(chosen: np.ndarray) -> Batch:
        who = Interaction({dataset.uid_field: torch.from_numpy(ids[chosen])})
        return dataset.join(who), _masked(run, items, first[chosen], last[chosen]), None, None

    return Queries(run.users[ids], int(loader.step), collate)


def queries_of_histories(run: FinishedRun, histories: Histories) -> Queries:
    """Users, known or new, after the items that a file gives.

    Raises:
        ConfigurationError: the model can't be asked so: it knows users by their ids, or reads what a file has not.
    """
    if run.config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        raise ConfigurationError(
            f"--histories: {run.record.model} knows a user by the id that it was trained with and reads no history. "
            "Ask for known users with --users, or take a run of a sequential model."
        )
    if not scores_all_items_at_once(run.config.model_class):
        raise ConfigurationError(
            f"--histories: {run.record.model} scores pair by pair from features of users and items that a history file "
            "does not have. Ask for known users with --users."
        )
    dataset = copy.copy(_views(run, "--histories"))
    ids = {token: number for number, token in enumerate(run.users.tolist())}
    of_user = np.array([ids.get(user, 0) for user in histories.users], dtype=np.int64)
    lengths = np.diff(histories.begins, append=len(histories.items))
    fields = {field: torch.zeros_like(column[:1]) for field, column in dataset.history.interaction.items()}
    history = {field: empty.expand(len(histories.items), *empty.shape[1:]) for field, empty in fields.items()}
    history[dataset.uid_field] = torch.from_numpy(np.repeat(of_user, lengths))
    history[dataset.iid_field] = torch.from_numpy(histories.items)
    if histories.times is not None:
        history[dataset.time_field] = torch.from_numpy(histories.times).to(dataset.history[dataset.time_field].dtype)
    dataset.history = Interaction(history)
    queries = _of_ranges(run, dataset, histories.users, of_user, histories.begins, histories.begins + lengths)
    _check_reads(run, queries, histories, of_user)
    return queries


def _of_ranges(
    run: FinishedRun,
    dataset: SequenceViewDataset,
    tokens: np.ndarray,
    ids: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
) -> Queries:
    """Users whose history is ``dataset.history[begin:end]``, the longest last: batches hold little padding."""
    order = np.argsort(end - begin, kind="stable")
    tokens, ids, begin, end = tokens[order], ids[order], begin[order], end[order]
    start = np.maximum(begin, end - dataset.max_item_list_len)
    blank = {field: torch.zeros_like(column[:1]) for field, column in dataset.history.interaction.items()}
    samples = {field: column.expand(len(ids), *column.shape[1:]) for field, column in blank.items()}
    samples[dataset.uid_field] = torch.from_numpy(ids)
    samples[dataset.item_list_length_field] = torch.from_numpy(end - start)
    samples[dataset.HISTORY_START] = torch.from_numpy(start)
    asked = copy.copy(dataset)
    asked.inter_feat = SampleViews(Interaction(samples), asked)
    loader = run.prepared.loaders.test
    items = dataset.history[dataset.iid_field].numpy()

    def collate(chosen: np.ndarray) -> Batch:
        interaction = loader.transform(asked, asked[chosen])
        return interaction, _masked(run, items, begin[chosen], end[chosen]), None, None

    return Queries(tokens, int(loader.step), collate)


def _masked(run: FinishedRun, items: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Any:
    """Row and item of what these users have seen, ``items[begin:end]`` each; ``None`` where the protocol ranks it."""
    if run.ranks_seen_items:
        return None
    rows = np.repeat(np.arange(len(begin)), end - begin)
    seen = [items[first:last] for first, last in zip(begin, end, strict=True)]
    return torch.from_numpy(rows), torch.from_numpy(np.concatenate(seen)) if seen else torch.empty(0, dtype=torch.long)


def _views(run: FinishedRun, option: str) -> SequenceViewDataset:
    dataset = run.prepared.loaders.test._dataset
    if not isinstance(dataset, SequenceViewDataset):
        raise ConfigurationError(
            f"{option}: {run.record.model} reads {run.record.dataset} as samples that were cut before training, so "
            "there is no history to go on from. Take --target test."
        )
    return dataset


class _Noting(Interaction):
    """An interaction that notes which fields are asked for."""

    def __init__(self, interaction: Interaction) -> None:
        self.read: set[str] = set()
        super().__init__(interaction.interaction)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            self.read.add(index)
        return super().__getitem__(index)


def _check_reads(run: FinishedRun, queries: Queries, histories: Histories, ids: np.ndarray) -> None:
    """See that the model reads nothing of a user that the file does not say."""
    _, batch = next(Queries(queries.users, 2, queries._collate).batches())
    noting = _Noting(batch[0].to(run.model.device))
    with torch.no_grad():
        run.model.full_sort_predict(noting)
    dataset = run.prepared.loaders.test._dataset
    given = {getattr(dataset, f"{dataset.iid_field}_list_field"), dataset.item_list_length_field}
    if histories.times is not None:
        given.add(getattr(dataset, f"{dataset.time_field}_list_field"))
    if (ids > 0).all():
        given.add(dataset.uid_field)
    for field in sorted(noting.read - given):
        if field == dataset.uid_field:
            new = histories.users[ids == 0].tolist()
            raise ConfigurationError(
                f"--histories: {run.record.model} reads user ids, and training never saw {some(new)}. Leave new users "
                "out, or take a run of a model that reads items alone."
            )
        if field == getattr(dataset, f"{dataset.time_field}_list_field"):
            raise ConfigurationError(
                f"{histories.source}: {run.record.model} reads times: give them in a column timestamp."
            )
        raise ConfigurationError(
            f"--histories: {run.record.model} reads {field!r}, which a history file does not have. Ask for known users "
            "with --users."
        )
