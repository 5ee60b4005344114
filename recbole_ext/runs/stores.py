"""The stores that runs start from: made before the first of them, and checked against all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from recbole_ext.attach import MISSING
from recbole_ext.benchmark.beginnings import StoreToMake
from recbole_ext.benchmark.checks import check_width
from recbole_ext.benchmark.coverage import check_items
from recbole_ext.benchmark.plan import begun_from
from recbole_ext.benchmark.resolved import Resolved
from recbole_ext.benchmark.spec import RunSpec
from recbole_ext.data.config import about_data
from recbole_ext.models import needs_item_vectors
from recbole_ext.store.files import items_of, width_of
from recbole_ext.tuning.stage import make_once


def make_stores(resolved: Resolved, specs: Sequence[RunSpec]) -> None:
    """See that every store is there that ``specs`` start from, and every encoder that they read text with; what these
    are made of is made on the way."""
    artifacts = resolved.benchmark.artifacts
    for begun in begun_from(resolved, specs):
        if isinstance(begun, StoreToMake):
            begun.source.make_once(begun.dataset, artifacts)
        else:
            make_once(begun.tuned, artifacts)


def check_stores(resolved: Resolved, specs: Sequence[RunSpec]) -> None:
    """See that the stores that ``specs`` start from fit them; those that other runs export are not there yet.

    Raises:
        ConfigurationError: a width, which only making the store may tell, that does not fit the model.
        AttachError: items without a vector, where nothing says what becomes of them.
    """
    effective = {row.key: row.effective for row in resolved.rows}
    tokens = cache(lambda store: frozenset(items_of(store)))
    items: dict[str, set[str]] = {}
    checked: set[tuple[str, Path, str]] = set()
    for spec in specs:
        if spec.store is None or not spec.store.exists():
            continue
        keys = {**effective[spec.row], **spec.config}
        if not needs_item_vectors(spec.model, spec.config):
            where = f"{spec.benchmark}: {spec.dataset}, {spec.model}, {spec.variant}"
            check_width(width_of(spec.store), spec.config, keys, where)
        dataset = resolved.datasets[spec.dataset].with_keys(keys)
        about = json.dumps([dataset.name, about_data(dataset.keys)], sort_keys=True, default=str)
        policy = keys.get("item_embedding_missing") or MISSING[0]
        if (about, spec.store, policy) in checked:
            continue
        checked.add((about, spec.store, policy))
        if about not in items:
            items[about] = dataset.items() or set()
        check_items(dataset, items[about], tokens(spec.store), policy, str(spec.store))
