"""The conversion itself: read, clean, count, write."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from recbole_ext.convert.formats import FORMATS
from recbole_ext.convert.report import ConversionReport
from recbole_ext.convert.source import SourceData
from recbole_ext.data.files import EMBEDDED
from recbole_ext.errors import ConfigurationError, WriteError
from recbole_ext.text import clean
from recbole_ext.writing import NAMES_OF_FILES, can_name_files, replacing_file

logger = logging.getLogger(__name__)

_INTERACTION_TYPES = {"user_id": "token", "item_id": "token", "timestamp": "float", "rating": "float"}

_LATEST_SECONDS = 1e11  # in the year 5138


def convert(source: Path, format: str, name: str, out: Path) -> ConversionReport:
    """Convert source files to the atomic files ``out/name/name.inter`` and ``out/name/name.item``.

    Item text is cleaned (see ``recbole_ext.text.clean``); no user, item or interaction is filtered.
    ``name.conversion.json`` beside them holds the report. Other files in ``out/name`` are left alone.

    Args:
        source: what the format asks for, see ``FORMATS[format].source_is``.
        format: a key of ``FORMATS``.
        name: the dataset's name in RecBole, also the folder's.
        out: RecBole's ``data_path``, created if need be.

    Raises:
        ConfigurationError: there is no such format, or the name can't name a folder or means RecBole's own dataset.
        SourceDataError: the source is missing, empty or malformed.
        WriteError: the files can't be written. What was there before is unchanged.
    """
    if format not in FORMATS:
        raise ConfigurationError(f"No source format '{format}'. There are: {', '.join(FORMATS)}.")
    if not can_name_files(name):
        raise ConfigurationError(f"'{name}' can't name a dataset; {NAMES_OF_FILES}.")
    if name == EMBEDDED:
        raise ConfigurationError(
            f"'{name}' always means the dataset in RecBole's wheel, so that yours would never be read. Choose another "
            "name."
        )
    data = FORMATS[format].read(source, name)
    items = _cleaned(data.items)
    report = _count(name, format, data, items)
    _write(out / name, name, data.interactions, items, report)
    logger.info("Wrote %s and %s", out / name / f"{name}.inter", out / name / f"{name}.item")
    return report


def _cleaned(items: pd.DataFrame) -> pd.DataFrame:
    columns = tqdm(items.columns, desc="cleaning item text", unit=" fields", delay=3)
    cleaned = {column: [_clean(text) for text in items[column]] for column in columns}
    return pd.DataFrame(cleaned, index=items.index, columns=items.columns, dtype=object)


def _clean(text: str) -> str:
    # Text that is clean already, as the larger formats deliver it, isn't held in memory a second time.
    return text if (cleaned := clean(text)) == text else cleaned


def _count(name: str, format: str, data: SourceData, items: pd.DataFrame) -> ConversionReport:
    interacted = pd.Index(data.interactions["item_id"].unique(), dtype=object)
    with_text = items.index[(items != "").any(axis=1)]
    return ConversionReport(
        name=name,
        format=format,
        users=data.interactions["user_id"].nunique(),
        items=len(interacted),
        interactions=len(data.interactions),
        repeats=int(data.interactions.duplicated(["user_id", "item_id"]).sum()),
        exact_repeats=int(data.interactions.duplicated().sum()),
        described_items=len(items),
        items_without_text=len(interacted.difference(with_text)),
        items_without_row=len(interacted.difference(items.index)),
        items_without_interaction=len(items.index.difference(interacted)),
        duplicate_items=data.duplicate_items,
        empty_fields={column: int((items[column] == "").sum()) for column in items.columns},
        cleaned_fields={
            column: data.cleaned.get(column, 0) + int((items[column] != data.items[column]).sum())
            for column in items.columns
        },
        dropped=dict(data.dropped),
        read_as=dict(data.read_as),
        not_read=dict(data.not_read),
        not_in_seconds=bool(data.interactions["timestamp"].median() > _LATEST_SECONDS),
    )


def _write(folder: Path, name: str, interactions: pd.DataFrame, items: pd.DataFrame, report: ConversionReport) -> None:
    kept = [column for column in _INTERACTION_TYPES if column in interactions]
    inter_rows = zip(*(_as_written(interactions[column]) for column in kept), strict=True)
    item_rows = zip(items.index, *(items[column] for column in items.columns), strict=True)
    is_new = not folder.exists()
    try:
        # All three are written in full before the first takes its name, and .inter, without which RecBole
        # sees no dataset, takes its name last.
        with ExitStack() as files:
            inter_file = files.enter_context(replacing_file(folder / f"{name}.inter"))
            item_file = files.enter_context(replacing_file(folder / f"{name}.item"))
            report_file = files.enter_context(replacing_file(folder / f"{name}.conversion.json"))
            _write_table(inter_file, [f"{column}:{_INTERACTION_TYPES[column]}" for column in kept], inter_rows)
            header = ["item_id:token", *(f"{column}:token_seq" for column in items.columns)]
            _write_table(item_file, header, item_rows)
            report_file.write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n", "utf-8")
    except BaseException as error:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        if isinstance(error, WriteError):
            raise WriteError(folder, error.reason, "Free some space or choose another --out.") from error
        raise


def _as_written(column: pd.Series) -> Iterable[str]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        # Iterating over the column itself would put as many objects into memory as it has rows.
        return map(column.cat.categories.tolist().__getitem__, column.cat.codes)
    if column.name in ("user_id", "item_id"):
        return column
    return (_as_number(float(value)) for value in column)


def _as_number(value: float) -> str:
    if value != value:
        return ""  # how an atomic file says that a number is missing
    # Whole numbers without ".0", and everything else with as many digits as it takes to read it back exactly.
    return f"{value:.0f}" if value.is_integer() else repr(value)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        file.writelines("\t".join(row) + "\n" for row in rows)
