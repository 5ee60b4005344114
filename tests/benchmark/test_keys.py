"""Which keys a model has, and what values they take."""

from __future__ import annotations

import math
from typing import Any

import pytest

from recbole_ext.benchmark.keys import ATTACHING, HOOK_KEYS, PLACES, keys_of
from recbole_ext.errors import ConfigurationError


def refused(model: str, key: Any, value: Any) -> str:
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
    ("SASRec", "encoding", "latin-1"),
    ("SASRec", "tail_ratio", 0.2),
    ("SASRec", "eval_args", {"mode": "uni100"}),
    ("SASRec", "eval_args", {"split": {"LS": "test_only"}}),
    ("SASRec", "eval_args", {"split": {"RS": [8, 1, 1]}}),
    ("SASRec", "eval_args", {"split": {"TS": [0.8, 0.1, 0.1]}}),
    ("SASRec", "eval_args", {"split": {"temporal": None}}),
]


@pytest.mark.parametrize(("model", "key", "value"), TAKEN)
def test_a_key_takes_the_types_that_recbole_documents(model: str, key: str, value: Any) -> None:
    keys_of(model).check("here", key, value)


def test_a_key_of_another_model_is_refused_with_the_closest_of_its_own() -> None:
    said = refused("SASRec", "dropout_prob", 0.3)
    assert said.startswith("here: SASRec has no key 'dropout_prob'. Did you mean '")
    assert "hidden_dropout_prob" in said or "attn_dropout_prob" in said


WRONG: list[tuple[Any, Any, str]] = [
    ("epochs", "three", "epochs: a whole number is needed; got 'three'"),
    ("epochs", 2.5, "epochs: a whole number is needed"),
    ("epochs", True, "epochs: a whole number is needed"),
    ("learning_rate", "1e-3x", "learning_rate: a number is needed"),
    ("learning_rate", None, "learning_rate: a number is needed"),
    ("learning_rate", math.nan, "learning_rate should be a number above 0; got nan"),
    ("learning_rate", math.inf, "learning_rate should be a number above 0; got inf"),
    ("weight_decay", -0.1, "weight_decay should be 0 or more; got -0.1"),
    ("stopping_step", -1, "stopping_step should be 0 or more; got -1"),
    ("reproducibility", 1, "reproducibility: true or false is needed"),
    ("hidden_dropout_prob", [0.1], "hidden_dropout_prob: a number is needed"),
    ("metrics", 3, "metrics: a list or text is needed"),
    ("eval_args", "full", r"eval_args is a mapping"),
    ("eval_args", {"split": "LS"}, "eval_args.split: LS, RS, TS or temporal with what it needs is expected"),
    ("eval_args", {"split": {"LOO": 1}}, "eval_args.split: LS, RS, TS or temporal"),
    ("eval_args", {"split": None}, "eval_args.split: LS, RS, TS or temporal"),
    ("eval_args", {"split": {"LS": "valid_and_test", "RS": [8, 1, 1]}}, "eval_args.split: LS, RS are several splits"),
    ("eval_args", {"split": {"LS": True}}, "eval_args.split: LS is one of valid_and_test, valid_only, test_only"),
    ("eval_args", {"split": {"RS": 0.8}}, "eval_args.split: RS has the shares of training, validation and test"),
    ("eval_args", {"split": {"RS": "[8,1,1]"}}, "as in {RS: [0.8, 0.1, 0.1]}; got '[8,1,1]'"),
    ("eval_args", {"split": {"RS": [0.8, 0.2]}}, "eval_args.split: RS has the shares"),
    ("eval_args", {"split": {"RS": [0, 0, 0]}}, "eval_args.split: RS has the shares"),
    ("eval_args", {"split": {"RS": [0.8, "a", 0.1]}}, "eval_args.split: RS has the shares"),
    (5, 1, "SASRec has no key 5."),
    ("encoding", 5, "encoding: text or null is needed"),
    ("tail_ratio", "a tenth", "tail_ratio: a number or null is needed"),
    ("save_dataset", True, "save_dataset is refused"),
    ("dataloaders_save_path", "x.pth", "dataloaders_save_path is refused"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_value_of_another_type_is_refused(key: Any, value: Any, message: str) -> None:
    assert message in refused("SASRec", key, value)


def test_switching_a_cache_of_recboles_off_is_fine() -> None:
    keys_of("SASRec").check("here", "save_dataset", False)


def test_every_key_of_the_hook_has_its_place_in_an_initialisation() -> None:
    assert {"item_embedding", *(f"item_embedding_{key}" for key in ATTACHING)} == set(HOOK_KEYS)
    assert PLACES["item_embedding"] == "initialisations.NAME"
    assert PLACES["item_embedding_mode"] == "initialisations.NAME.mode"
    assert set(HOOK_KEYS) < set(PLACES)
