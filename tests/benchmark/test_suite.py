"""Suites: what they are for the vectors in question, and what is no suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_ext.benchmark.suite import SUITES, load_suite, refuse_unknown, suite_names
from recbole_ext.errors import ConfigurationError
from recbole_ext.scoring import resolve_score

MINE: dict[str, Any] = {
    "version": 3,
    "name": "mine",
    "datasets": ["tiny"],
    "models": {"SASRec": {"hidden_size": 16}, "NearestNeighbour": {}},
    "initialisations": {"random": {}, "vectors": {"transform": ["center", {"width": 16}]}},
    "search": {"space": {"item_embedding_scale": [0.1, 0.2]}},
    "grids": {"NearestNeighbour": {"search": {}, "initialisations": ["vectors"]}},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.yaml"
    content = {key: value for key, value in {**MINE, **changes}.items() if value != "nothing"}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_the_package_has_three_suites_named_like_their_files() -> None:
    assert suite_names() == ["quick", "standard", "full"]
    assert {path.stem for path in SUITES.iterdir()} == {*suite_names()}
    assert {load_suite(name).name for name in suite_names()} == {*suite_names()}


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_every_source_has_as_many_trials_and_seeds_as_random_vectors(name: str, tmp_path: Path) -> None:
    places = {"data_path": tmp_path, "results": tmp_path, "artifacts": tmp_path}
    resolved, called = resolve_score(load_suite(name), {"lexical": "tfidf"}, None, "", fetch=False, **places)
    budgets: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for row in resolved.rows:
        budgets.setdefault((row.key.dataset, row.key.model), set()).add((len(row.trials), len(row.trials[0])))
        assert row.baseline == ("random" if row.key.variant == called and row.key.model != "NearestNeighbour" else None)
    assert called == "tfidf" and {len(budget) for budget in budgets.values()} == {1}
    trained = {budget for (_, model), (budget,) in budgets.items() if model != "NearestNeighbour"}
    assert trained == {{"quick": (2, 3), "standard": (6, 3), "full": (16, 3)}[name]}


@pytest.mark.parametrize(
    "changes",
    [{"grids": {"SASRec": {"initialisations": ["vectors"]}}}, {"models": {"Pop": {}}, "grids": {}, "search": {}}],
)
def test_a_suite_that_compares_no_recommender_with_random_vectors_is_refused_before_it_runs(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    places = {"data_path": tmp_path, "results": tmp_path, "artifacts": tmp_path}
    suite = load_suite(write(tmp_path, **changes))
    with pytest.raises(ConfigurationError, match="models: none is run both from 'tfidf' and from 'random'"):
        resolve_score(suite, {"lexical": "tfidf"}, None, "", fetch=False, **places)


def test_standard_is_sasrec_on_two_datasets_with_three_scales_and_two_dropouts() -> None:
    standard = load_suite("standard").content
    assert standard["datasets"] == ["Scientific", "Office"] and "SASRec" in standard["models"]
    assert [len(values) for values in standard["search"]["space"].values()] == [2, 3]


def test_quick_and_full_train_three_recommenders_and_ask_the_vectors_themselves() -> None:
    for name in ("quick", "full"):
        assert list(load_suite(name).content["models"]) == ["SASRec", "ESASRec", "GRU4Rec", "NearestNeighbour"]


def test_the_source_takes_the_place_of_vectors_under_its_name(tmp_path: Path) -> None:
    made = load_suite(write(tmp_path)).benchmark("words", {"lexical": "tfidf"}, results="here")
    assert made["initialisations"] == {
        "random": {},
        "words": {"lexical": "tfidf", "transform": ["center", {"width": 16}]},
    }
    assert made["grids"]["NearestNeighbour"]["initialisations"] == ["words"]
    assert made["results"] == "here" and "version" not in made


def test_random_vectors_are_scored_without_models_made_of_vectors(tmp_path: Path) -> None:
    made = load_suite(write(tmp_path)).benchmark("random", None)
    assert made["initialisations"] == {"random": {}} and list(made["models"]) == ["SASRec"] and made["grids"] == {}


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("random", {"lexical": "tfidf"}, "name: 'random' is an initialisation of the suite mine, version 3"),
        ("vectors", {"lexical": "tfidf"}, "name: 'vectors' is an initialisation"),
        ("x", {"lexical": "tfidf", "transform": ["l2"]}, "transform: the suite mine, version 3 says this"),
    ],
)
def test_what_the_suite_says_can_not_be_said_by_a_source(
    name: str, source: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_suite(write(tmp_path)).benchmark(name, source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "nothing"}, r"mine\.yaml: version: a suite needs a whole number.*got None"),
        ({"version": True}, "version: .*got True"),
        ({"version": 0}, "version: .*got 0"),
        ({"version": "1.2"}, "version: .*got '1.2'"),
        ({"name": "nothing"}, r"mine\.yaml: name: a suite needs a name"),
        ({"initialisations": {"random": {}}}, r"mine\.yaml: initialisations: a suite needs"),
        ({"initialisations": {"random": {"lexical": "tfidf"}, "vectors": {}}}, "initialisations: a suite needs"),
        ({"models": ["SASRec"]}, "models: a mapping"),
        ({"models": {5: {}}}, r"mine\.yaml: models: 5 is no name"),
        ({"models": {"SASRec": "abc"}}, r"mine\.yaml: models: SASRec: a mapping of keys to values; got 'abc'"),
        ({"initialisations": {"random": {}, "vectors": "minilm"}}, "initialisations: vectors: a mapping.*got 'minilm'"),
        ({"config": ["a"]}, r"mine\.yaml: config: a mapping; got \['a'\]"),
        ({"grids": ["a"]}, r"mine\.yaml: grids: a mapping; got \['a'\]"),
        ({"grids": {"SASRec": 3}}, r"mine\.yaml: grids: SASRec: a mapping of keys to values; got 3"),
        ({"protocols": 3}, r"mine\.yaml: protocols: a mapping; got 3"),
        ({"models": {"NearestNeighbour": {}}, "grids": {}}, r"mine\.yaml: models: a suite needs one that can begin"),
        ({"protocols": {"full": {}, "uni100": {}}}, "protocols: a suite has one"),
        ({"name": "standard"}, r"mine\.yaml: version 3 of the suite standard is unknown here.*has version 1"),
        ({"name": "standard", "version": 1}, r"mine\.yaml: not the suite standard, version 1 of this package"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_with_the_key(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_suite(write(tmp_path, **change))


@pytest.mark.parametrize("key", ["config", "grids", "protocols"])
def test_a_key_that_says_nothing_is_as_if_it_were_not_there(key: str, tmp_path: Path) -> None:
    empty, without = (load_suite(write(tmp_path, **{key: value})) for value in (None, "nothing"))
    assert (empty.sha256, empty.content) == (without.sha256, without.content)


@pytest.mark.parametrize("key", ["models", "grids"])
def test_a_model_without_keys_of_its_own_is_as_one_with_none(key: str, tmp_path: Path) -> None:
    made = load_suite(write(tmp_path, **{key: {**MINE[key], "SASRec": None}})).benchmark("words", {"lexical": "tfidf"})
    assert not made[key]["SASRec"] and "NearestNeighbour" in made[key]


@pytest.mark.parametrize("name", ["quik", "nowhere/mine.yaml"])
def test_a_suite_that_is_not_there_is_named_and_so_are_those_that_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"suite: {name}: no such file. Name one of quick, standard, full"):
        load_suite(name)


def test_a_copy_of_a_suite_is_that_suite_and_an_older_version_is_let_be(tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    copy.write_bytes((SUITES / "quick.yaml").read_bytes())
    assert load_suite(copy).sha256 == load_suite("quick").sha256
    refuse_unknown("quick", 0, "another hash", "x.json")
    refuse_unknown("mine", 99, "another hash", "x.json")


def test_what_decides_no_result_is_not_in_the_hash(tmp_path: Path) -> None:
    plain = load_suite(write(tmp_path)).sha256
    assert load_suite(write(tmp_path, parallel_runs=7, note="a word", data_path="elsewhere")).sha256 == plain
    assert load_suite(write(tmp_path, seeds=[1, 2, 3])).sha256 != plain
