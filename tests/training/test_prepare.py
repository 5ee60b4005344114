"""One function sets up a run: every split, metric and end of training of RecBole leads to numbers or a sentence."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_ext.errors import ConfigurationError
from recbole_ext.models import recbole_config
from recbole_ext.training import PreparedRun, count_flops, prepare

Prepared = Callable[..., PreparedRun]
LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}
BEYOND_ACCURACY = ["ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"]


@pytest.fixture
def prepared(atomic_folder: Path, tmp_path: Path) -> Prepared:
    def prepared(model: str, dataset: str = "tiny", **settings: Any) -> PreparedRun:
        common = {
            "data_path": str(atomic_folder),
            "checkpoint_dir": str(tmp_path / "checkpoints"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": LEAVE_ONE_OUT,
            "metrics": ["Recall", "NDCG"],
            "topk": [5, 10],
            "valid_metric": "NDCG@10",
            "train_neg_sample_args": None,
            "show_progress": False,
            "epochs": 2,
            "MAX_ITEM_LIST_LENGTH": 10,
            "hidden_size": 16,
            "inner_size": 16,
            "metric_decimal_place": 8,
        }
        return prepare(recbole_config(model, dataset, {**common, **settings}), tmp_path / "best.pth")

    return prepared


@pytest.mark.parametrize("samples", ["auto", "augmented"])
@pytest.mark.parametrize(
    "settings",
    [{"eval_step": 0}, {"eval_args": {**LEAVE_ONE_OUT, "split": {"LS": "test_only"}}}],
    ids=["eval_step 0", "test_only"],
)
def test_without_validation_the_last_state_is_tested(
    prepared: Prepared, settings: dict[str, Any], samples: str
) -> None:
    run = prepared("SASRec", training_samples=samples, **settings)
    assert run.fit() == {}
    assert run.trainer.best_epoch == 1 and len(run.trainer.curve) == 2
    last = {name: value.clone() for name, value in run.model.state_dict().items()}
    assert run.test()["recall@10"] >= 0
    assert all(torch.equal(value, last[name]) for name, value in run.model.state_dict().items())
    assert len(run.trainer.test_ranks(run.loaders.test)) == 40


@pytest.mark.parametrize("split", [{"LS": "valid_only"}, {"RS": [0.8, 0.2, 0.0]}], ids=["leave one out", "shares"])
def test_without_a_test_set_there_is_nothing_to_report(prepared: Prepared, split: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="eval_args: split .* holds out no test set"):
        prepared("SASRec", eval_args={**LEAVE_ONE_OUT, "split": split})


@pytest.mark.parametrize("samples", ["auto", "augmented"])
def test_metrics_beyond_accuracy_are_what_their_definitions_say(prepared: Prepared, samples: str) -> None:
    """Stock RecBole 1.2.1 ends with an error after the first epoch, so they are computed again here."""
    run = prepared("SASRec", metrics=BEYOND_ACCURACY, topk=[5], valid_metric="ItemCoverage@5", training_samples=samples)
    validation, test = run.fit(), run.test()
    assert set(validation) == set(test) == {f"{name.lower()}@5" for name in BEYOND_ACCURACY}
    dataset = run.loaders.test._dataset
    scores = run.model.full_sort_predict(dataset[np.arange(len(dataset))]).detach()
    scores[:, 0] = -torch.inf
    shown = scores.topk(5).indices
    times = Counter(shown.flatten().tolist())
    trained = Counter(run.loaders.train._dataset.inter_feat["item_id"].tolist())
    total, n_items = shown.numel(), 61  # RecBole counts the padding as an item
    assert test["itemcoverage@5"] == pytest.approx(len(times) / n_items, abs=1e-7)
    popular = np.mean([trained[item] for item in shown.flatten().tolist()])
    assert test["averagepopularity@5"] == pytest.approx(popular, abs=1e-6)
    entropy = -sum(count / total * math.log(count / total) for count in times.values()) / len(times)
    assert test["shannonentropy@5"] == pytest.approx(entropy, abs=1e-7)
    counts = sorted(times.values())
    places = range(n_items - len(counts) + 1, n_items + 1)
    gini = sum((2 * i - n_items - 1) * count for i, count in zip(places, counts, strict=True)) / total / n_items
    assert test["giniindex@5"] == pytest.approx(gini, abs=1e-7)
    ordered = sorted(trained, key=lambda item: (trained[item], item))
    tail = set(ordered[: max(int(len(ordered) * 0.1), 1)])
    assert test["tailpercentage@5"] == pytest.approx(sum(times[item] for item in tail) / total, abs=1e-7)
    assert run.trainer.test_ranks(run.loaders.test) is None


@pytest.mark.parametrize(("model", "samples"), [("SASRec", "auto"), ("SASRec", "augmented"), ("BPR", "augmented")])
def test_the_users_of_an_item_are_all_who_had_it_in_training_whatever_the_model(
    prepared: Prepared, atomic_folder: Path, model: str, samples: str
) -> None:
    from recbole_ext.beyond_accuracy import users_of_items

    negatives = {"distribution": "uniform", "sample_num": 1} if model == "BPR" else None
    run = prepared(model, training_samples=samples, train_neg_sample_args=negatives)
    table = pd.read_csv(atomic_folder / "tiny" / "tiny.inter", sep="\t", dtype={"item_id:token": str})
    trained = table.sort_values("timestamp:float", kind="stable").groupby("user_id:token").head(-2)
    expected = trained.groupby("item_id:token")["user_id:token"].nunique()
    dataset = run.loaders.train._dataset
    found = dict(zip(dataset.field2id_token["item_id"], users_of_items(dataset), strict=True))
    assert {item: count for item, count in found.items() if count} == expected.to_dict()


@pytest.mark.parametrize("metric", [*BEYOND_ACCURACY, "Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "GAUC"])
def test_every_ranking_metric_stands_alone(prepared: Prepared, metric: str) -> None:
    cutoff = "" if metric == "GAUC" else "@5"
    run = prepared("GRU4Rec", metrics=[metric], topk=[5], valid_metric=metric + cutoff, epochs=1)
    run.fit()
    (value,) = run.test().values()
    assert math.isfinite(value) and type(value) is float


def test_the_loss_of_an_epoch_is_the_mean_over_the_batches_that_there_were(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared("SASRec", train_batch_size=100, epochs=1)
    monkeypatch.setattr(type(run.samples.loader), "__len__", lambda loader: 1000)
    run.trainer.loss_of_rows = lambda model, part: 3.0 + 0.0 * model.item_embedding.weight.sum()
    run.fit()
    assert run.trainer.curve[0]["train_loss"] == pytest.approx(3.0)


def test_the_best_epoch_is_the_last_of_the_best_whichever_way_is_better(prepared: Prepared) -> None:
    trainer = prepared("SASRec").trainer
    trainer.curve = [{"epoch": epoch, "valid": value} for epoch, value in enumerate([0.1, 0.3, 0.3, 0.2])]
    assert trainer.best_epoch == 2
    trainer.config["valid_metric_bigger"] = False
    assert trainer.best_epoch == 0
    trainer.curve = [{"epoch": 0}, {"epoch": 1}]
    assert trainer.best_epoch == 1
    trainer.curve = []
    assert trainer.best_epoch == -1


def test_a_metric_that_is_the_better_the_smaller_picks_the_smallest(prepared: Prepared) -> None:
    run = prepared("SASRec", metrics=["GiniIndex"], topk=[5], valid_metric="GiniIndex@5", epochs=4)
    validation = run.fit()
    values = [entry["valid"] for entry in run.trainer.curve]
    assert validation["giniindex@5"] == min(values) == values[run.trainer.best_epoch]


@pytest.mark.parametrize("model", ["SASRecCPR", "GRU4RecCPR"])
def test_a_model_that_can_not_be_counted_has_no_flops_and_still_trains(prepared: Prepared, model: str) -> None:
    run = prepared(model, epochs=1, reranker_CAN_NUM=20)
    assert count_flops(run) is None
    assert run.fit() and run.test()
    assert count_flops(prepared("SASRec")) > 0  # type: ignore[operator]


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_flops_count_the_layers_of_attention_whatever_computes_it(prepared: Prepared, model: str) -> None:
    fused, stock = prepared(model), prepared(model, training_samples="augmented")
    assert count_flops(fused) == count_flops(stock)
    block = fused.model.trm_encoder.layer[0].multi_head_attention
    assert "forward" in vars(block), "counted with RecBole's own, and fused again"


@pytest.mark.parametrize("samples", ["user", "augmented"])
def test_dual_draws_which_items_take_the_map_once_a_step_whatever_it_trains_on(
    prepared: Prepared, store_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: str
) -> None:
    from recbole_ext.attach.parametrizations import Dual

    store = store_of([f"i{item}" for item in range(60)], tmp_path / "store")
    keys = {"item_embedding": str(store), "item_embedding_mode": "dual"}
    run = prepared("SASRec", training_samples=samples, epochs=1, eval_step=0, **keys)
    drawn: list[bool] = []
    forward = Dual.forward

    def counted(self: Dual, *args: torch.Tensor) -> torch.Tensor:
        drawn.append(self.training)
        return forward(self, *args)

    monkeypatch.setattr(Dual, "forward", counted)
    steps = len(run.samples.loader)
    run.fit()
    assert sum(drawn) == steps


@pytest.mark.parametrize("model", ["SINE", "FPMC"])
def test_asking_a_model_leaves_the_random_numbers_of_the_training_alone(prepared: Prepared, model: str) -> None:
    negatives = {"distribution": "uniform", "sample_num": 1} if model == "FPMC" else None
    states = []
    for samples in ("augmented", "auto"):
        prepared(model, training_samples=samples, train_neg_sample_args=negatives)
        states.append((np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state().tolist()))
    assert states[0] == states[1]


def test_ties_of_targets_are_counted(prepared: Prepared) -> None:
    run = prepared("Pop", topk=[60], valid_metric="NDCG@60", rank_seen_items=True)
    run.fit()
    run.test()
    popularity = run.model.item_cnt.squeeze()
    positive = run.loaders.test._dataset.inter_feat["item_id"]
    ties = [(popularity[1:] == popularity[item]).sum() > 1 for item in positive]
    assert run.trainer.tied_targets == sum(map(bool, ties)) > 0


def test_more_places_than_items_are_refused_where_recbole_would_fail(prepared: Prepared) -> None:
    run = prepared(
        "BPR",
        topk=[100],
        valid_metric="NDCG@100",
        eval_args={**LEAVE_ONE_OUT, "split": {"RS": [0.6, 0.2, 0.2]}},
        train_neg_sample_args={"distribution": "uniform", "sample_num": 1},
    )
    with pytest.raises(ConfigurationError, match="topk: 100 is more than the 60 items"):
        run.fit()


def test_a_field_that_a_model_asks_for_in_vain_is_named(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared("SASRec", training_samples="augmented")
    monkeypatch.setattr(run.model, "calculate_loss", lambda interaction: interaction["price"].sum())
    with pytest.raises(ConfigurationError, match="SASRec reads a field 'price', which is not in the data.*load_col"):
        run.fit()


@pytest.mark.parametrize("samples", ["auto", "augmented"])
@pytest.mark.parametrize("model", ["SASRec", "FPMC", "BERT4Rec"])
def test_loaders_may_work_in_processes_of_their_own(prepared: Prepared, model: str, samples: str) -> None:
    negatives = {"distribution": "uniform", "sample_num": 1} if model == "FPMC" else None
    run = prepared(model, worker=2, epochs=1, training_samples=samples, train_neg_sample_args=negatives)
    run.fit()
    assert len(run.trainer.test_ranks(run.loaders.test)) == 40 and run.test()


def test_counting_flops_draws_what_recbole_s_count_of_the_model_as_it_is_draws(prepared: Prepared) -> None:
    """Published numbers depend on it: a seed means the draws of the count and of the training after it."""
    drawn = []
    for count in (count_flops, _recboles_count):
        run = prepared("SASRec", hidden_dropout_prob=0.5, attn_dropout_prob=0.5)
        run.model.train()
        count(run)
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1]


def _recboles_count(run: PreparedRun) -> None:
    from recbole.data.transform import construct_transform
    from recbole.utils import get_flops

    log = logging.getLogger("count")
    get_flops(run.model, run.loaders.dataset, run.config["device"], log, construct_transform(run.config))
