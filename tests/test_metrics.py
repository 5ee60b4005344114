"""How results name a metric: with a cutoff or without, as RecBole's evaluator does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_ext.metrics import has_cutoff, register_metrics, reported


class MeanScore(AbstractMetric):
    """A user's own of the type of AUC."""

    metric_type = EvaluatorType.VALUE
    metric_need = ["rec.score", "data.label"]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        return {"meanscore": 0.0}


class Reciprocal(AbstractMetric):
    """A user's own that ranks."""

    metric_type = EvaluatorType.RANKING
    metric_need = ["rec.topk"]

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        return {f"reciprocal@{k}": 0.0 for k in self.config["topk"]}


OWN = [f"{__name__}.MeanScore", f"{__name__}.Reciprocal"]


def test_recboles_metric_type_says_whether_results_have_a_cutoff() -> None:
    names = register_metrics(["NDCG", "GAUC", "AUC", "LogLoss", "MAE", "RMSE", "Novelty", *OWN])
    expected = ["ndcg@5", "ndcg@10", "gauc", "auc", "logloss", "mae", "rmse", "novelty@5", "novelty@10"]
    assert reported(names, [5, 10]) == [*expected, "meanscore", "reciprocal@5", "reciprocal@10"]
    assert has_cutoff("a-metric-that-nobody-has-registered")


@pytest.mark.parametrize(("metrics", "chosen"), [([OWN[1], "Recall"], "Reciprocal@10"), ([OWN[0]], "MeanScore")])
def test_validation_goes_by_a_metric_of_ones_own_under_the_name_that_is_reported(
    metrics: list[str], chosen: str
) -> None:
    from recbole_ext.benchmark.protocol import nearest_valid_metric

    assert nearest_valid_metric({"metrics": metrics, "topk": [10, 20]}) == chosen


def test_a_value_metric_of_ones_own_is_run_without_naming_what_validates(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    from recbole_ext.benchmark import load_benchmark, resolve
    from recbole_ext.models import recbole_config
    from recbole_ext.models.needs import _check_evaluation

    labelled = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "labeled"}
    config = {"epochs": 1, "metrics": [OWN[0]], "eval_args": labelled, "threshold": {"timestamp": 3}}
    path = described(tmp_path, models={"BPR": {}}, initialisations={"random": {}}, config=config)
    spec = next(resolve(*load_benchmark(path), "", path.name).specs())
    assert spec.config["valid_metric"] == "MeanScore"
    _check_evaluation(recbole_config("BPR", "tiny", dict(spec.config)), {"inter": {"label"}})
