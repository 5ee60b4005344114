"""A dataset with sequences and texts for sources of item vectors."""

from __future__ import annotations

import random

import pytest
from small_shops import write

from recbole_ext.data.dataset import Dataset


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 users with 8 of 24 items in two groups that nobody mixes; marker items stand at every user's last two places.

    ``i0`` to ``i11`` are red things, ``i12`` to ``i23`` blue ones; ``marker0`` is only ever validated and ``marker1``
    only ever tested.
    """
    folder = tmp_path_factory.mktemp("shop")
    draw = random.Random(3)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(60):
        first = 12 * (user % 2)
        items = [f"i{item}" for item in draw.sample(range(first, first + 12), 8)] + ["marker0", "marker1"]
        rows += [f"u{user}\t{item}\t{time}" for time, item in enumerate(items)]
    titles = [f"i{n}\t{'red' if n < 12 else 'blue'} thing number{n}" for n in range(24)]
    titles += ["marker0\tzebra stripes", "marker1\tzebra hooves", "empty\t"]
    write(folder, "shop", rows, titles)
    return Dataset.named("shop", folder, configs=folder)
