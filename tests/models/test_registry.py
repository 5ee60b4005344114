"""Own models are found beside RecBole's, by name, and nothing is imported for that."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from recbole.utils import get_model

from recbole_ext.errors import ConfigurationError
from recbole_ext.models import (
    OWN_MODELS,
    model_class,
    model_defaults,
    model_names,
    needs_item_vectors,
    own_model_defaults,
    recbole_config,
    trainer_class,
)
from recbole_ext.recbole_models import recbole_name, recboles


@pytest.mark.parametrize("name", OWN_MODELS)
def test_an_own_model_is_a_class_of_its_name_with_defaults(name: str) -> None:
    found = model_class(name)
    assert found.__name__ == name and found.__module__ == OWN_MODELS[name].module
    assert model_defaults(name)


@pytest.mark.parametrize("name", ["SASRec", "Pop", "BPR"])
def test_other_names_are_recboles(name: str) -> None:
    found = model_class(name)
    assert found.__name__ == name and found.__module__.startswith("recbole.")


def test_every_model_of_recbole_and_of_this_package_is_named() -> None:
    assert {"SASRec", "Pop", "UniSRec", "AlphaFuse", *OWN_MODELS} <= set(model_names())


def test_names_are_those_of_recboles_classes_also_of_models_without_a_yaml_of_their_name() -> None:
    assert {"Random", "LightGBM", "XGBoost", "FOSSIL", "xDeepFM", "KD_DAGFM"} <= set(recboles())
    assert not {"lightgbm", "xgboost", "Fossil", "AutoEncoder", "DAGFM"} & set(model_names())
    for name in sorted(set(recboles()) - {"LightGBM", "XGBoost"} - set(OWN_MODELS)):
        assert model_class(name) is get_model(name)
    assert model_defaults("XGBoost")["xgb_num_boost_round"] == 100 and model_defaults("Random") == {}


@pytest.mark.parametrize(("wrong", "meant"), [("UnisRec", "UniSRec"), ("SASrec", "SASRec"), ("AlphaFuze", "AlphaFuse")])
def test_a_wrong_name_is_told_the_closest(wrong: str, meant: str) -> None:
    for ask in (model_class, model_defaults):
        with pytest.raises(ConfigurationError, match=f"{wrong!r}.*Did you mean '{meant}'"):
            ask(wrong)


def test_a_model_brings_its_trainer_or_gets_recboles() -> None:
    trainers = {name: trainer_class(model_class(name)) for name in ("S3Rec", "UniSRec", "Pop", "KGAT", "CFKG", "NCL")}
    assert trainers["S3Rec"].__module__ == "recbole_ext.models.s3rec"
    assert [trainers[name].__name__ for name in ("UniSRec", "Pop", "KGAT", "CFKG", "NCL")] == [
        "Trainer",
        "TraditionalTrainer",
        "KGATTrainer",
        "KGTrainer",
        "NCLTrainer",
    ]


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


def test_naming_models_imports_neither_torch_nor_what_recbole_computes_with() -> None:
    program = (
        "import sys; from recbole_ext.models import model_defaults; "
        "model_defaults('UniSRec'); model_defaults('BPR');"
        "print([name for name in ('torch', 'recbole.utils', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["AlphaFuse", "UniSRec", "UniSRecID", "WhitenRec", "ZESRec"])
def test_a_model_after_a_paper_says_which_and_what_is_left_out(name: str) -> None:
    text = inspect.getdoc(inspect.getmodule(model_class(name))) or ""
    assert "arXiv" in text and "Left out" in text


OWN_PACKAGE = """
from recbole.model.general_recommender.multivae import MultiVAE
from recbole.model.sequential_recommender.sasrec import SASRec
from recbole.trainer import Trainer

class MySASRec(SASRec):
    defaults = {"n_layers": 1, "temperature": 0.5}

class MySASRecTrainer(Trainer):
    pass

class Smaller(MySASRec):
    defaults = {"hidden_size": 16}

class MyVAE(MultiVAE):
    pass

class NoModel:
    pass
"""


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package in the working folder, which is not on Python's path."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN_PACKAGE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_a_class_of_ones_own_goes_by_its_path_wherever_a_name_does(own_package: str) -> None:
    path = f"{own_package}.MySASRec"
    found = model_class(path)
    assert found.__name__ == "MySASRec" and recbole_name(found) == "SASRec"
    assert trainer_class(found).__name__ == "MySASRecTrainer"
    assert model_defaults(path)["n_layers"] == 1 and model_defaults(path)["n_heads"] == 2
    config = recbole_config(path, "tiny", {"train_neg_sample_args": None, "n_heads": 4})
    assert (config["model"], config["n_layers"], config["n_heads"], config["temperature"]) == ("MySASRec", 1, 4, 0.5)
    assert not needs_item_vectors(path, {})


def test_defaults_and_trainer_come_from_the_nearest_ancestor_that_has_them(own_package: str) -> None:
    path = f"{own_package}.Smaller"
    assert {key: model_defaults(path)[key] for key in ("hidden_size", "n_layers", "loss_type")} == {
        "hidden_size": 16,
        "n_layers": 1,
        "loss_type": "CE",
    }
    assert trainer_class(model_class(path)).__name__ == "MySASRecTrainer"


def test_a_model_of_ones_own_gets_the_samples_of_the_model_that_it_is_made_from(
    own_package: str, build: Callable[..., SimpleNamespace]
) -> None:
    from recbole.data.dataloader.user_dataloader import UserDataLoader

    sampled = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    built = build(f"{own_package}.MyVAE", mlp_hidden_size=[8], latent_dimension=8, **sampled)
    assert type(built.loaders.train) is UserDataLoader


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.MySASRec", "no_such_package can't be imported"),
        ("{own}.MySasRec", "has no class MySasRec. Did you mean 'MySASRec'?"),
        ("{own}.NoModel", "is no RecBole model"),
    ],
)
def test_a_path_that_leads_nowhere_says_why(own_package: str, path: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        model_class(path.format(own=own_package))
