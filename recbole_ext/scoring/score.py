"""The road of a score: the suite's benchmark of one source is resolved, run by the grid, and its card is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.benchmark import Resolved, benchmark_of, resolve
from recbole_ext.benchmark.plan import what_will_be_done
from recbole_ext.benchmark.suite import RANDOM, Suite
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import ConfigurationError
from recbole_ext.machine import shared
from recbole_ext.records.card import Card, file_name_of, read_cards
from recbole_ext.report.cards import card_lines, card_table
from recbole_ext.report.encoders import group_cards, place_in_words, write_encoders
from recbole_ext.runs.grid import run_benchmark
from recbole_ext.runs.recording import is_done
from recbole_ext.scoring.cards import card_of
from recbole_ext.scoring.names import as_texts, name_of
from recbole_ext.scoring.stores import make_apart
from recbole_ext.writing import NAMES_OF_FILES, can_name_files

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

CARDS = Path("runs/encoders")
"""Where cards and their runs go."""
PUBLISHED = Path("results/encoders")
"""Where this project's own cards are, in its checkout."""


@dataclass(frozen=True)
class Scored:
    """A card that was made, its file, the page of all cards beside it, and where its stores are.

    Attributes:
        stores: the store of each dataset of the suite; empty for random vectors.
        place: its place among the published cards, in words; empty where there are none.
    """

    card: Card
    path: Path
    page: Path
    stores: dict[str, Path]
    place: str

    def to_pandas(self) -> pd.DataFrame:
        """A line for each dataset and recommender; see :func:`recbole_ext.report.cards.card_table`."""
        return card_table(self.card)

    def lines(self) -> list[str]:
        """The card as aligned tables for the terminal, its place, and where the files are."""
        files = f"card: {self.path}   page of all cards beside it: {self.page}"
        return [*card_lines(self.card), *([self.place] if self.place else []), files]


def resolve_score(
    suite: Suite, source: Mapping[str, Any] | None, name: str | None, command: str, fetch: bool = True, **keys: Any
) -> tuple[Resolved, str]:
    """The runs that ``suite`` asks for of ``source`` (``None``: random vectors), and what the source is called.

    Args:
        name: instead of :func:`recbole_ext.scoring.names.name_of`.
        fetch: see :func:`recbole_ext.benchmark.resolve`.
        keys: of the benchmark, above the suite's: ``results``, ``data_path``, ``parallel_runs``, …

    Raises:
        RecboleExtError: a key, a value or a file that can't be right, before anything is computed.
    """
    if name is not None and not can_name_files(name):
        raise ConfigurationError(f"name: {name!r} can't be part of a file name; {NAMES_OF_FILES}")
    if source is None and name not in (None, RANDOM):
        raise ConfigurationError(f"name: random vectors are called {RANDOM!r}; got {name!r}.")
    called = RANDOM if source is None else name_of(source) if name is None else name
    benchmark, overrides = benchmark_of(suite.benchmark(called, source, **keys), {}, f"suite {suite.name}")
    path = benchmark.folder.parent / file_name_of(suite.name, called)
    _refuse_taken(path, source or {}, suite)
    _refuse_neighbours(path, suite)
    resolved = resolve(benchmark, overrides, command, f"suite {suite.name}", fetch)
    _refuse_incomparable(resolved, suite, called)
    return resolved, called


def _refuse_taken(path: Path, source: Mapping[str, Any], suite: Suite) -> None:
    """See that ``path`` is not the card of another source or suite; one that can't be read is made again."""
    if not path.exists():
        return
    try:
        other = Card.read(path)
    except ConfigurationError:
        return
    if as_texts(shared(other.source)) != as_texts(shared(source)):
        raise ConfigurationError(
            f"{path}: is the card of another source, {json.dumps(other.source)}. Give this one a name of its own with "
            "--name, or take that card away."
        )
    if (other.suite.version, other.suite.sha256) != (suite.version, suite.sha256):
        raise ConfigurationError(
            f"{path}: is a card of the suite {other.suite}, and {suite.where} is {suite} and says something else. Keep "
            "that card and choose another --out, or give this one a name of its own with --name, or take that card "
            "away."
        )


def _refuse_neighbours(path: Path, suite: Suite) -> None:
    """See that a card at ``path`` will have a page with the cards beside it, before hours go by without one."""
    neighbours = read_cards(path.parent, leave_out=[path.name])
    if neighbours:
        group_cards(path.parent, neighbours)
    for card in neighbours:
        is_called_alike = (card.suite.name, card.suite.version) == (suite.name, suite.version)
        if is_called_alike and card.suite.sha256 != suite.sha256:
            raise ConfigurationError(
                f"{path.with_name(card.file_name)}: is of a suite {card.suite} that says something else than "
                f"{suite.where}: give a changed suite another version, or choose another --out."
            )


def _refuse_incomparable(resolved: Resolved, suite: Suite, called: str) -> None:
    """See that a recommender is trained from the vectors and from random ones, before hours go by without a card."""
    ours = [row for row in resolved.rows if row.key.variant == called]
    if not any(row.variant.is_random or row.baseline for row in ours):
        raise ConfigurationError(
            f"{suite.where}: models: none is run both from {called!r} and from {RANDOM!r}, so that there is no gain to "
            f"tell. Add one that begins from item vectors, such as SASRec, and leave `{RANDOM}` among its "
            "`initialisations`."
        )


def score_source(
    suite: Suite,
    source: Mapping[str, Any] | None,
    name: str | None,
    command: str,
    *,
    out: Path = CARDS,
    published: Path = PUBLISHED,
    compute: Compute | None = None,
    **keys: Any,
) -> Scored:
    """Score ``source``; what of it is finished is not done again.

    Args:
        out: its card and the page of all cards go there, its runs into the folder of the suite's name in it.
        published: the folder of cards among which its place is looked up.

    Raises:
        ConfigurationError: a run failed, so that there is no card; or as :func:`resolve_score`.
        RecboleExtError: the vectors can't be made.
    """
    resolved, called = resolve_score(suite, source, name, command, results=out, **keys)
    own = [file_name_of(suite.name, called)] if published.resolve() == out.resolve() else []
    read_cards(published, leave_out=own)  # one that was edited is named now and not after all runs
    for line in what_will_be_done(resolved, is_done, "--out FOLDER", all_stores=True):
        log.info("%s", line)
    if not resolved.missing:
        make_apart(resolved, compute or Compute())
    run_benchmark(resolved)
    card = card_of(resolved, suite, called, source or {})
    path = card.write(out)
    page = write_encoders(out).page
    stores = {
        row.key.dataset: store
        for row in resolved.rows
        if row.key.variant == called and (store := row.searched[0].store) is not None
    }
    return Scored(card, path, page, stores, place_in_words(card, read_cards(published)))
