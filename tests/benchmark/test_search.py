"""The search: full crosses, drawn points, and what a space may not say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recbole_ext.benchmark.search import Search
from recbole_ext.errors import ConfigurationError


def test_nothing_to_search_is_one_empty_point() -> None:
    assert Search().points() == [{}]
    assert Search().in_words() == ""


def test_a_grid_is_the_full_cross_in_reading_order() -> None:
    search = Search(space={"learning_rate": [1e-3, 3e-3], "item_embedding_transform": [["center"], [{"pca": 8}]]})
    assert search.points() == [
        {"learning_rate": 1e-3, "item_embedding_transform": ["center"]},
        {"learning_rate": 1e-3, "item_embedding_transform": [{"pca": 8}]},
        {"learning_rate": 3e-3, "item_embedding_transform": ["center"]},
        {"learning_rate": 3e-3, "item_embedding_transform": [{"pca": 8}]},
    ]


def test_keys_of_one_dimension_share_its_value() -> None:
    search = Search(space={"hidden_dropout_prob, attn_dropout_prob": [0.3, 0.5]})
    assert search.points() == [{"hidden_dropout_prob": p, "attn_dropout_prob": p} for p in (0.3, 0.5)]
    assert search.keys == ["hidden_dropout_prob", "attn_dropout_prob"]


@settings(max_examples=20, deadline=None)
@given(
    sampler=st.sampled_from(["random", "qmc"]),
    trials=st.integers(1, 6),
    seed=st.integers(0, 5),
    values=st.lists(st.integers(0, 9), min_size=2, max_size=4, unique=True),
)
def test_drawn_points_are_as_many_as_asked_different_within_the_space_and_the_same_each_time(
    sampler: str, trials: int, seed: int, values: list[int]
) -> None:
    space = {"a": values, "b": {"low": 1e-4, "high": 1e-1, "log": True}}
    search = Search(space=space, sampler=sampler, trials=trials, sampler_seed=seed)  # type: ignore[arg-type]
    points = search.points()
    assert len(points) == trials == len({json.dumps(point, sort_keys=True) for point in points})
    assert all(point["a"] in values and 1e-4 <= point["b"] <= 1e-1 for point in points)
    assert points == search.points()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"space": {"a": []}}, "name at least one value"),
    ({"space": {"a": [1, 2, 1]}}, "names a value twice"),
    ({"space": {"nproc": [1, 2]}}, "nproc: says where or how a run is computed"),
    ({"space": {"learning_rate": [0.1], "use_gpu": [True, False]}}, "use_gpu: says where or how a run is computed"),
    ({"space": {"learning_rate, learning_rate": [1, 2]}}, "learning_rate: the space names it twice"),
    ({"space": {"a": [1], "b, a": [1]}}, "a: the space names it twice"),
    ({"space": {"a": {"low": 1, "high": 2}}}, "a grid needs a list of values"),
    ({"space": {"a": [1, 2]}, "trials": 3}, "a grid tries its full cross of 2"),
    ({"space": {"a": [1, 2]}, "sampler": "random"}, "needs the number of trials"),
    ({"space": {"a": [1, 2]}, "sampler": "random", "trials": 3}, "more than the 2 points"),
    ({"space": {"a": {"low": 2, "high": 1}}}, "low should be below high"),
    ({"sampler_seed": -1, "space": {"a": [1, 2]}}, "sampler_seed"),
    ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, "above 0 where log"),
    ({"sampler": "tpe"}, "'grid', 'random' or 'qmc'"),
]


@pytest.mark.parametrize(("search", "message"), WRONG, ids=[str(search) for search, _ in WRONG])
def test_a_space_that_makes_no_sense_is_refused(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Search(**search)


def test_a_space_that_has_too_few_points_to_draw_ends_with_its_interval() -> None:
    space = {"a": {"low": 0.001, "high": 0.0010001}}
    for sampler in ("random", "qmc"):
        with pytest.raises(ConfigurationError, match=r"trials: 2 .* 1 different points .*: a from 0.001 to 0.0010001"):
            Search(space=space, sampler=sampler, trials=2).points()  # type: ignore[arg-type]
    assert Search(space=space, sampler="random", trials=1).points() == [{"a": 0.001}]  # type: ignore[arg-type]


def test_the_search_is_told_in_one_line() -> None:
    search = Search(space={"learning_rate": [1e-3, 3e-3], "dropout_prob": [0.1]})
    assert search.in_words() == "2 trials (grid): learning_rate in [0.001, 0.003] × dropout_prob in [0.1]"
