"""What a model lacks is said in one sentence before anything is computed: key, column or package, and the way out."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.models import recbole_config
from recbole_ext.models.needs import check_needs
from recbole_ext.survey.keys import OF_A_MODEL

TIME = ["user_id", "item_id", "timestamp"]
NONE: dict[str, Any] = {"train_neg_sample_args": None}
ONE: dict[str, Any] = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
GRAPH = {"inter": TIME, "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
LABELLED = {"eval_args": {"mode": "labeled", "order": "RO"}, "metrics": ["AUC"], "valid_metric": "AUC"}
FULL = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}


@pytest.fixture
def config(atomic_folder: Path) -> Any:
    def config(model: str, dataset: str = "rich", **settings: Any) -> Any:
        common = {"eval_args": FULL, "metrics": ["NDCG"], "valid_metric": "NDCG@10", "load_col": {"inter": TIME}}
        return recbole_config(model, dataset, {**common, "data_path": str(atomic_folder), **settings})

    return config


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("SASRecF", NONE, r"SASRecF reads the field 'class' of the .item file.*selected_features.*load_col"),
        ("FDSA", {**NONE, "selected_features": ["class", "weight"]}, r"FDSA reads the field 'class'"),
        ("GRU4RecF", NONE, r"GRU4RecF reads the field 'class'.*loaded: none"),
        ("S3Rec", NONE, r"S3Rec reads the field 'class'.*item_attribute"),
        ("KSR", {**NONE, "load_col": GRAPH}, r"KSR reads given vectors of entities: make a file rich.ent"),
        (
            "KSR",
            {**NONE, "load_col": GRAPH, "preload_weight": {"ent_id": "ent_emb"}},
            r"KSR reads given vectors of relations.*rich.rel.*alias_of_relation_id",
        ),
        ("GRU4RecKG", {**NONE, "load_col": {"inter": TIME, **GRAPH}}, r"GRU4RecKG reads given vectors of entities"),
        (
            "CFKG",
            {},
            r"CFKG reads a knowledge graph: it needs the columns head_id, relation_id, tail_id of a file rich.kg",
        ),
        ("DeepFM", NONE, r"DeepFM learns from labels: .*'label' \(LABEL_FIELD\).*threshold.*train_neg_sample_args"),
        ("DIN", NONE, r"DIN learns from labels"),
        ("NeuMF", NONE, r"NeuMF learns from labels"),
        ("BPR", NONE, r"BPR compares items with sampled ones, but train_neg_sample_args is none"),
        ("BPR", {"topk": [3, 7]}, r"valid_metric: 'NDCG@10' is not among what metrics and topk report: ndcg@3, ndcg@7"),
        ("BPR", LABELLED, r"mode labeled: there is no column 'label'"),
        ("BPR", {"eval_args": {**FULL, "mode": "labeled"}}, r"mode labeled scores the interactions.*nothing is ranked"),
        (
            "SASRec",
            {**NONE, "load_col": {"inter": TIME[:2]}},
            r"a sequential model needs the time.*'timestamp'.*TIME_FIELD",
        ),
        ("SASRec", {**NONE, "eval_args": {**FULL, "order": "RO"}}, r"SASRec is a sequential model.*set order: TO"),
        ("BPR", {"load_col": {"inter": TIME[:2]}}, r"eval_args: {order: TO} needs the time"),
    ],
)
def test_a_key_or_column_that_is_missing_is_named_with_the_way_out(
    config: Any, model: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_needs(config(model, **settings))


@pytest.mark.parametrize(
    ("model", "package"), [("KGAT", "dgl"), ("KGIN", "torch_scatter"), ("MCCLK", "torch_scatter"), ("NCL", "faiss")]
)
def test_a_package_that_is_missing_is_named(
    config: Any, model: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_ext.models.find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(ConfigurationError, match=f"{model} needs the package {package}.*pip install {package[:5]}"):
        check_needs(config(model, load_col=GRAPH))


def test_vectors_that_ldiffrec_would_unpickle_are_refused(
    config: Any, atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_ext.models.find_spec", lambda name: name)
    shutil.copytree(atomic_folder / "rich", tmp_path / "rich")
    asked = config("LDiffRec", n_cate=2, data_path=str(tmp_path))
    for vectors, refused in ((None, True), (np.array([{}], dtype=object), True), (np.zeros((60, 4)), False)):
        if vectors is not None:
            np.save(tmp_path / "rich" / "item_emb.npy", vectors)
        with pytest.raises(ConfigurationError, match="n_cate: .*item_emb.npy") if refused else nullcontext():
            check_needs(asked)


@pytest.mark.parametrize(("model", "package"), [("LightGBM", "lightgbm"), ("XGBoost", "xgboost")])
def test_a_package_that_a_model_is_made_of_is_named(
    config: Any, model: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_ext.models.find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(ConfigurationError, match=f"{model} needs the package {package}"):
        config(model)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("SASRec", NONE),
        ("SASRecF", {**NONE, "load_col": {"inter": TIME, "item": ["item_id", "class"]}}),
        ("SASRecF", {**NONE, "load_col": None}),
        ("SASRecF", {**NONE, "load_col": {"inter": TIME, "item": "*"}}),
        ("SASRecF", {**NONE, "selected_features": ["item_embedding"]}),
        ("KSR", {**OF_A_MODEL["KSR"], **NONE}),
        ("CFKG", {"load_col": GRAPH}),
        ("DeepFM", ONE),
        ("DeepFM", {**NONE, "load_col": {"inter": [*TIME, "rating"]}, "threshold": {"rating": 3}}),
        ("DeepFM", {**NONE, "load_col": {"inter": [*TIME, "rating"]}, "LABEL_FIELD": "rating"}),
        ("MultiVAE", NONE),
        ("ItemKNN", NONE),
        ("Pop", {"load_col": {"inter": TIME[:2]}, "eval_args": {**FULL, "order": "RO"}}),
    ],
)
def test_a_model_with_all_that_it_needs_is_let_through(config: Any, model: str, settings: dict[str, Any]) -> None:
    check_needs(config(model, **settings))


def test_columns_are_those_that_are_loaded_whatever_mark_and_line_ends_the_file_has(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    header, row = "timestamp:float\tuser_id:token\titem_id:token\tlabel:float", "1\tu\ta\t1"
    (tmp_path / "own" / "own.inter").write_bytes(f"\ufeff{header}\r\n{row}\r\n".encode())
    (tmp_path / "own" / "own.kg").write_text("broken\n")  # which these models do not read

    def check(model: str, **settings: Any) -> None:
        common = {"eval_args": FULL, "metrics": ["NDCG"], "valid_metric": "NDCG@10", "data_path": str(tmp_path)}
        check_needs(recbole_config(model, "own", {**common, **settings}))

    check("SASRec", **NONE, load_col={"inter": TIME})
    check("DeepFM", **NONE, load_col=None)
    with pytest.raises(ConfigurationError, match="DeepFM learns from labels"):
        check("DeepFM", **NONE, load_col=None, unload_col={"inter": ["label"]})
    with pytest.raises(SourceDataError, match=r"own\.kg, line 1: the header column 'broken' has no type"):
        check("CFKG", load_col=GRAPH)
