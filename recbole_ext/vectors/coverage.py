"""How many of a dataset's items have a vector in a store, told without torch and without RecBole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recbole_ext.claims import claim
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import SourceDataError
from recbole_ext.store.folder import ITEMS_FILE, read_json
from recbole_ext.store.item_tokens import parse_item_tokens
from recbole_ext.vectors.source import Made, VectorSource


def make_and_count(source: VectorSource, dataset: Dataset, out: Path, artifacts: Path, compute: Compute) -> Made:
    """The store ``out`` by :meth:`VectorSource.make`, its last note how many of the dataset's items it covers.

    Raises:
        RecboleExtError: as there.
    """
    with _claimed(out.expanduser().absolute()):
        made = source.make(dataset, out, artifacts, compute)
    return made.with_note(coverage_in_words(dataset, made.store))


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Of two equal calls the second waits, and finds the store made. Where no claim can be written there is none: what
    is up to date is read all the same, and what is to be made fails with its own message."""
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(claim(out.with_name(f".{out.name}.lock"), wait=True))
        yield


def coverage_in_words(dataset: Dataset, store: Path) -> str:
    """A sentence: how many of the items in the dataset's interactions have a vector in ``store``, which is whole.

    The items are counted before RecBole's filters, so that a run under filters may count fewer of both.
    """
    try:
        items = dataset.items()
    except SourceDataError as error:
        return f"how many of {dataset.name}'s items have a vector is not known: {error}"
    if not items:
        return (
            f"how many of {dataset.name}'s items have a vector is not known: no file of interactions in "
            f"{dataset.folder}."
        )
    covered = len(items & _tokens(store))
    if not covered:
        example = repr(min(items))
        return (
            f"0 of {len(items)} items of {dataset.name} have a vector, and no run can use the store: its tokens "
            f"are others than the dataset's, which look like {example}."
        )
    if covered == len(items):
        return f"{covered} of {len(items)} items of {dataset.name} have a vector."
    return (
        f"{covered} of {len(items)} items of {dataset.name} have a vector; a run needs `missing: mean` or "
        "`missing: random` for the others."
    )


def _tokens(store: Path) -> set[str]:
    if store.is_dir():
        return set(parse_item_tokens(read_json(store / ITEMS_FILE), store / ITEMS_FILE))
    from recbole_ext.store import ItemEmbeddingStore

    return set(ItemEmbeddingStore.load(store).items)
