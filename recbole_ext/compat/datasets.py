"""RecBole's datasets, the same on every pandas from 2.2 to 3."""

from __future__ import annotations

import csv
import functools
import os
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def read_atomic_files_as_they_are() -> None:
    """Let RecBole read atomic files as their format says: a quote is a letter like any other, and ``NA`` is an id.

    RecBole issue 2017: the default CSV quoting makes a title that begins with ``"`` a ``ParserError`` and lets
    an unbalanced quote swallow lines. RecBole issue 1084: pandas takes ids such as ``NA``, ``None`` and ``null`` for
    missing, and RecBole drops their rows; here a token is missing where the field is empty. A byte order mark is
    skipped, and files are UTF-8 whatever the locale says, unless the key ``encoding`` names another. Tokens are objects
    on pandas 3 too, as RecBole takes them to be. An empty sequence is filled in here: under copy-on-write RecBole's
    ``fillna(inplace=True)`` on a column (dataset.py:501) fills a copy.
    """
    import pandas
    import recbole.data.dataset.dataset as module

    def read_csv(path: str, delimiter: str, dtype: dict[str, Any], encoding: str | None, **_: Any) -> Any:
        table = read_atomic_table(path, delimiter, dtype, encoding)
        for column, kind in dtype.items():
            if kind is str:
                values = table[column].astype(object)
                table[column] = values.fillna("") if column.endswith("_seq") else values
        return table

    ours = types.SimpleNamespace(**vars(pandas))
    ours.read_csv = read_csv
    module.pd = ours
    module.open = _open_without_mark


def read_atomic_table(
    path: Path | str, delimiter: str, dtype: dict[str, Any], encoding: str | None = None
) -> pd.DataFrame:
    """Columns of an atomic file, as :func:`read_atomic_files_as_they_are` says; those of type ``str`` as categories.

    The C parser with round-trip floats reads the same numbers as the Python one that RecBole asks for, in a fraction
    of its time and memory, a quarter of it where it goes through the file in one piece; and every distinct token is
    kept once, not once per row (at 10 million interactions, a gigabyte).

    Args:
        dtype: the columns to read, ``name:type`` as the header has them, to ``str`` or ``np.float64``.
    """
    import pandas
    from pandas._libs.parsers import STR_NA_VALUES

    options: dict[str, Any] = {
        "delimiter": delimiter,
        "engine": "c",
        "float_precision": "round_trip",
        "low_memory": False,
    }
    if len(delimiter) > 1:
        options = {"delimiter": re.escape(delimiter), "engine": "python"}
    options |= {
        "usecols": list(dtype),
        "dtype": dtype,
        "na_values": {column: [""] if kind is str else list(STR_NA_VALUES) for column, kind in dtype.items()},
    }
    encoding = _without_mark(encoding)
    table = pandas.read_csv(path, encoding=encoding, quoting=csv.QUOTE_NONE, keep_default_na=False, **options)
    # Not read as categories at once: pandas 3.1 makes numbers of categories that look like numbers, 7 of 007.
    return table.astype({column: "category" for column, kind in dtype.items() if kind is str})


def _open_without_mark(path: str, mode: str = "r", encoding: str | None = None) -> Any:
    return Path(path).open(mode, encoding=None if "b" in mode else _without_mark(encoding))


def _without_mark(encoding: str | None) -> str:
    return "utf-8-sig" if (encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8") else str(encoding)


def measure_sequences_one_by_one() -> None:
    """Let ``column.agg(len)`` give the length of every sequence of a column, as it did before pandas 3.

    dataset.py:712, 792, 809, 1217, kg_dataset.py:316, sequential_dataset.py:165. pandas 3 hands the whole column to the
    function, older ones try its values first. Every dataset with a sequence field needs it; nowhere else do these
    modules take the length of a column.
    """
    import pandas
    import recbole.data.dataset.dataset
    import recbole.data.dataset.kg_dataset
    import recbole.data.dataset.sequential_dataset

    def length(values: Any) -> Any:
        return values.map(len) if isinstance(values, pandas.Series) else len(values)

    for module in ("dataset", "kg_dataset", "sequential_dataset"):
        getattr(recbole.data.dataset, module).len = length


def fill_missing_values() -> None:
    """Let ``Dataset._fill_nan`` (dataset.py:632) fill missing values under copy-on-write.

    Its ``fillna(inplace=True)`` on a column fills a copy on pandas 3, without a word: a float that is missing stays NaN
    and makes the loss NaN, a token becomes the id -9223372036854775808.
    """
    import numpy as np
    from recbole.data.dataset.dataset import Dataset
    from recbole.utils import FeatureType

    def fill_nan(self: Any) -> None:
        for table in (getattr(self, name) for name in self.feat_name_list):
            for field in table:
                column, kind = table[field], self.field2type[field]
                if kind is FeatureType.TOKEN:
                    table[field] = column.fillna(0).astype(np.int64)
                elif kind is FeatureType.FLOAT:
                    table[field] = column.fillna(column.mean())
                else:
                    empty = np.array([], dtype=np.int64 if kind is FeatureType.TOKEN_SEQ else np.float64)
                    table[field] = [empty if isinstance(value, float) else value for value in column]

    Dataset._fill_nan = fill_nan


def remove_duplicates_in_one_order() -> None:
    """Let ``rm_dup_inter`` sort stably (dataset.py:854), so that one file gives one dataset everywhere.

    RecBole sorts by time with numpy's default, which orders equal times differently by its version, the processor and
    the number of rows. That decides which of two equal interactions is kept, and the order of a user's items. Of
    equal times, the order of the file counts: what older numpy gives up to 16 rows.
    """
    from recbole.data.dataset.dataset import Dataset

    original = Dataset._remove_duplication

    @functools.wraps(original)
    def remove_duplication(self: Any) -> None:
        self.inter_feat.sort_values = functools.partial(self.inter_feat.sort_values, kind="stable")
        try:
            original(self)
        finally:
            del self.inter_feat.sort_values

    Dataset._remove_duplication = remove_duplication


def load_nothing_that_was_saved() -> None:
    """Let RecBole always read the dataset's files.

    RecBole issues 1602 and 1697: a dataset or loaders that lie pickled in ``checkpoint_dir`` are taken for those of
    the same keys, whatever has become of the files since. Besides, nothing is ever unpickled here.
    """
    import recbole.data.utils as module

    nothing = types.SimpleNamespace(join=os.path.join, exists=lambda path: False)
    module.os = types.SimpleNamespace(path=nothing)


def number_samples_without_a_list() -> None:
    """Let RecBole's loaders number their samples by a ``range``; their ``list(range(n))`` takes 36 bytes a sample."""
    import recbole.data.dataloader.abstract_dataloader as module

    module.list = lambda values: values if isinstance(values, range) else [*values]
