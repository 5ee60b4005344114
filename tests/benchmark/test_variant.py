"""Entries of ``initialisations:``: what they are made of and how they are attached."""

from __future__ import annotations

from typing import Any

import pytest

from recbole_ext.benchmark.variant import Variant, baseline_of, parse_variants
from recbole_ext.errors import ConfigurationError


def parsed(**entries: dict[str, Any]) -> dict[str, Variant]:
    return parse_variants(entries, "b.yaml")


def refused(**entries: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as error:
        parsed(**entries)
    return str(error.value)


def test_an_entry_is_a_source_what_is_attached_and_keys_of_its_own() -> None:
    (variant,) = parsed(
        a={"encoder": "minilm", "pooling": "cls", "mode": "frozen", "transform": ["center"], "config": {"n_heads": 4}}
    ).values()
    assert variant.source is not None and variant.source.model_dump()["pooling"] == "cls"
    assert variant.attach == {"item_embedding_mode": "frozen", "item_embedding_transform": ["center"]}
    assert (variant.config, variant.is_random, variant.in_words()) == (
        {"n_heads": 4},
        False,
        "encoder minilm, pooling cls",
    )


def test_an_entry_without_a_source_is_random_vectors_which_have_a_scale_and_no_more() -> None:
    variants = parsed(a={}, b={"scale": 0.3})
    assert [variant.in_words() for variant in variants.values()] == ["random", "random"]
    assert variants["b"].attach == {"item_embedding_scale": 0.3}
    assert "b.yaml: initialisations.a: 'transform' is about item vectors" in refused(a={"transform": ["center"]})


def test_the_name_of_another_entry_stands_for_its_source_alone() -> None:
    variants = parsed(
        plm={"encoder": "minilm", "pooling": "cls", "mode": "frozen", "config": {"n_layers": 1}},
        tuned={"finetune": "plm"},
    )
    tuned = variants["tuned"].source
    assert tuned is not None and tuned.model_dump()["finetune"] is not None
    assert getattr(tuned, "finetune") == variants["plm"].source  # noqa: B009 (the field of this source)
    assert (variants["tuned"].attach, variants["tuned"].config) == ({}, {})


def test_a_source_may_stand_there_itself() -> None:
    by_name = parsed(plm={"encoder": "minilm"}, tuned={"finetune": "plm"})["tuned"]
    itself = parsed(tuned={"finetune": {"encoder": "minilm"}})["tuned"]
    assert by_name.source == itself.source


def test_entries_made_of_each_other_are_refused() -> None:
    assert "made of itself, by way of a and b" in refused(a={"finetune": "b"}, b={"finetune": "a"})
    assert "made of itself" in refused(a={"finetune": "a"})


def test_a_name_that_is_no_entry_and_one_of_random_vectors_are_refused() -> None:
    assert "initialisations.a" in refused(a={"finetune": "nothing"})
    assert "random vectors are no source" in refused(a={"finetune": "b"}, b={})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"encodr": "minilm"}, "'encodr' says something about no source of item vectors. Did you mean 'encoder'?"),
        ({"encoder": "minilm", "store": "x"}, "encoder and store are two sources of item vectors; give one."),
        ({"encoder": "minilm", "poling": "cls"}, "poling: unknown key. Did you mean 'pooling'?"),
        ({"encoder": "minilm", "transfrom": ["center"]}, "Did you mean 'transform'?"),
        ({"encoder": "minilm", "item_embedding_scale": 0.1}, "Did you mean 'scale'?"),
        ({"encoder": "minilm", "search": {}}, "All initialisations have the same search"),
        ({"encoder": "minilm", "pooling": "max"}, "pooling"),
        ({"encoder": "minilm", "config": 3}, "config is a mapping of RecBole keys; got 3"),
        ({"config": {"item_embedding_mode": "full"}}, "'item_embedding_mode' is set beside it, as `mode`"),
    ],
)
def test_a_mistake_is_told_by_the_entry(entry: dict[str, Any], message: str) -> None:
    said = refused(a=entry)
    assert said.startswith("b.yaml: initialisations.a") and message in said


def test_the_first_of_random_entries_with_the_same_keys_is_the_baseline() -> None:
    variants = parsed(small={"scale": 0.02}, plain={}, vectors={"encoder": "minilm"}, wide={"config": {"n_heads": 4}})
    assert baseline_of(variants["vectors"], variants) == "small"
    assert baseline_of(variants["plain"], variants) is None
    assert baseline_of(variants["wide"], variants) is None


def test_an_unknown_key_is_answered_with_the_keys_of_the_source_and_of_any_entry() -> None:
    assert "pooling" in refused(a={"encoder": "minilm", "colour": 1})
    assert "transform, mode, missing, scale" in refused(a={"encoder": "minilm", "colour": 1})
    assert "Did you mean 'transform'?" in refused(a={"encoder": "minilm", "transfrom": ["center"]})
    assert refused(a={"encoder": "minilm", "polling": "mean"}).endswith("Did you mean 'pooling'?")
