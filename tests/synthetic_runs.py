"""Synthetic benchmarks: run records with ranks, curves and metrics that agree with each other, and their grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_ext.records import Grid, Published, Row, RowKey, RunRecord, record_path
from recbole_ext.records.popularity import Interactions, write_interactions

ITEM_INTERACTIONS = np.array([9, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0], dtype=np.int32)  # 27 in training


def reported_metrics(ranks: NDArray[np.int64], topk: Sequence[int]) -> dict[str, float]:
    """What RecBole reports for one relevant item per user at these ranks, rounded as RecBole rounds."""
    metrics = {}
    for k in topk:
        hit = (ranks > 0) & (ranks <= k)
        safe = np.where(hit, ranks, 1)
        metrics[f"recall@{k}"] = float(np.round(hit.mean(), 4))
        metrics[f"ndcg@{k}"] = float(np.round(np.where(hit, 1 / np.log2(safe + 1), 0).mean(), 4))
        metrics[f"mrr@{k}"] = float(np.round(np.where(hit, 1 / safe, 0).mean(), 4))
    return metrics


def drawn_ranks(users: int, quality: float, seed: int) -> NDArray[np.int32]:
    """The higher the quality (0 to 1), the better. A user is as hard under every variant, as in reality."""
    hardness = np.random.default_rng(7).random(users)
    noise = np.random.default_rng(seed).random(users)
    drawn = np.floor(120 * np.clip(hardness * 1.1 - quality + 0.2 * noise, 0, 1)).astype(np.int32) + 1
    return np.where(drawn <= 50, drawn, 0).astype(np.int32)


def drawn_curve(quality: float, seed: int, epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 6.0 - 0.1 * epoch,
            "valid": float(
                round(quality * (1 - np.exp(-epoch / 5)) - 0.001 * max(0, epoch - 14) + 0.006 * np.sin(seed * epoch), 4)
            ),
            "train_seconds": 1.3,
            "valid_seconds": 0.2,
        }
        for epoch in range(epochs)
    ]


def made(quality: float = 0.3, seed: int = 42, ranks: NDArray[Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What :class:`recbole_ext.records.Made` holds of a run of this quality, ``changes`` above."""
    ranks = drawn_ranks(300, quality, seed) if ranks is None else ranks
    curve = drawn_curve(quality, seed, 24 + seed % 5)
    best = max(curve, key=lambda point: point["valid"])
    topk = changes.pop("topk", (1, 5, 10, 20, 50))
    return {
        "training_samples": "user",
        "validation": {"ndcg@10": best["valid"]},
        "test": reported_metrics(ranks.astype(int), topk),
        "valid_metric": "ndcg@10",
        "best_epoch": best["epoch"],
        "stopped_early": True,
        "epoch_limit": 100,
        "curve": curve,
        "statistics": {"users": len(ranks), "items": 2420, "interactions": 53258},
        "parameters": {"total": 350_000, "trainable": 350_000, "item_embedding": 154_880},
        "flops": 1.0e9,
        "seconds": {"per_epoch": 1.35, "per_evaluation": 0.6, "training": 41.5, "test": 0.7},
        "peak_memory_mb": 812.0,
        "device": "cpu, 2 cores",
        "versions": {"python": "3.11.9", "recbole": "1.2.1", "torch": "2.13.0"},
        "config": {"metric_decimal_place": 4, "topk": list(topk), "hidden_size": 64},
        **changes,
    }


@dataclass
class Benchmark:
    """A folder of one benchmark to put synthetic runs into; :meth:`grid` asks for all that were added."""

    folder: Path
    users: int = 300
    rows: dict[RowKey, dict[str, Any]] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    metric: str = "ndcg@10"

    def add(
        self,
        dataset: str = "Office",
        model: str = "SASRec",
        variant: str = "none",
        seed: int = 42,
        quality: float = 0.3,
        mode: str | None = None,
        protocol: str = "full",
        baseline: str | None = "none",
        vectors: str | None = None,
        own_config: dict[str, Any] | None = None,
        trial: dict[str, Any] | None = None,
        ranks: NDArray[Any] | None = None,
        with_ranks: bool = True,
        test_interactions: NDArray[Any] | None = None,
        failed: str | None = None,
        asked: bool = True,
        store_fingerprint: str | None = "5" * 64,
        **changes: Any,
    ) -> RunRecord:
        """Write a finished run and its ranks, or with ``failed`` a failed one; ``changes`` go into what it made."""
        row_key = RowKey(dataset, model, variant, protocol)
        attached = variant != "none"
        mode = mode or ("full" if attached else "-")
        trial = trial or {}
        tag = "-".join(f"{name}{value}" for name, value in trial.items())
        name = "-".join([*row_key, *([tag] if tag else []), f"s{seed}"]).replace("/", "_")
        ranks = drawn_ranks(self.users, quality, seed) if ranks is None else ranks
        outer: dict[str, Any] = {
            key: changes.pop(key) for key in ("run", "command", "date", "git_revision") if key in changes
        }
        fingerprint = changes.pop("dataset_fingerprint", "d" * 64)
        if "popularity" not in changes:
            changes["popularity"] = self.popularity(dataset, len(ranks), test_interactions)
        if attached:
            changes.setdefault("coverage", {"items": 2420, "covered": 2400, "missing": 20})
        content: dict[str, Any] = {
            "run": name,
            "benchmark": self.folder.name,
            **row_key._asdict(),
            "mode": mode,
            "seed": seed,
            "trial": trial,
            "status": "failed" if failed else "done",
            "command": f"recbole-ext run {self.folder.name}.yaml",
            "date": f"2026-11-24T10:00:{seed % 60:02d}+00:00",
            "git_revision": "0b54aa7",
            "fingerprints": {
                "run": "f" * 64,
                "dataset": fingerprint,
                "vectors": store_fingerprint if attached else None,
            },
            **({"error": failed} if failed else {"made": made(quality, seed, ranks, **changes)}),
            **outer,
        }
        record = RunRecord.model_validate(content)
        record.write(record_path(self.folder, record.run))
        if with_ranks and not failed:
            np.save(self.folder / "runs" / f"{record.run}.ranks.npy", ranks)
        if asked:
            row = self.rows.setdefault(
                row_key,
                {
                    "mode": mode,
                    "vectors": vectors or (f"encoder {variant}" if attached else "random"),
                    "baseline": baseline if attached else None,
                    "config": own_config or {},
                    "trials": {},
                },
            )
            row["trials"].setdefault(json.dumps(trial, sort_keys=True), []).append(record)
        return record

    def popularity(self, dataset: str, users: int, test_interactions: NDArray[Any] | None = None) -> dict[str, str]:
        """Write how popular the users' test items are; returns what records say of it."""
        if test_interactions is None:
            test_interactions = np.random.default_rng(3).choice(ITEM_INTERACTIONS, users)
        interactions = Interactions(ITEM_INTERACTIONS, np.asarray(test_interactions, dtype=np.int32))
        return write_interactions(self.folder, dataset.replace("/", "_"), interactions).model_dump()

    def ask(self, key: RowKey, runs: Sequence[str], **changes: Any) -> None:
        """Ask for runs of a row that nobody has made."""
        row = self.rows.setdefault(key, {"mode": "full", "vectors": "random", "baseline": None, "trials": {}})
        row |= changes
        row["asked"] = list(runs)

    def grid(self) -> Grid:
        return Grid(
            benchmark=self.folder.name,
            command=f"recbole-ext run {self.folder.name}.yaml",
            metric=self.metric,
            search="dropout {0.3, 0.5}: the same 2 trials for every variant",
            rows=[_row(key, row) for key, row in self.rows.items()],
            published=self.published,
        )

    def write(self) -> Path:
        """Write the grid; returns the folder."""
        self.grid().write(self.folder)
        return self.folder


def _row(key: RowKey, row: dict[str, Any]) -> Row:
    trials: list[list[RunRecord]] = list(row["trials"].values())
    scores = [trial[0].made.score or 0.0 if trial[0].made else -1.0 for trial in trials]
    chosen = scores.index(max(scores)) if scores and max(scores) >= 0 else None
    runs = [record.run for record in trials[chosen or 0]] if trials else []
    return Row(
        **key._asdict(),
        mode=row["mode"],
        vectors=row["vectors"],
        baseline=row["baseline"],
        config=row.get("config", {}),
        trials=[trial[0].run for trial in trials] or row.get("asked", [])[:1],
        chosen=chosen,
        runs=[*runs, *row.get("asked", [])],
    )


def add_study(folder: Path, text: str = "", sentence: str = "Six of twelve layers are enough.") -> None:
    """Write a study's outputs into ``folder``, RESULTS/studies/NAME: study.json, a figure, text.md if there is one."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True)
    content = {
        "name": folder.name,
        "title": f"What {folder.name} show",
        "sentence": sentence,
        "command": f"recbole-ext study {folder.name} {folder.name}.yaml",
        "rows": [{"layers": 6, "mean": 0.1}],
    }
    (folder / "study.json").write_text(json.dumps(content), encoding="utf-8")
    Figure(figsize=(4, 3), dpi=150).savefig(folder / f"{folder.name}.png")
    if text:
        (folder / "text.md").write_text(text, encoding="utf-8")
