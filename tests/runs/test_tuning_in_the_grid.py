"""Tuning steps and RECFORMER as parts of a grid: made once, in order, and named by all that they are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbole_ext.benchmark import Resolved
from recbole_ext.benchmark.plan import plan_lines
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, RunRecord
from recbole_ext.report import write_report
from recbole_ext.runs.grid import run_benchmark
from recbole_ext.runs.recording import is_done

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


def test_the_store_that_recformer_exports_is_named_by_all_that_its_run_stands_on(
    tuned: Callable[..., Resolved],
) -> None:
    def store(**keys: Any) -> Path | None:
        found = tuned(**keys)
        return next(spec.store for spec in found.specs() if spec.variant == "finetune")

    def recformer(**keys: Any) -> dict[str, Any]:
        return {"models": {"SASRec": SASREC, "RECFORMER": {**RECFORMER, **keys}}}

    def config(**keys: Any) -> dict[str, Any]:
        return {"config": {"epochs": 1, "topk": [5, 10], "use_gpu": False, **keys}}

    first_seed = {"seeds": [3, 2], "grids": {"RECFORMER": {"initialisations": ["pretrain"], "seeds": [3]}}}
    test_only = {"protocols": {"short": {"eval_args": {"split": {"LS": "test_only"}}}}}
    changes: list[dict[str, Any]] = [
        {},
        *(recformer(**{key: value}) for key, value in {"temperature": 0.1, "learning_rate": 1e-3}.items()),
        *(
            recformer(**{key: value})
            for key, value in {"max_items": 7, "stage_two_epochs": 1, "pooling": "mean"}.items()
        ),
        config(user_inter_num_interval="[6,inf)"),
        config(MAX_ITEM_LIST_LENGTH=9),
        {"tuning": {"seed": 9}},
        {"tuning": {"temperature": 0.2}},
        first_seed,
        test_only,
    ]
    stores = [store(**change) for change in changes]
    assert len(set(stores)) == len(changes) and stores[0] == store()
    same = {"SASRec": {**SASREC, "hidden_dropout_prob": 0.1}, "RECFORMER": RECFORMER}
    assert store(models=same) == stores[0], "what its run does not stand on"


def test_a_row_takes_the_item_matrix_of_the_protocol_that_splits_as_its_own_does(
    tuned: Callable[..., Resolved],
) -> None:
    protocols = {
        "full": {},
        "sampled": {"eval_args": {"mode": "uni10"}},
        "short": {"eval_args": {"split": {"LS": "test_only"}}},
    }
    found = tuned(protocols=protocols)
    exports = {spec.protocol: spec.exports for spec in found.specs() if spec.model == "RECFORMER"}
    stores = {spec.protocol: spec.store for spec in found.specs() if spec.variant == "finetune"}
    assert stores == {"full": exports["full"], "sampled": exports["full"], "short": exports["short"]}
    assert exports["full"] != exports["short"]
    grids = {"RECFORMER": {"initialisations": ["pretrain"], "seeds": [1], "protocols": ["full"]}}
    with pytest.raises(ConfigurationError, match="under no protocol that reads, filters and splits tiny as this row"):
        tuned(protocols=protocols, grids=grids)


def test_without_validation_everything_learns_from_all_but_the_last_items(tuned: Callable[..., Resolved]) -> None:
    protocols = {"short": {"eval_args": {"split": {"LS": "test_only"}}}}
    found = tuned(protocols=protocols)
    assert run_benchmark(found) == []
    records = [RunRecord.read(path) for path in (found.benchmark.folder / "runs").glob("*.json")]
    assert len(records) == 9 and all(not record.done.validation and record.done.test for record in records)
    (encoder,) = found.encoders
    (source,) = encoder.tuned.sources
    assert encoder.path is not None
    tuned_on = json.loads((encoder.path / "tuning.json").read_text())
    assert tuned_on["source_requests"]["tiny"]["histories"]["keys"]["eval_args"]["split"] == {"LS": "test_only"}
    assert sum(map(len, source.training_histories())) == source.size().interactions - 40  # type: ignore[union-attr]


def test_the_seeds_of_a_row_take_its_tuning_seeds_in_turn(tuned: Callable[..., Resolved]) -> None:
    grids = {"RECFORMER": {"initialisations": ["pretrain"], "seeds": [1, 2]}}
    found = tuned({"seeds": [8, 9], "objective": "pairs"}, seeds=[1, 2, 3, 4], grids=grids)
    stores = {(s.variant, s.seed): s.store for s in found.specs() if s.model == "SASRec"}
    assert stores["pretrain", 1] == stores["pretrain", 3] != stores["pretrain", 2] == stores["pretrain", 4]
    assert len({stores["vanilla", seed] for seed in (1, 2, 3, 4)}) == 1
    assert len({stores["finetune", seed] for seed in (1, 2, 3, 4)}) == 1
    encoders = {s.seed: s.config["encoder"] for s in found.specs() if s.model == "RECFORMER"}
    assert len(set(encoders.values())) == 2
    assert [encoder.tuned.tuning.settings.seed for encoder in found.encoders] == [8, 9]
    lines = "\n".join(plan_lines(found, is_done))
    assert all(f"pairs, seed {seed}" in lines for seed in (8, 9)) and "seeds [8, 9]" in lines
    with pytest.raises(
        ConfigurationError, match=r"SASRec, pretrain: tune\.seeds: 3 of them can't be shared out evenly"
    ):
        tuned({"seeds": [7, 8, 9]})


def test_rows_of_several_tunings_are_run_and_reported_with_all_their_stores(tuned: Callable[..., Resolved]) -> None:
    plm = tuned().benchmark.initialisations["vanilla"]
    tuning = {**TUNING, "objective": "pairs", "seeds": [7, 8, 9]}
    found = tuned(
        models={"SASRec": SASREC},
        grids={},
        initialisations={"vanilla": plm, "tuned": {**plm, "tune": tuning, "baseline": "vanilla"}},
        seeds=[1, 2, 3],
    )
    assert run_benchmark(found) == []
    folder = found.benchmark.folder
    records = [RunRecord.read(path) for path in (folder / "runs").glob("*.json")]
    assert len({record.fingerprints.vectors for record in records if record.variant == "tuned"}) == 3
    write_report(folder)
    table = pd.read_csv(folder / "leaderboard.csv").set_index("variant")
    assert table.loc["tuned", "n_seeds"] == 3 and table.loc["tuned", "baseline"] == "vanilla"
    assert table["ndcg@10_p_holm"].notna()["tuned"]
    assert table.loc["tuned", "vectors"] != table.loc["vanilla", "vectors"]


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
        "there is no 'pair'. Did you mean 'pairs'",
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
