"""Which keys a model has, and what values they take."""

from __future__ import annotations

import math
from typing import Any

import pytest

from recbole_ext.benchmark.keys import keys_of
from recbole_ext.errors import ConfigurationError


def refused(model: str, key: str, value: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        keys_of(model).check("here", key, value)
    return str(error.value)


TAKEN: list[tuple[str, str, Any]] = [
    ("SASRec", "hidden_dropout_prob", 0.3),
    ("SASRec", "hidden_dropout_prob", 0),
    ("GRU4Rec", "dropout_prob", 0.3),
    ("SASRec", "epochs", 3),
    ("SASRec", "topk", [5, 10]),
    ("SASRec", "topk", 10),
    ("SASRec", "metrics", "NDCG"),
    ("SASRec", "load_col", None),
    ("SASRec", "clip_grad_norm", {"max_norm": 5}),
    ("SASRec", "user_inter_num_interval", "[5,inf)"),
    ("SASRec", "gpu_id", 0),
    ("SASRec", "training_samples", "augmented"),
    ("SASRec", "item_embedding_scale", 0.1),
    ("SASRec", "train_neg_sample_args", None),
    ("BPR", "embedding_size", 64),
]


@pytest.mark.parametrize(("model", "key", "value"), TAKEN)
def test_a_key_takes_the_types_that_recbole_documents(model: str, key: str, value: Any) -> None:
    keys_of(model).check("here", key, value)


def test_a_key_of_another_model_is_refused_with_the_closest_of_its_own() -> None:
    said = refused("SASRec", "dropout_prob", 0.3)
    assert said.startswith("here: SASRec has no key 'dropout_prob'. Did you mean '")
    assert "hidden_dropout_prob" in said or "attn_dropout_prob" in said


WRONG: list[tuple[str, Any, str]] = [
    ("epochs", "three", "epochs should be int; got 'three'"),
    ("epochs", 2.5, "epochs should be int"),
    ("epochs", True, "epochs should be int"),
    ("learning_rate", "1e-3x", "learning_rate should be float"),
    ("learning_rate", None, "learning_rate should be float"),
    ("learning_rate", math.nan, "learning_rate should be a number above 0; got nan"),
    ("learning_rate", math.inf, "learning_rate should be a number above 0; got inf"),
    ("reproducibility", 1, "reproducibility should be bool"),
    ("hidden_dropout_prob", [0.1], "hidden_dropout_prob should be float"),
    ("metrics", 3, "metrics should be list or str"),
    ("eval_args", "full", r"eval_args is a mapping"),
    ("save_dataset", True, "save_dataset is refused"),
    ("dataloaders_save_path", "x.pth", "dataloaders_save_path is refused"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_value_of_another_type_is_refused(key: str, value: Any, message: str) -> None:
    assert message in refused("SASRec", key, value)


def test_switching_a_cache_of_recboles_off_is_fine() -> None:
    keys_of("SASRec").check("here", "save_dataset", False)
