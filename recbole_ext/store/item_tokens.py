"""The list of item tokens that belongs to a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_ext.errors import StoreError


def parse_item_tokens(value: Any, origin: Path) -> list[str]:
    """The tokens of a JSON list; whole numbers become their digits, as they stand in an atomic file.

    Raises:
        StoreError: not a list, or an entry that can't be a token; ``origin`` and the entry are named.
    """
    if not isinstance(value, list):
        raise StoreError(f"{origin}: expected a JSON list of item tokens, found {type(value).__name__}.")
    for position, token in enumerate(value):
        if isinstance(token, bool) or not isinstance(token, str | int) or token == "":
            raise StoreError(
                f"{origin}: entry {position} is {token!r}; an item token is a non-empty text or a whole number."
            )
    return [str(token) for token in value]
