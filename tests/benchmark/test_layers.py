"""The order of layers: a higher one replaces a lower one, key by key."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from recbole_ext.benchmark.layers import LAYERS, merged, refuse_contradictions, refuse_what_is_searched
from recbole_ext.errors import ConfigurationError


@pytest.mark.parametrize(("lower", "upper"), combinations(LAYERS, 2))
def test_a_higher_layer_replaces_a_lower_one(lower: str, upper: str) -> None:
    assert merged({upper: {"epochs": 2}, lower: {"epochs": 1, "seed": 7}}) == {"epochs": 2, "seed": 7}


def test_eval_args_go_together_part_by_part() -> None:
    config = merged(
        {
            "defaults": {"eval_args": {"split": {"LS": "valid_and_test"}, "mode": "full"}},
            "model": {"eval_args": {"mode": "uni100"}},
        }
    )
    assert config == {"eval_args": {"split": {"LS": "valid_and_test"}, "mode": "uni100"}}


def test_a_layer_that_contradicts_the_protocol_is_refused() -> None:
    protocol = {"eval_args": {"mode": "uni100"}, "epochs": 3}
    for settings in ({"eval_args": {"mode": "full"}}, {"epochs": 4}):
        with pytest.raises(ConfigurationError, match="protocols.sampled sets .* and the layer `model` to"):
            refuse_contradictions({"protocol": protocol, "model": settings}, "protocols.sampled")


def test_a_layer_may_say_the_same_or_something_else_and_the_command_line_anything() -> None:
    layers: dict[str, dict[str, Any]] = {"defaults": {"epochs": 300}, "protocol": {"eval_args": {"mode": "uni100"}}}
    refuse_contradictions({**layers, "model": {"eval_args": {"mode": "uni100", "order": "TO"}, "epochs": 3}}, "p")
    refuse_contradictions({**layers, "command line": {"eval_args": {"mode": "full"}}}, "p")


def test_a_key_of_the_search_is_set_by_neither_the_model_nor_an_initialisation() -> None:
    point = {"item_embedding_scale": 0.1}
    for layer, words in (("model", "the model"), ("variant", "the initialisation")):
        with pytest.raises(ConfigurationError, match=f"tries values of item_embedding_scale, and {words} sets it to"):
            refuse_what_is_searched({layer: {"item_embedding_scale": 0.2}}, point, "b.yaml")
    for layer in ("benchmark", "command line"):  # a default for what is not searched, and what overrules the search
        refuse_what_is_searched({layer: {"item_embedding_scale": 0.2}}, point, "b.yaml")
