"""Tuning steps and RECFORMER as parts of a grid: made once, in order, and named by all that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, RunRecord
from recbole_ext.runs.grid import run_benchmark

SASREC = {"hidden_size": 16, "inner_size": 32}
RECFORMER = {"stage_one_epochs": 1, "stage_two_epochs": 0}
TUNING: dict[str, Any] = {
    "sources": ["tiny"], "objective": "contrast", "epochs": 1, "batch_size": 8, "max_tokens": 48
}  # fmt: skip


@pytest.fixture
def tuned(resolved: Callable[..., Resolved], tiny_encoders: dict[str, Path]) -> Callable[..., Resolved]:
    """``tuned(**keys)``: the paper's four initialisations, with RECFORMER on one of them."""
    from_plm = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}

    def tuned(tuning: dict[str, Any] | None = None, **keys: Any) -> Resolved:
        content: dict[str, Any] = {
            "name": "tuned",
            "models": {"SASRec": SASREC, "RECFORMER": RECFORMER},
            "grids": {"RECFORMER": {"initialisations": ["pretrain"], "seeds": [1]}},
            "initialisations": {
                "random": {},
                "vanilla": from_plm,
                "pretrain": {**from_plm, "tune": {**TUNING, **(tuning or {})}},
                "finetune": {"finetune": "pretrain", "transform": [{"pca": 16}]},
            },
            "seeds": [1, 2],
            "config": {"epochs": 1, "topk": [5, 10], "use_gpu": False},
        }
        return resolved(**{**content, **keys})

    return tuned


def test_one_yaml_makes_the_four_initialisations_and_runs_recformer_beside_them(
    tuned: Callable[..., Resolved], tmp_path: Path
) -> None:
    found = tuned()
    assert run_benchmark(found) == []
    records = [RunRecord.read(path) for path in (found.benchmark.folder / "runs").glob("*.json")]
    assert sorted((r.model, r.variant, r.mode, r.seed) for r in records) == sorted(
        [
            ("SASRec", variant, "-" if variant == "random" else "full", seed)
            for variant in found.benchmark.initialisations
            for seed in (1, 2)
        ]
        + [("RECFORMER", "pretrain", "text", 1)]
    )
    vectors = {r.variant: r.fingerprints.vectors for r in records if r.model == "SASRec"}
    assert vectors["random"] is None and len(set(vectors.values())) == 4
    stores = sorted(path.name.partition("-")[0] for path in (tmp_path / "artifacts" / "stores" / "tiny").iterdir())
    assert stores == ["encoder", "encoder", "finetune"]
    encoders = sorted(path.name.partition("-")[0] for path in (tmp_path / "artifacts" / "encoders").iterdir())
    assert encoders == ["contrast", "finetune"]
    rows = {(row.model, row.variant): row for row in Grid.read(found.benchmark.folder).rows}
    assert rows["SASRec", "finetune"].vectors.startswith("fine-tuned")
    assert rows["RECFORMER", "pretrain"].baseline is None, "random vectors are no row of its model"

    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".json", ".safetensors")}
    assert run_benchmark(tuned()) == []
    made.pop(found.benchmark.folder / "grid.json")
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_another_tuning_makes_new_stores_and_new_runs_of_what_stands_on_it(tuned: Callable[..., Resolved]) -> None:
    def identities(found: Resolved) -> dict[tuple[str, str], str]:
        return {(spec.model, spec.variant): spec.identity for spec in found.specs() if spec.seed == 1}

    before, after = identities(tuned()), identities(tuned({"seed": 9}))
    assert {cell for cell in before if before[cell] != after[cell]} == {
        ("SASRec", "pretrain"),
        ("SASRec", "finetune"),
        ("RECFORMER", "pretrain"),
    }


def test_other_keys_of_recformer_make_other_vectors_of_it(tuned: Callable[..., Resolved]) -> None:
    def stores(found: Resolved) -> dict[str, Path | None]:
        return {spec.variant: spec.store for spec in found.specs() if spec.model == "SASRec"}

    before = stores(tuned())
    after = stores(tuned(models={"SASRec": SASREC, "RECFORMER": {**RECFORMER, "stage_one_epochs": 2}}))
    assert {variant for variant in before if before[variant] != after[variant]} == {"finetune"}


def test_identities_are_known_before_anything_is_made(tuned: Callable[..., Resolved]) -> None:
    before = [spec.identity for spec in tuned().specs()]
    found = tuned()
    assert run_benchmark(found) == []
    assert [spec.identity for spec in tuned().specs()] == before


PLM = {"encoder": "minilm", "transform": [{"pca": 16}]}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"models": {"SASRec": SASREC}, "grids": {}}, "finetune: needs RECFORMER among the models"),
    (
        {"search": {"space": {"learning_rate": [0.1, 0.2]}}},
        r"finetune: give RECFORMER a search without a space, by grids\.RECFORMER\.search",
    ),
    (
        {"initialisations": {"random": {}, "pretrain": {"tune": {"sources": ["tiny"]}}}},
        "initialisations.pretrain: 'tune' says something about no source",
    ),
    (
        {"initialisations": {"random": {}, "pretrain": {**PLM, "tune": {"sources": {"other": ["tiny"]}}}}},
        "sources: none for dataset 'tiny'",
    ),
    (
        {"initialisations": {"random": {}, "pretrain": {**PLM, "tune": {"sources": ["tiny"], "objective": "pair"}}}},
        "there is no 'pair'; did you mean pairs",
    ),
    (
        {"initialisations": {"random": {}, "pretrain": {**PLM, "tune": {"sources": ["tiny"], "epoch": 3}}}},
        "epoch: unknown key. Did you mean 'epochs'",
    ),
    ({"initialisations": {"random": {}, "pretrain": {**PLM, "tune": {}}}}, "sources: name the datasets to tune on"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_grid_that_can_not_be_is_refused_by_its_key(
    tuned: Callable[..., Resolved], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tuned(**keys)
