"""Checkpoints that RecBole writes, torch loads without unpickling anything, and its models begin from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.errors import WriteError

Build = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def trained(build: Build) -> SimpleNamespace:
    """Stock RecBole's own trainer after two epochs, its checkpoint on disk."""
    from recbole.trainer import Trainer

    built = build("SASRec", epochs=2, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    built.trainer = Trainer(built.config, built.model)
    built.best, built.validation = built.trainer.fit(built.loaders.train, built.loaders.valid, verbose=False)
    return built


def test_a_checkpoint_loads_with_weights_only(trained: SimpleNamespace) -> None:
    checkpoint = torch.load(trained.trainer.saved_model_file, weights_only=True)
    assert checkpoint["config"]["model"] == "SASRec"
    assert checkpoint["best_valid_score"] == pytest.approx(trained.best)
    assert set(checkpoint) == {
        "config",
        "epoch",
        "cur_step",
        "best_valid_score",
        "state_dict",
        "other_parameter",
        "optimizer",
    }
    for name, weight in trained.model.state_dict().items():
        assert checkpoint["state_dict"][name].shape == weight.shape


def test_evaluation_reads_the_best_checkpoint(trained: SimpleNamespace) -> None:
    expected = dict(trained.trainer.evaluate(trained.loaders.test, load_best_model=True))
    with torch.no_grad():
        for parameter in trained.model.parameters():
            parameter.zero_()
    assert dict(trained.trainer.evaluate(trained.loaders.test, load_best_model=False)) != expected
    assert dict(trained.trainer.evaluate(trained.loaders.test, load_best_model=True)) == expected


def test_what_the_data_make_of_a_model_is_not_saved(build: Build) -> None:
    """RippleNet's sets of neighbours hold numpy arrays, which do not load."""
    from recbole.trainer import KGTrainer

    built = build(
        "RippleNet",
        "rich",
        load_col={
            "inter": ["user_id", "item_id", "timestamp"],
            "kg": ["head_id", "relation_id", "tail_id"],
            "link": ["item_id", "entity_id"],
        },
        train_neg_sample_args={"distribution": "uniform", "sample_num": 1},
    )
    trainer = KGTrainer(built.config, built.model)
    trainer._save_checkpoint(0, verbose=False)
    ripples = built.model.ripple_set
    assert torch.load(trainer.saved_model_file, weights_only=True)["other_parameter"] == {}
    trainer.evaluate(built.loaders.test, load_best_model=True)
    assert built.model.ripple_set is ripples


def test_training_resumes_from_a_checkpoint(trained: SimpleNamespace, build: Build) -> None:
    from recbole.trainer import Trainer

    checkpoint = torch.load(trained.trainer.saved_model_file, weights_only=True)
    fresh = build("SASRec", epochs=checkpoint["epoch"] + 2, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    trainer = Trainer(fresh.config, fresh.model)
    trainer.resume_checkpoint(trained.trainer.saved_model_file)
    assert trainer.start_epoch == checkpoint["epoch"] + 1
    assert trainer.best_valid_score == checkpoint["best_valid_score"]
    for name, weight in fresh.model.state_dict().items():
        assert torch.equal(weight, checkpoint["state_dict"][name])
    steps = [state["step"].item() for state in checkpoint["optimizer"]["state"].values()]
    trainer.fit(fresh.loaders.train, fresh.loaders.valid, verbose=False, saved=False)
    assert sorted(trainer.train_loss_dict) == [checkpoint["epoch"] + 1]
    resumed = [state["step"].item() for state in trainer.optimizer.state_dict()["state"].values()]
    assert min(resumed) == max(steps) + len(fresh.loaders.train)


def test_a_failed_write_leaves_the_old_checkpoint(trained: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(trained.trainer.saved_model_file)
    before = path.read_bytes()

    def full(state: Any, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WriteError, match="No space left"):
        trained.trainer._save_checkpoint(5, verbose=False)
    assert path.read_bytes() == before
    assert [left for left in path.parent.iterdir() if left.suffix == ".tmp"] == []


# --- models that begin from another's checkpoint ---

PAIRS = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "dynamic": False}}


def pretrained(build: Build, model: str, **settings: Any) -> tuple[SimpleNamespace, str]:
    """``model`` after its training, and the checkpoint that RecBole's own trainer for it left."""
    from recbole.utils import get_trainer

    built = build(model, epochs=1, **settings)
    trainer = get_trainer(built.config["MODEL_TYPE"], model)(built.config, built.model)
    trainer.fit(built.loaders.train, built.loaders.valid, verbose=False)
    return built, str(trainer.saved_model_file)


def assert_same_weights(model: torch.nn.Module, expected: torch.nn.Module, names: dict[str, str]) -> None:
    state, wanted = model.state_dict(), expected.state_dict()
    assert names
    for name, other in names.items():
        assert torch.equal(state[name], wanted[other]), name


def test_s3rec_fine_tunes_what_it_pretrained(build: Build) -> None:
    from recbole.model.sequential_recommender.s3rec import S3Rec
    from recbole.trainer import S3RecTrainer

    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}
    settings = {"item_attribute": "title", "pretrain_epochs": 1, "save_step": 1, "load_col": columns}
    first = build("S3Rec", **settings)
    model = S3Rec(first.config, first.loaders.train._dataset)
    trainer = S3RecTrainer(first.config, model)
    trainer.fit(first.loaders.train, verbose=False)
    assert set(torch.load(trainer.saved_model_file, weights_only=True)["config"]) > {
        "model",
        "dataset",
        "item_attribute",
    }
    second = build("S3Rec", train_stage="finetune", pre_model_path=trainer.saved_model_file, **settings)
    begun = S3Rec(second.config, second.loaders.train._dataset)
    assert_same_weights(begun, model, {name: name for name in model.state_dict()})


def test_ract_goes_from_stage_to_stage(build: Build) -> None:
    settings = {"pretrain_epochs": 1, "save_step": 1, "mlp_hidden_size": [8], "latent_dimension": 4, "metrics_k": 10}
    actor, path = pretrained(build, "RaCT", train_stage="actor_pretrain", **settings)
    critic = build("RaCT", train_stage="critic_pretrain", pre_model_path=path, **settings)
    assert_same_weights(critic.model, actor.model, {name: name for name in actor.model.state_dict()})


def test_convncf_begins_from_bpr(build: Build) -> None:
    bpr, path = pretrained(build, "BPR", embedding_size=64, **PAIRS)
    begun = build("ConvNCF", embedding_size=64, train_method="after_pretrain", pre_model_path=path, **PAIRS)
    both = ["user_embedding.weight", "item_embedding.weight"]
    assert_same_weights(begun.model, bpr.model, {name: name for name in both})


def test_nais_begins_from_fism(build: Build) -> None:
    fism, path = pretrained(build, "FISM", **PAIRS)
    begun = build("NAIS", pretrain_path=path, **PAIRS)
    both = ["item_src_embedding.weight", "item_dst_embedding.weight"]
    assert_same_weights(begun.model, fism.model, {name: name for name in both})


def test_neumf_begins_from_the_parameters_that_its_halves_dumped(build: Build, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "mf_pretrain_path": str(tmp_path / "mf.pth"),
        "mlp_pretrain_path": str(tmp_path / "mlp.pth"),
        "mlp_hidden_size": [16],
        **PAIRS,
    }
    halves = {}
    for half, other in (("mf", "mlp"), ("mlp", "mf")):
        halves[half] = build("NeuMF", **{f"{other}_train": False}, **settings).model
        halves[half].dump_parameters()
    begun = build("NeuMF", use_pretrain=True, **settings)
    for half, model in halves.items():
        own = [name for name in model.state_dict() if f"_{half}_embedding" in name or name.startswith(f"{half}_layers")]
        assert_same_weights(begun.model, model, {name: name for name in own})


def test_kd_dagfm_distils_from_its_teacher(build: Build) -> None:
    settings = {
        "threshold": {"timestamp": 3},
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "labeled"},
    }
    settings |= {"metrics": ["AUC"], "valid_metric": "AUC"}
    teacher, path = pretrained(build, "KD_DAGFM", **settings)
    begun = build("KD_DAGFM", phase="distillation", warm_up=path, **settings)
    assert_same_weights(begun.model, teacher.model, {name: name for name in teacher.model.state_dict()})
