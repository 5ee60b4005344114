"""Every row of a leaderboard against the best one of its dataset and protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_ext.report.cells import (
    Column,
    Row,
    Sheet,
    mark_cell,
    metric_title,
    number_cell,
    p_cell,
    percent_cell,
    runs_of,
    text_cell,
)
from recbole_ext.report.records import GROUP_KEYS, Group, Record
from recbole_ext.report.sections import Section
from recbole_ext.report.significance import CUTOFF, Comparison, compare_with_best

METRIC = f"ndcg@{CUTOFF}"

_TEXT = (
    "Each row against the one with the highest mean of its dataset and protocol, over users and the seeds that both "
    "have: Wilcoxon's signed-rank test, Holm-corrected over all comparisons of the dataset and protocol. ≈ no "
    "difference shown: it may be as good."
)
_COLUMNS = [
    *(Column(key, key.capitalize(), numeric=False) for key in ("model", "init", "mode")),
    Column("n_seeds", "Seeds"),
    Column(METRIC, metric_title(METRIC)),
    Column("to_best_%", "To the best"),
    Column("p_best", "p (Holm)"),
    Column("mark", "Mark", numeric=False),
]


def best_section(
    table: pd.DataFrame, records: Sequence[Record], folder: Path, runs: Mapping[Group, list[Record]]
) -> tuple[Section | None, list[str]]:
    """A table for each dataset and protocol with more than one row, best first, and notes on rows without a test.

    ``None`` for a leaderboard without NDCG@10 or without such a table.
    """
    if METRIC not in table:
        return None, []
    ranked = table.dropna(subset=[METRIC]).sort_values(METRIC, ascending=False, kind="stable")
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in ranked.to_dict("records"):
        families.setdefault((row["dataset"], row["protocol"]), []).append({str(key): row[key] for key in row})
    families = {family: rows for family, rows in families.items() if len(rows) > 1}
    if not families:
        return None, []
    best = {family: _group_of(rows[0]) for family, rows in families.items()}
    compared = [record for record in records if (record["dataset"], record["protocol"]) in best]
    comparisons, notes = compare_with_best(compared, folder, best)
    sheets = {
        f"{dataset}, {protocol} ranking, against {rows[0]['model']}, {rows[0]['init']}.": Sheet(
            _COLUMNS, [_row(row, rows[0], comparisons.get(_group_of(row)), runs) for row in rows]
        )
        for (dataset, protocol), rows in sorted(families.items())
    }
    return Section("best", "Against the best", _TEXT, sheets), notes


def _group_of(row: Mapping[str, Any]) -> Group:
    dataset, model, init, mode, protocol = (row[key] for key in GROUP_KEYS)
    return dataset, model, init, mode, protocol


def _row(
    row: Mapping[str, Any], best: Mapping[str, Any], comparison: Comparison | None, runs: Mapping[Group, list[Record]]
) -> Row:
    change = math.nan if row is best or not best[METRIC] else 100.0 * (row[METRIC] / best[METRIC] - 1.0)
    cells = [text_cell(row[key]) for key in ("model", "init", "mode")]
    cells += [number_cell(row["n_seeds"], 0), number_cell(row[METRIC], 4), percent_cell(change)]
    cells += [p_cell(comparison.p_holm if comparison else None), mark_cell(comparison.mark if comparison else None)]
    return Row(cells, runs_of(row, runs))
