"""A dataset's files and keys looked over before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbole_ext.text import open_text, parse_header

if TYPE_CHECKING:
    from recbole_ext.data.dataset import Dataset


def check(dataset: Dataset) -> list[str]:
    """See :meth:`recbole_ext.data.dataset.Dataset.check`."""
    dataset.require()
    keys = dataset.effective_keys
    for path in dataset.files():
        with open_text(path, keys.get("encoding")) as file:
            parse_header(path, file.readline(), keys["field_separator"])
    return []
