"""Our gains beside those that "The Elephant in the Room" reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from recbole_ext.report.cells import Column, Row, Sheet, number_cell, percent_cell, runs_of, text_cell
from recbole_ext.report.records import GROUP_KEYS, Group, Record
from recbole_ext.report.sections import Section

METRIC = "ndcg@5"
GAINS = {"Arts": 21.84, "Instruments": 17.03, "Pantry": 19.03, "Sports": 34.29, "Movies": 12.83}
"""Relative gain in NDCG@5 per dataset, in per cent: Qu et al., RecSys 2024, arXiv 2404.08796."""

_TEXT = (
    "Relative gains in NDCG@5 of language-model vectors over the model's own random initialisation (none), and the one "
    "that Qu et al. (RecSys 2024, arXiv 2404.08796) report for the dataset."
)


def paper_section(table: pd.DataFrame, runs: Mapping[Group, list[Record]]) -> Section | None:
    """The rows of a leaderboard on the paper's datasets beside its gains; ``None`` where there is no such row."""
    ours = f"{METRIC}_improvement_%"
    if ours not in table:
        return None
    on_its_datasets = table["dataset"].isin(GAINS) & table[ours].notna()
    rows = [_row(row, ours, runs) for row in table[on_its_datasets].to_dict("records")]
    if not rows:
        return None
    columns = [Column(key, key.capitalize(), numeric=False) for key in GROUP_KEYS]
    columns += [Column("n_seeds", "Seeds"), Column("ours", "Here"), Column("paper", "Paper")]
    columns += [Column("difference", "Difference (points)")]
    return Section(
        "paper", "Beside the paper", _TEXT, {"NDCG@5 over none, here and in the paper.": Sheet(columns, rows)}
    )


def _row(row: Mapping[Any, Any], ours: str, runs: Mapping[Group, list[Record]]) -> Row:
    gain, paper = row[ours], GAINS[row["dataset"]]
    cells = [text_cell(row[key]) for key in GROUP_KEYS] + [number_cell(row["n_seeds"], 0)]
    cells += [percent_cell(gain), percent_cell(paper, decimals=2), number_cell(gain - paper, 1)]
    return Row(cells, runs_of(row, runs))
