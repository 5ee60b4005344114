"""The mean over datasets that a card gives, and when it has an interval."""

from __future__ import annotations

import pytest

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.card import Gain, Score
from recbole_ext.report.significance import Difference
from recbole_ext.scoring.cards import _refuse_zero, mean_over_datasets

GAINS = [Difference(0.1, 0.03, 10.0), Difference(0.3, 0.04, 20.0)]
SCORES = [
    Score(dataset=name, model="SASRec", score=0.05, gain=Gain(mean=mean), seeds=6, runs=[], trials=1, chosen={})
    for name, mean in (("Toys", 10.0), ("Books", 30.0))
]


def test_the_mean_over_datasets_has_an_interval_where_each_has_one() -> None:
    mean = mean_over_datasets(GAINS, SCORES, tuning_seeds=1)
    assert mean.mean == pytest.approx(20.0) and mean.low is not None and mean.low < 20.0
    assert mean_over_datasets([GAINS[0], "no test"], SCORES, tuning_seeds=1) == Gain(mean=20.0)


def test_datasets_that_share_several_tunings_have_a_mean_without_an_interval() -> None:
    assert mean_over_datasets(GAINS, SCORES, tuning_seeds=3) == Gain(mean=20.0)


def test_one_dataset_shares_its_tunings_with_nobody() -> None:
    alone = mean_over_datasets(GAINS[:1], SCORES[:1], tuning_seeds=3)
    assert alone.low is not None and alone == mean_over_datasets(GAINS[:1], SCORES[:1], tuning_seeds=1)


def test_a_dataset_on_which_random_vectors_find_nothing_is_named() -> None:
    found = [score.model_copy(update={"random": 0.04}) for score in SCORES]
    _refuse_zero([*found, found[0].model_copy(update={"model": "GRU4Rec", "random": 0.0, "gain": None})], "ndcg@10")
    with pytest.raises(ConfigurationError, match="no card: on Books random vectors score 0 in ndcg@10"):
        _refuse_zero([found[0], found[1].model_copy(update={"random": 0.0, "gain": None})], "ndcg@10")
