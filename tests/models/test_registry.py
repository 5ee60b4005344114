"""Own models are found beside RecBole's, by name, and nothing is imported for that."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from recbole_ext.data.keys import model_defaults
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import (
    OWN_MODELS,
    model_class,
    model_names,
    needs_item_vectors,
    own_model_defaults,
    recbole_config,
    trainer_class,
)


@pytest.mark.parametrize("name", OWN_MODELS)
def test_an_own_model_is_a_class_of_its_name_with_defaults(name: str) -> None:
    found = model_class(name)
    assert found.__name__ == name and found.__module__ == OWN_MODELS[name].module
    untrained = getattr(found, "training_samples", None) == "none"
    assert "loss_type" in model_defaults(name) or OWN_MODELS[name].reads_text or untrained


@pytest.mark.parametrize("name", ["SASRec", "Pop", "BPR"])
def test_other_names_are_recboles(name: str) -> None:
    found = model_class(name)
    assert found.__name__ == name and found.__module__.startswith("recbole.")


def test_every_model_of_recbole_and_of_this_package_is_named() -> None:
    assert {"SASRec", "Pop", "UniSRec", "AlphaFuse", *OWN_MODELS} <= set(model_names())


@pytest.mark.parametrize(("wrong", "meant"), [("UnisRec", "UniSRec"), ("SASrec", "SASRec"), ("AlphaFuze", "AlphaFuse")])
def test_a_wrong_name_is_told_the_closest(wrong: str, meant: str) -> None:
    for ask in (model_class, model_defaults):
        with pytest.raises(ConfigurationError, match=f"{wrong!r}.*Did you mean {meant}"):
            ask(wrong)


def test_a_model_brings_its_trainer_or_gets_recboles() -> None:
    from recbole.utils import ModelType

    assert trainer_class(ModelType.SEQUENTIAL, "S3Rec").__module__ == "recbole_ext.models.s3rec"
    assert trainer_class(ModelType.SEQUENTIAL, "UniSRec").__name__ == "Trainer"
    assert trainer_class(ModelType.TRADITIONAL, "Pop").__name__ == "TraditionalTrainer"


def test_defaults_stand_below_what_is_set() -> None:
    config = recbole_config("UniSRec", "tiny", {"n_experts": 3, "train_neg_sample_args": None, "repeatable": True})
    assert (config["n_experts"], config["temperature"], config["n_layers"]) == (3, 0.07, 2)


def test_defaults_of_a_name_of_recboles_stand_above_recboles() -> None:
    assert own_model_defaults("Pop") == {"train_neg_sample_args": None} == model_defaults("Pop")
    assert own_model_defaults("SASRec") is None and model_defaults("SASRec")["n_layers"] == 2


def test_a_model_reads_vectors_by_its_nature_or_as_a_feature() -> None:
    assert needs_item_vectors("UniSRec", {}) and not needs_item_vectors("SASRec", {})
    assert needs_item_vectors("FDSA", {"selected_features": ["class", "item_embedding"]})
    assert not needs_item_vectors("FDSA", {"selected_features": ["class"]}) and not needs_item_vectors("FDSA", {})


def test_naming_models_imports_neither_torch_nor_recbole() -> None:
    program = (
        "import sys; from recbole_ext.data.keys import model_defaults; "
        "model_defaults('UniSRec'); model_defaults('BPR');"
        "print([name for name in ('torch', 'recbole', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["AlphaFuse", "UniSRec", "UniSRecID", "WhitenRec", "ZESRec"])
def test_a_model_after_a_paper_says_which_and_what_is_left_out(name: str) -> None:
    text = inspect.getdoc(inspect.getmodule(model_class(name))) or ""
    assert "arXiv" in text and "Left out" in text
