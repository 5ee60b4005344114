"""An item as RECFORMER reads it: its attributes as pairs of key and value."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recbole_ext.errors import ConfigurationError
from recbole_ext.text.cleaning import clean


def key_values(fields: pd.DataFrame, attributes: Sequence[str]) -> list[list[tuple[str, str]]]:
    """``(key, value)`` pairs of every item in the order of ``fields``, empty values left out: ``[items]``.

    Args:
        fields: from ``read_item_fields``.
        attributes: the columns to read, in order; a key is the column's name in words.

    Raises:
        ConfigurationError: a column is not there.
    """
    for name in attributes:
        if name not in fields.columns:
            raise ConfigurationError(
                f"attributes: no item field {name!r}. There are: {', '.join(map(str, fields.columns))}."
            )
    columns = {name: [clean(str(value)) for value in fields[name]] for name in attributes}
    return [
        [(name.replace("_", " "), columns[name][row]) for name in attributes if columns[name][row]]
        for row in range(len(fields))
    ]
