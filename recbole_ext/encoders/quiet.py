"""Loading and saving an encoder without transformers' bars and its report of what is left over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_bars() -> Iterator[None]:
    """No "Loading weights" and "Writing model shards", and no table of weights that a head or ours leave over.

    What is missing for us is an error of our own. Downloads keep their bars, which come from the Hub's client.
    """
    from transformers.utils import logging

    before, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging._tqdm_active = False  # disable_progress_bar() would silence the Hub's downloads too
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging._tqdm_active = shows_bars
