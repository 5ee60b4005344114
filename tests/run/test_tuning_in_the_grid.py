"""Tuning steps and RECFORMER as parts of a grid: made once, in order, and fingerprinted by content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from recbole_ext.run.spec import expand

from recbole_ext.errors import ConfigurationError
from recbole_ext.run import load_benchmark
from recbole_ext.run.grid import run_benchmark

SASREC = {"hidden_size": 16, "inner_size": 32, "epochs": 1, "topk": [5, 10], "valid_metric": "NDCG@10"}
RECFORMER = {"stage_one_epochs": 1, "stage_two_epochs": 0, "topk": [5, 10], "valid_metric": "NDCG@10"}


@pytest.fixture
def benchmark_file(atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path) -> Any:
    def write(**changes: Any) -> Path:
        tuning = {"sources": ["tiny"], "objective": "contrast", "epochs": 1, "batch_size": 8, "max_tokens": 48}
        from_plm = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
        content = {
            "name": "tuned",
            "datasets": ["tiny"],
            "models": {"SASRec": SASREC, "RECFORMER": RECFORMER},
            "only": {"RECFORMER": {"initialisations": ["pretrain"], "seeds": [1]}},
            "initialisations": {
                "none": None,
                "vanilla": from_plm,
                "pretrain": {**from_plm, "tune": tuning},
                "finetune": {"finetune": "pretrain", "transform": [{"pca": 16}]},
            },
            "seeds": [1, 2],
            "data_path": str(atomic_folder),
            "results": str(tmp_path / "results"),
            "artifacts": str(tmp_path / "artifacts"),
            **changes,
        }
        path = tmp_path / "tuned.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def test_one_yaml_makes_the_four_initialisations_and_runs_recformer_beside_them(
    benchmark_file: Any, tmp_path: Path
) -> None:
    benchmark = load_benchmark(benchmark_file())
    report, failed = run_benchmark(benchmark, "test")
    assert failed == []
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "tuned" / "runs").glob("*.json")]
    cells = sorted((r["model"], r["init"], r["mode"], r["seed"]) for r in records)
    assert cells == sorted(
        [
            ("SASRec", init, "-" if init == "none" else "full", seed)
            for init in benchmark.initialisations
            for seed in (1, 2)
        ]
        + [("RECFORMER", "pretrain", "text", 1)]
    )
    stores = {r["init"]: r["fingerprints"]["store"] for r in records if r["model"] == "SASRec"}
    assert stores["none"] is None and len(set(stores.values())) == 4
    assert any("RECFORMER" in line for line in report.lines())
    tuned = list((tmp_path / "artifacts" / "encoders").iterdir())
    assert sorted(path.name for path in tuned) == ["tuned-finetune-tiny", "tuned-pretrain-tiny"]

    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("runs/*.json")}
    run_benchmark(benchmark, "test")
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_another_tuning_makes_new_stores_and_new_runs_of_what_stands_on_it(benchmark_file: Any, tmp_path: Path) -> None:
    def fingerprints() -> dict[tuple[str, str], str]:
        benchmark = load_benchmark(benchmark_file(seeds=[1]))
        return {(spec.model, spec.init): spec.fingerprint for spec in expand(benchmark, "test")}

    run_benchmark(load_benchmark(benchmark_file(seeds=[1])), "test")
    before = fingerprints()
    again = load_benchmark(benchmark_file(seeds=[1]))
    assert again.initialisations["pretrain"].tune is not None
    again.initialisations["pretrain"].tune = again.initialisations["pretrain"].tune.model_copy(update={"seed": 9})
    run_benchmark(again, "test")
    after = fingerprints()
    changed = {cell for cell in before if before[cell] != after[cell]}
    assert changed == {("SASRec", "pretrain"), ("SASRec", "finetune"), ("RECFORMER", "pretrain")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"SASRec": SASREC}, "only": {}}, "needs RECFORMER among the models"),
        ({"only": {"BERT4Rec": {}}}, "'BERT4Rec' is not among the models"),
        ({"only": {"RECFORMER": {"seeds": [2]}}}, "the first among them"),
        ({"only": {"RECFORMER": {"initialisations": ["magic"]}}}, "'magic' is not among the initialisations"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_by_its_key(benchmark_file: Any, changes: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_benchmark(benchmark_file(**changes))


def test_tuning_needs_an_encoder_and_sources_for_every_target(benchmark_file: Any) -> None:
    bad: dict[str, Any] = {"none": None, "pretrain": {"tune": {"sources": ["tiny"]}}}
    with pytest.raises(ConfigurationError, match="'tune' needs the 'encoder'"):
        load_benchmark(benchmark_file(initialisations=bad, only={}, models={"SASRec": SASREC}))
    bad = {"pretrain": {"encoder": "minilm", "tune": {"sources": {"other": ["tiny"]}}}}
    with pytest.raises(ConfigurationError, match="none for 'tiny'"):
        load_benchmark(benchmark_file(initialisations=bad, only={}, models={"SASRec": SASREC}))
