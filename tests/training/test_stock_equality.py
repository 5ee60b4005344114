"""On RecBole's own samples a run gives exactly stock RecBole 1.2.1's numbers: a few models × what can be set.

All of stock RecBole's runs go in one process, in which nothing of this package is imported unless stock RecBole fails
by itself. The whole matrix, every model, is ``recbole_ext.survey``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_ext.models import recbole_config
from recbole_ext.survey import survey
from recbole_ext.survey.keys import OF_A_MODEL
from recbole_ext.survey.processes import stock as run_stock
from recbole_ext.training import count_flops, prepare

Settings = dict[str, Any]

TIME = ["user_id", "item_id", "timestamp"]
FEATURES: Settings = {"inter": TIME, "user": ["user_id", "age"], "item": ["item_id", "class", "year"]}
GRAPH: Settings = {"inter": TIME, "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
LEAVE_ONE_OUT: Settings = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}
COMMON: Settings = {
    "eval_args": LEAVE_ONE_OUT,
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"],
    "topk": [1, 5, 10],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 8,
    "epochs": 1,
    "load_col": {"inter": TIME},
    "MAX_ITEM_LIST_LENGTH": 8,
    "train_batch_size": 64,
    "hidden_size": 16,
    "embedding_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "show_progress": False,
    "state": "ERROR",
    "training_samples": "augmented",
}
CE: Settings = {"train_neg_sample_args": None}
SAMPLED: Settings = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
BY_POPULARITY: Settings = {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}}
LABELLED: Settings = {
    "load_col": {**FEATURES, "inter": [*TIME, "rating"]},
    "threshold": {"rating": 3},
    "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None, "order": "RO", "mode": "labeled"},
    "metrics": ["AUC", "LogLoss", "MAE", "RMSE"],
    **CE,
}


def evaluated(**parts: Any) -> Settings:
    return {"eval_args": {**LEAVE_ONE_OUT, **parts}}


CASES: dict[str, tuple[str, Settings]] = {
    "SASRec": ("SASRec", CE),
    "BERT4Rec": ("BERT4Rec", CE),
    "GRU4Rec with BPR": ("GRU4Rec", {"loss_type": "BPR", **SAMPLED}),
    "FPMC": ("FPMC", SAMPLED),
    "SINE": ("SINE", CE),
    "GRU4RecCPR": ("GRU4RecCPR", {"n_facet_reranker": 1, "reranker_CAN_NUM": "20", **CE}),
    "SASRecF": ("SASRecF", {"load_col": FEATURES, "selected_features": ["class", "year"], **CE}),
    "DIN": ("DIN", {"load_col": FEATURES, **SAMPLED}),
    "DIEN": ("DIEN", {"load_col": FEATURES, **SAMPLED}),
    "GRU4RecKG": ("GRU4RecKG", OF_A_MODEL["GRU4RecKG"]),
    "Random": ("Random", {}),
    "Pop": ("Pop", CE),
    "ItemKNN": ("ItemKNN", {}),
    "BPR": ("BPR", {}),
    "NeuMF": ("NeuMF", {}),
    "LightGCN": ("LightGCN", {}),
    "MultiVAE": ("MultiVAE", {"mlp_hidden_size": [16], "latent_dimension": 16}),
    "DeepFM": ("DeepFM", {"load_col": FEATURES, **SAMPLED}),
    "CFKG": ("CFKG", {"load_col": GRAPH}),
    "other cutoffs": ("SASRec", {"topk": [3, 7], "valid_metric": "MRR@3", **CE}),
    "a cutoff above 255": ("SASRec", {"topk": [10, 59], **CE}),
    "GAUC and ShannonEntropy": ("BPR", {"metrics": ["GAUC", "ShannonEntropy", "Recall"], "valid_metric": "GAUC"}),
    "sampled ranking": ("SASRec", {**evaluated(mode="uni20"), **CE}),
    "sampled ranking by popularity": ("SASRec", {**evaluated(mode="pop20"), **CE}),
    "sampled ranking by popularity, general": ("BPR", evaluated(mode="pop20")),
    "sampled validation": ("SASRec", {**evaluated(mode={"valid": "uni10", "test": "full"}), **CE}),
    "sampled test": ("BPR", evaluated(mode={"valid": "full", "test": "uni10"})),
    "value metrics of sampled items": ("DIN", {"load_col": FEATURES, **evaluated(mode="uni20"), **SAMPLED}),
    "labels": ("DeepFM", {**LABELLED, "valid_metric": "AUC"}),
    "labels, the smaller the better": ("NeuMF", {**LABELLED, "valid_metric": "RMSE"}),
    "popular negatives": ("BPR", BY_POPULARITY),
    "popular negatives, sequential": ("FPMC", BY_POPULARITY),
    "repeatable": ("BPR", {"repeatable": True}),
    "random order": ("BPR", evaluated(split={"RS": [0.6, 0.2, 0.2]}, order="RO")),
    "shares in time": ("GRU4Rec", {**evaluated(split={"RS": [0.6, 0.2, 0.2]}), **CE}),
    "shares of all users together": ("SASRec", {**evaluated(split={"RS": [0.6, 0.2, 0.2]}, group_by=None), **CE}),
    "shares of all, general": ("ItemKNN", evaluated(split={"RS": [0.6, 0.2, 0.2]}, group_by="none")),
    "shares, sampled ranking": ("SASRec", {**evaluated(split={"RS": [0.6, 0.2, 0.2]}, mode="uni10"), **CE}),
    "no validation set": ("SASRec", {**evaluated(split={"LS": "test_only"}), **CE}),
    "no validation set, general": ("BPR", evaluated(split={"LS": "test_only"})),
    "no validation set, sampled": ("SASRec", {**evaluated(split={"LS": "test_only"}, mode="uni10"), **CE}),
    "no validation": ("GRU4Rec", {"eval_step": 0, "epochs": 2, **CE}),
    "two loader workers": ("SASRec", {"worker": 2, **CE}),
    "dynamic negatives": (
        "BPR",
        {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 3}},
    ),
}
CASES["value metrics of sampled items"][1]["metrics"] = ["AUC", "LogLoss"]
CASES["value metrics of sampled items"][1]["valid_metric"] = "AUC"


@pytest.fixture(scope="module")
def stock(atomic_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    cases = [
        (model, "rich", {**COMMON, **settings, "data_path": str(atomic_folder)}) for model, settings in CASES.values()
    ]
    return dict(zip(CASES, run_stock(cases, tmp_path_factory.mktemp("stock"), limit=1800), strict=True))


@pytest.fixture
def ours(atomic_folder: Path, tmp_path: Path) -> Any:
    def ours(model: str, **settings: Any) -> dict[str, dict[str, float]]:
        keys = {**COMMON, **settings, "data_path": str(atomic_folder), "checkpoint_dir": str(tmp_path)}
        run = prepare(recbole_config(model, "rich", keys), tmp_path / "best.pth")
        count_flops(run)
        return {"validation": run.fit(), "test": run.test()}

    return ours


@pytest.mark.parametrize("case", CASES)
def test_every_metric_is_stock_recboles_to_the_last_digit(stock: Any, ours: Any, case: str) -> None:
    model, settings = CASES[case]
    expected = stock[case]
    assert "metrics" in expected, f"stock RecBole fails: {expected}"
    found = ours(model, **settings)
    assert found == expected["metrics"]
    assert found["test"] and any(found["test"].values())


@pytest.mark.parametrize("samples", ["auto", "prefix"])
def test_trimmed_samples_draw_the_negatives_that_stock_recbole_draws(stock: Any, ours: Any, samples: str) -> None:
    """Asking the model whether trimming is exact takes no random number away from the training."""
    found = ours("FPMC", **{**CASES["FPMC"][1], "training_samples": samples})
    assert found["test"] == pytest.approx(stock["FPMC"]["metrics"]["test"], abs=1e-7)


@pytest.mark.slow
def test_every_model_that_runs_in_stock_recbole_runs_here_and_equals_it(tmp_path: Path) -> None:
    rows = survey(records=tmp_path / "models.json", page=tmp_path / "models.md", limit=3600)
    different = {row.model: row.equals_stock for row in rows if row.equals_stock.startswith("no")}
    broken = {row.model: row.runs for row in rows if not row.runs.startswith(("yes", "refused", "needs"))}
    assert different == {} and broken == {}
