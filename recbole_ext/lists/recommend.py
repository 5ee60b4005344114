"""``recommend``: the top K of a finished run, by tokens, for known users or for histories that a file gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils import parametrize
from tqdm import tqdm

from recbole_ext.errors import ConfigurationError
from recbole_ext.lists import TARGETS, Target
from recbole_ext.lists.finished import FinishedRun, reopen
from recbole_ext.lists.histories import read_histories
from recbole_ext.lists.new_items import NewItems, find_new_items
from recbole_ext.lists.queries import Queries, queries_of_histories, queries_of_users
from recbole_ext.lists.table import check_writable, read_table, tokens_of, writing_table
from recbole_ext.store import ItemEmbeddingStore

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

COLUMNS = ("user", "item", "rank", "score")


@dataclass(frozen=True)
class Recommendations:
    """The lists of a finished run.

    Attributes:
        run: its name.
        users: how many lists there are.
        topk: items of a list, as asked for; fewer where a user has seen nearly all.
        longest: items of the longest list; fewer than ``topk`` where that is more than there are to rank.
        out: the file that they were written to, if any.
    """

    run: str
    users: int
    topk: int
    longest: int
    out: Path | None
    _frame: pd.DataFrame | None = None

    def to_pandas(self) -> pd.DataFrame:
        """Columns ``user``, ``item`` (tokens), ``rank`` (from 1) and ``score``; a user's rows lie together."""
        import pandas

        if self._frame is not None:
            return self._frame
        assert self.out is not None
        names = {column: (column,) for column in COLUMNS}
        frame = pandas.concat(read_table(self.out, names), ignore_index=True)
        return frame.astype({"user": str, "item": str, "rank": np.int64, "score": np.float32})

    def lines(self) -> list[str]:
        """What was written, for the terminal."""
        few = f" ({self.longest:,} items at most: no user has more to be ranked)" if self.longest < self.topk else ""
        return [f"{self.out}: top {self.topk:,}{few} for {self.users:,} users, by {self.run}"]


def recommend(
    run: Path | str,
    *,
    users: Sequence[str] | Path | None = None,
    histories: Path | str | pd.DataFrame | None = None,
    topk: int = 10,
    target: Target = "test",
    new_items: Path | str | ItemEmbeddingStore | None = None,
    new_items_only: bool = False,
    out: Path | str | None = None,
    data_path: Path | str | None = None,
    store: Path | str | None = None,
    progress: bool = False,
) -> Recommendations:
    """Rank items for users with a finished run that kept its checkpoint (``keep_checkpoints: true``).

    What a user has seen is left out where the run's protocol leaves it out, the item to find excepted.

    Args:
        run: a record's path, or results folder and name: ``runs/mine/NAME``.
        users: tokens of known users, or a file (a ``Path``: one a line, or a table); by default all of them.
        histories: instead of ``users``: a table (csv, tsv, parquet or a data frame) with columns user, item and perhaps
            timestamp. Its users may be new ones; its rows are the whole history.
        topk: items of a list; all that are left to rank where there are fewer.
        target: what a known user's list is for: the ``test`` item, as the run was tested; the ``valid`` item; or what
            is ``next``, after all that the dataset holds of the user.
        new_items: a store with vectors of items that training never saw; they join the ranking.
        new_items_only: rank these alone.
        out: a csv, tsv or parquet to write; without, the lists are kept in memory.
        data_path: where the dataset's folder lies now; by default where the run found it.
        store: where the run's own store lies now.
        progress: show it.

    Raises:
        ConfigurationError: no such run, it kept no checkpoint, or the arguments contradict each other or the model.
        SourceDataError: unknown users or items, a file that is no such table; names the row.
        StoreError: stores that are missing or do not fit.
        WriteError: ``out`` can't be written.
    """
    import pandas

    if histories is not None and (users is not None or target != "test"):
        raise ConfigurationError("--histories: the file says users and histories; leave --users and --target out.")
    if isinstance(topk, bool) or not isinstance(topk, int) or topk < 1:
        raise ConfigurationError(f"--topk: {topk!r} is not a number from 1.")
    if target not in TARGETS:
        raise ConfigurationError(f"--target: {target!r} is unknown; choose one of {', '.join(TARGETS)}.")
    if new_items_only and new_items is None:
        raise ConfigurationError("--new-items-only: name them with --new-items.")
    out = Path(out).expanduser() if out is not None else None
    if out is not None:
        check_writable(out)
    wanted = None if histories is not None else _wanted(users)
    finished = reopen(run, data_path, store)
    if histories is None:
        queries = queries_of_users(finished, target, wanted)
    else:
        given = histories if isinstance(histories, pandas.DataFrame) else Path(histories).expanduser()
        dataset = finished.dataset
        fields = (dataset.uid_field, dataset.iid_field, dataset.time_field)
        queries = queries_of_histories(finished, read_histories(given, finished.items, fields))
    unseen = find_new_items(finished, new_items) if new_items is not None else None
    frames: list[pd.DataFrame] = []
    with ExitStack() as stack:
        append = frames.append if out is None else stack.enter_context(writing_table(out))
        longest = 0
        for frame in _lists(finished, queries, topk, unseen, new_items_only, progress):
            append(frame)
            longest = max(longest, int(frame["rank"].max()))
        if not longest:
            raise ConfigurationError(
                f"{finished.record.run}: these users have seen every item; nothing is left to list."
            )
    kept = pandas.concat(frames, ignore_index=True) if out is None else None
    return Recommendations(finished.record.run, len(queries.users), topk, longest, out, kept)


def _wanted(users: Sequence[str] | Path | None) -> list[str] | None:
    """The users asked for by token, in a list or in a file with one a line; ``None``: all."""
    if users is None:
        return None
    if isinstance(users, Path):
        path = users.expanduser()
        if path.suffix in (".csv", ".tsv", ".parquet"):
            pieces = list(read_table(path, {"user": ("user", "user_id")}))
            found = [token for piece in pieces for token in tokens_of(path, piece["user"])]
        else:
            try:
                found = path.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"--users: {path} can't be read: {error}.") from error
    else:
        found = [users] if isinstance(users, str) else [str(user) for user in users]
    wanted = [user for user in dict.fromkeys(found) if user]
    if not wanted:
        raise ConfigurationError("--users: nobody is named.")
    return wanted


def _lists(
    run: FinishedRun, queries: Queries, topk: int, unseen: NewItems | None, only: bool, progress: bool
) -> Iterator[pd.DataFrame]:
    """A frame of lists for each batch of users; the scores of one batch are all that is held."""
    import pandas

    tokens = run.items if unseen is None else np.concatenate([run.items.astype(object), unseen.tokens])
    first_new = len(run.items)
    bar = tqdm(total=len(queries.users), desc="recommending", unit="user", disable=None if progress else True)
    with torch.no_grad(), parametrize.cached(), bar:
        for users, batch in queries.bounded(len(tokens)).batches():
            scores = run.scores(batch, queries.split)
            if unseen is not None:
                scores = torch.cat([scores, unseen.scores(run, batch[0])], dim=1)
                if only:
                    scores[:, :first_new] = -torch.inf
            best, places = torch.topk(scores, min(topk, scores.shape[1]), dim=1)
            best, places = best.cpu().numpy(), places.cpu().numpy()
            if np.isnan(best).any():
                raise ConfigurationError(f"{run.record.run}: the model's scores are NaN; nothing can be ranked.")
            rows, columns = np.nonzero(best > -np.inf)
            bar.update(len(users))
            if not len(rows):
                continue
            yield pandas.DataFrame(
                {
                    "user": users[rows],
                    "item": tokens[places[rows, columns]],
                    "rank": columns + 1,
                    "score": best[rows, columns],
                }
            )
