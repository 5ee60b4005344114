"""The protocol ``temporal``: one cut in time over all users, and who is asked for what after it.

After Gusak et al., "Time to Split: Exploring Data Splitting Strategies for Offline Evaluation of Sequential
Recommenders" (RecSys 2025, arXiv 2507.16289), whose global temporal split this is, with an earlier cut of the same kind
for validation. What is before the first cut trains, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import field_validator, model_validator

from recbole_ext.errors import ConfigurationError
from recbole_ext.settings import CheckedSettings

TEMPORAL = "temporal"
"""The key of ``eval_args: {split: …}`` that asks for this protocol."""
WHERE = f"eval_args.split.{TEMPORAL}"
TRAIN, VALID, TEST = range(3)
"""The periods."""
RANDOM_TARGETS = 42
"""Seeds the choice of random targets: the same ones for every model, trial and seed, so that their ranks compare."""


@dataclass(frozen=True)
class Cut:
    """Exact times: what is earlier than ``valid`` trains, what is earlier than ``test`` validates, the rest tests."""

    valid: float
    test: float

    def period(self, times: np.ndarray) -> np.ndarray:
        """The period of each time, int8 ``[rows]``: ``TRAIN``, ``VALID`` or ``TEST``."""
        return np.searchsorted([self.valid, self.test], times, side="right").astype(np.int8)


class Temporal(CheckedSettings):
    """Where the cuts are, which item each user is asked for, and what becomes of items that training never saw."""

    valid: float | str = 0.8
    """Where validation begins: the part of all interactions before it, a time as in the file, or a date (UTC)."""
    test: float | str = 0.9
    """Where the test period begins, likewise."""
    target: Literal["last", "first", "random"] = "last"
    """Which of a user's items of a period is to be found; all that the user did before it is the history."""
    new_items: Literal["rank", "leave_out"] = "rank"
    """Items first seen after the cut of validation: ranked with the others, or taken out of the data."""

    @field_validator("valid", "test", mode="before")
    @classmethod
    def _a_day_of_yaml(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value

    @field_validator("valid", "test", mode="after")
    @classmethod
    def _a_part_or_a_time(cls, value: float | str) -> float | str:
        if isinstance(value, str):
            _unix_seconds(value)
        elif not (value > 0 and np.isfinite(value)):
            raise ValueError("a part between 0 and 1, a time, or a date such as 2015-01-31 is needed")
        return value

    @model_validator(mode="after")
    def _validation_comes_first(self) -> Temporal:
        """Of two parts, or two times; where one is a part, the dataset's times tell."""
        valid, test = (_unix_seconds(cut) if isinstance(cut, str) else cut for cut in (self.valid, self.test))
        if valid >= test and (valid < 1) == (test < 1):
            raise ValueError(_in_order(self.valid, self.test))
        return self

    @classmethod
    def of(cls, eval_args: Mapping[str, Any] | None) -> Temporal | None:
        """The settings that RecBole's ``eval_args`` hold; ``None`` where they name another split.

        Raises:
            ConfigurationError: they name this one and say something else that can't be.
        """
        split = (eval_args or {}).get("split")
        if not isinstance(split, Mapping) or TEMPORAL not in split:
            return None
        if len(split) > 1:
            raise ConfigurationError(f"eval_args.split: {', '.join(map(str, split))} are several splits; name one.")
        given = split[TEMPORAL]
        if given is not None and not isinstance(given, Mapping):
            raise ConfigurationError(f"{WHERE}: a mapping is needed, such as {{valid: 0.8, test: 0.9}}; got {given!r}.")
        return cls.checked({str(key): value for key, value in (given or {}).items()}, WHERE)

    @property
    def valid_time(self) -> float | None:
        """Where validation begins; ``None`` for a part of the interactions, for which their times tell."""
        if isinstance(self.valid, str):
            return _unix_seconds(self.valid)
        return float(self.valid) if self.valid >= 1 else None

    def cut(self, times: np.ndarray) -> Cut:
        """Where the cuts are among these times, exact and in order, ``[rows]``.

        A part falls on the time of an interaction, which like all others of that time comes after the cut.

        Raises:
            ConfigurationError: the test period does not begin after validation, or no interaction is before, between
                or after the cuts.
        """
        cut = Cut(*(self._time(key, getattr(self, key), times) for key in ("valid", "test")))
        if cut.valid >= cut.test:
            valid, test = f"{self.valid}, time {in_words(cut.valid)},", f"{self.test}, time {in_words(cut.test)}"
            one = " A part is below 1: 1 is a time." if 1 in (self.valid, self.test) else ""
            raise ConfigurationError(f"{WHERE}: {_in_order(valid, test)}.{one}")
        rows = np.bincount(cut.period(times), minlength=3)
        for period, what in enumerate(("before validation begins", "between the two cuts", "after the test cut")):
            if not rows[period]:
                raise ConfigurationError(
                    f"{WHERE}: with valid: {self.valid}, time {in_words(cut.valid)}, and test: {self.test}, time "
                    f"{in_words(cut.test)}, no interaction is {what}; there are {len(times):,} from time "
                    f"{in_words(times[0])} to {in_words(times[-1])}. Choose cuts among them, valid before test."
                )
        return cut

    @staticmethod
    def _time(key: str, value: float | str, times: np.ndarray) -> float:
        if isinstance(value, str):
            return _unix_seconds(value)
        if value >= 1:
            return float(value)
        return float(times[min(int(np.ceil(value * len(times))), len(times) - 1)])


@dataclass(frozen=True)
class Timeline:
    """All interactions of a dataset in the order of their exact time, users and items as numbers, ``[rows]`` each.

    Attributes:
        period: ``TRAIN``, ``VALID`` or ``TEST``.
    """

    users: np.ndarray
    items: np.ndarray
    period: np.ndarray

    @cached_property
    def by_user(self) -> np.ndarray:
        """Puts the rows in the order of users, each user's in the order of time, ``[rows]``."""
        return np.argsort(self.users, kind="stable")

    @cached_property
    def sample(self) -> np.ndarray:
        """The number of each row among those with a history in the order :attr:`by_user`; -1 for a user's first row.

        That is the order of RecBole's samples of sequential models, ``[rows]``.
        """
        users = self.users[self.by_user]
        has_history = np.append(False, users[1:] == users[:-1])[: len(users)]
        numbers = np.full(len(users), -1)
        numbers[self.by_user[has_history]] = np.arange(has_history.sum())
        return numbers

    def targets(self, period: int, target: str) -> np.ndarray:
        """The row that each user is asked for in a period, ``[users asked]``: first, last or random of those that have
        a history."""
        rows = self.by_user[(self.period[self.by_user] == period) & (self.sample[self.by_user] >= 0)]
        _, first, size = np.unique(self.users[rows], return_index=True, return_counts=True)
        if target == "first":
            return rows[first]
        if target == "last":
            return rows[first + size - 1]
        part = np.random.default_rng(RANDOM_TARGETS).random(len(size))
        return rows[first + (part * size).astype(int)]

    def until(self, targets: np.ndarray) -> np.ndarray:
        """The rows of these targets' users up to their target, it among them."""
        last = np.full(int(self.users.max()) + 1, -1)
        last[self.users[targets]] = targets
        return np.flatnonzero(np.arange(len(self.users)) <= last[self.users])

    @cached_property
    def trained(self) -> np.ndarray:
        """The items of the training rows, sorted."""
        return np.unique(self.items[self.period == TRAIN])

    def is_new(self, rows: np.ndarray) -> np.ndarray:
        """Whether training lacks the item of each of these rows."""
        return ~np.isin(self.items[rows], self.trained)


@dataclass(frozen=True)
class Counted:
    """What a split leaves, for the log, the plan and the record."""

    cut: Cut
    interactions: tuple[int, int, int]
    """Of training, validation and test period."""
    users: tuple[int, int]
    """Who is asked for an item in the validation and in the test period."""
    without_history: int
    """Users of the test period with nothing before their only interaction."""
    new_items: int
    """Items that training lacks, of the files' interactions, whether ranked or left out."""
    left_out: int
    """Interactions with new items that were left out."""
    new_targets: int
    """Test users whose target is a new item."""

    @classmethod
    def of(cls, timeline: Timeline, settings: Temporal, cut: Cut, left_out: tuple[int, int] = (0, 0)) -> Counted:
        """Count; ``left_out``: new items, and interactions with them, that are in the timeline no more.

        Raises:
            ConfigurationError: no user has two interactions to learn from, or an item to find.
        """
        if not ((timeline.period == TRAIN) & (timeline.sample >= 0)).any():
            raise ConfigurationError(
                f"{WHERE}: no user has two interactions before validation begins, at time {in_words(cut.valid)}, so "
                "there is no sequence to learn from. Choose a later cut."
            )
        valid, test = (timeline.targets(period, settings.target) for period in (VALID, TEST))
        for rows, what in ((valid, "validation"), (test, "test")):
            if not len(rows):
                raise ConfigurationError(
                    f"{WHERE}: in the {what} period, from time {in_words(cut.valid if rows is valid else cut.test)}, "
                    "no user has an item to find and a history before it"
                    + (", once new items are left out" if left_out[0] else "")
                    + ". Choose earlier cuts, or more data."
                )
        tested = np.unique(timeline.users[timeline.period == TEST])
        later = np.unique(timeline.items[timeline.period != TRAIN])
        trained, validated, held_out = np.bincount(timeline.period, minlength=3).tolist()
        return cls(
            cut,
            (trained, validated, held_out),
            (len(valid), len(test)),
            len(tested) - len(test),
            len(np.setdiff1d(later, timeline.trained)) + left_out[0],
            left_out[1],
            int(timeline.is_new(test).sum()),
        )

    def in_sentences(self, settings: Temporal) -> list[str]:
        """What the split, asked for by ``settings``, makes of the dataset; without the full stops."""
        trains, validates, tests = self.interactions
        said = [
            f"temporal: {trains:,} interactions before time {in_words(self.cut.valid)} train, {validates:,} before "
            f"{in_words(self.cut.test)} validate, {tests:,} test; {self.users[0]:,} users are validated and "
            f"{self.users[1]:,} tested on their {settings.target} item there"
        ]
        if self.without_history:
            said.append(
                f"temporal: {self.without_history:,} users of the test period have nothing before their only "
                "interaction there and are not asked"
            )
        if self.new_items:
            fate = f"ranked with the others, and {self.new_targets:,} users are asked for one"
            if settings.new_items == "leave_out":
                fate = f"left out with their {self.left_out:,} interactions"
            said.append(f"temporal: {self.new_items:,} items are first seen after the first cut; they are {fate}")
        return said


def _in_order(valid: object, test: object) -> str:
    return f"valid: {valid} has to be before test: {test}, because validation comes before the test period"


def in_words(time: float) -> str:
    """A time as in the file; what looks like Unix seconds with its date."""
    number = f"{time:.0f}" if float(time).is_integer() else repr(float(time))
    if not 1e8 <= time < 1e10:
        return number
    return f"{number} ({datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC)"


def _unix_seconds(text: str) -> float:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date of ISO 8601, such as 2015-01-31 or 2015-01-31T12:00:00Z") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
