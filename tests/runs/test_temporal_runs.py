"""Runs under the protocol ``temporal``: what their records keep, and what all models share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recbole_ext.benchmark import Resolved
from recbole_ext.records.popularity import read_interactions
from recbole_ext.report import write_report
from recbole_ext.runs.grid import run_benchmark


def test_records_keep_the_cut_and_models_share_users_and_popularity(
    resolved: Callable[..., Resolved], tmp_path: Path
) -> None:
    """u40 and u41 have one early interaction, which trains no sequential model and is popularity all the same."""
    rows = [(user, (user + step) % 5, 12 * step + user) for step in range(4) for user in range(10)]
    rows += [(40, 3, 50), (40, 4, 61), (41, 0, 51), *((user, 7 + user % 2, 60 + user) for user in range(6))]
    rows += [(user, (user + 4) % 5, 80 + user) for user in range(8)] + [(40, 8, 85), (42, 1, 88)]
    (tmp_path / "data" / "shop").mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *(f"u{u}\ti{i}\t{t}" for u, i, t in rows)]
    (tmp_path / "data" / "shop" / "shop.inter").write_text("\n".join(lines) + "\n")
    small: dict[str, Any] = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}
    found = resolved(
        datasets=["shop"],
        data_path=str(tmp_path / "data"),
        models={
            "SASRec": small,
            "Pop": {},
            "RecentPop": {"recent_interactions": 20},
            "BPR": {"embedding_size": 8},
        },
        protocols={"time": {"eval_args": {"split": {"temporal": {"valid": 60, "test": 80}}}}},
    )
    run_benchmark(found)
    folder = found.benchmark.folder
    report = write_report(folder)
    records = {record.model: record for result in report.board.results.values() for record in result.runs}
    assert set(records) == {"SASRec", "Pop", "RecentPop", "BPR"}
    for record in records.values():
        cut = record.done.temporal
        assert cut is not None and (cut.valid_from, cut.test_from) == (60, 80)
        assert (cut.training_interactions, cut.test_users, cut.new_items, cut.new_targets) == (42, 9, 2, 1)
        assert cut.new_items_are == "ranked"
        assert (record.done.tested, record.done.validated) == (9, 7)
        assert len(np.load(folder / "runs" / f"{record.run}.ranks.npy")) == 9
    (popularity,) = {record.done.popularity for record in records.values() if record.done.popularity is not None}
    counted = read_interactions(folder, records["SASRec"])
    assert popularity and counted is not None
    assert counted.item_interactions.tolist() == [9, 8, 8, 9, 8, 0, 0]
    assert sorted(counted.test_interactions.tolist())[0] == 0
    assert "Of shop the 42 interactions before time 60 train" in (folder / "leaderboard.md").read_text()
