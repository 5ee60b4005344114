"""Synthetic benchmarks: run records with ranks, curves and metrics that agree with each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


@dataclass(frozen=True)
class Benchmark:
    """A folder results/BENCHMARK to put synthetic run records into."""

    folder: Path
    users: int = 300

    def add(
        self,
        dataset: str = "Office",
        model: str = "SASRec",
        init: str = "none",
        seed: int = 42,
        quality: float = 0.3,
        mode: str | None = None,
        protocol: str = "full",
        ranks: NDArray[Any] | None = None,
        with_ranks: bool = True,
        topk: Sequence[int] = (1, 5, 10, 20, 50),
        tag: str = "ab12cd",
        **changes: Any,
    ) -> dict[str, Any]:
        """Write a finished run and its ranks; the higher the quality (0 to 1), the better the ranks."""
        mode = mode or ("-" if init == "none" else "full")
        if ranks is None:
            # the same user is as hard under every init, as in reality: so the test is worth pairing
            hardness = np.random.default_rng(7).random(self.users)
            noise = np.random.default_rng(seed).random(self.users)
            drawn = np.floor(120 * np.clip(hardness * 1.1 - quality + 0.2 * noise, 0, 1)).astype(int) + 1
            ranks = np.where(drawn <= 50, drawn, 0).astype(np.uint8)
        last = 24 + seed % 5
        curve = [
            {
                "epoch": epoch,
                "train_loss": 6.0 - 0.1 * epoch,
                "valid": round(
                    quality * (1 - np.exp(-epoch / 5)) - 0.001 * max(0, epoch - 14) + 0.006 * np.sin(seed * epoch),
                    4,
                ),
                "train_seconds": 1.3,
                "valid_seconds": 0.2,
            }
            for epoch in range(last)
        ]
        best = max(curve, key=lambda point: point["valid"])
        record: dict[str, Any] = {
            "run": "-".join((dataset, model, init, mode.strip("-") or "x", protocol, f"s{seed}", tag)),
            "benchmark": self.folder.name,
            "dataset": dataset,
            "model": model,
            "init": init,
            "mode": mode,
            "protocol": protocol,
            "seed": seed,
            "candidate": {},
            "status": "done",
            "config": {"valid_metric": "NDCG@10", "metric_decimal_place": 4, "hidden_size": 64},
            "command": f"recbole-ext run {self.folder.name}.yaml",
            "fingerprints": {
                "dataset": "d" * 64,
                "store": None if init == "none" else "5" * 64,
                "run": "f" * 64,
            },
            "dataset_statistics": {"users": self.users, "items": 2420, "interactions": 53258},
            "versions": {"python": "3.11.9", "recbole": "1.2.1", "torch": "2.13.0"},
            "git_revision": "0b54aa7",
            "device": "cpu, 2 cores",
            "parameters": {"total": 350_000, "trainable": 350_000, "item_embedding": 154_880},
            "seconds": {"per_epoch": 1.35, "per_evaluation": 0.6, "training": 41.5, "test": 0.7},
            "peak_memory_mb": 812.0,
            "best_epoch": best["epoch"],
            "epochs": last,
            "curve": curve,
            "coverage": None if init == "none" else {"items": 2420, "covered": 2400, "missing": 20},
            "validation": {"ndcg@10": best["valid"]},
            "test": reported_metrics(ranks.astype(int), topk),
            "flops": 1.0e9,
            "training_samples": "user",
            "date": f"2026-11-24T10:00:{seed % 60:02d}+00:00",
        }
        record |= changes
        self._write(record)
        if with_ranks:
            np.save(self.folder / "runs" / f"{record['run']}.ranks.npy", ranks)
        return record

    def add_failed(self, **changes: Any) -> dict[str, Any]:
        record = self.add(with_ranks=False, **changes)
        unknown = ("config", "fingerprints", "seconds", "curve", "validation", "test", "parameters", "epochs")
        failed = {key: value for key, value in record.items() if key not in unknown} | {
            "status": "failed",
            "error": "loss is NaN in epoch 3",
        }
        self._write(failed)
        return failed

    def _write(self, record: dict[str, Any]) -> None:
        path = self.folder / "runs" / f"{record['run']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record), encoding="utf-8")


def add_study(folder: Path, text: str = "", sentence: str = "Six of twelve layers are enough.") -> None:
    """Write a study's outputs into ``folder``, results/studies/NAME: study.json, a figure, text.md if there is one."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True)
    content = {
        "name": folder.name,
        "title": f"What {folder.name} show",
        "sentence": sentence,
        "command": f"recbole-ext study {folder.name} {folder.name}.yaml",
    }
    (folder / "study.json").write_text(json.dumps(content), encoding="utf-8")
    Figure(figsize=(4, 3), dpi=150).savefig(folder / f"{folder.name}.png")
    if text:
        (folder / "text.md").write_text(text, encoding="utf-8")
