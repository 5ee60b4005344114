"""What runs leave and reports read: the typed run record, and the grid that says which records a table stands on."""

from __future__ import annotations

from recbole_ext.records.grid import (
    GRID,
    LISTS,
    OUTSIDE,
    Earlier,
    Grid,
    Published,
    Row,
    history,
    is_control,
    read_records,
    record_path,
)
from recbole_ext.records.record import Lists, Made, RowKey, RunRecord

__all__ = [
    "GRID",
    "LISTS",
    "OUTSIDE",
    "Earlier",
    "Grid",
    "Lists",
    "Made",
    "Published",
    "Row",
    "RowKey",
    "RunRecord",
    "history",
    "is_control",
    "read_records",
    "record_path",
]
