"""What runs leave and reports read: the typed run record, and the grid that says which records a table stands on."""

from __future__ import annotations

from recbole_ext.records.grid import Earlier, Grid, Published, Row, history, read_records, record_path
from recbole_ext.records.record import Made, RowKey, RunRecord

__all__ = [
    "Earlier",
    "Grid",
    "Made",
    "Published",
    "Row",
    "RowKey",
    "RunRecord",
    "history",
    "read_records",
    "record_path",
]
