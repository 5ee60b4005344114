"""What a benchmark file and its overrides may say, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.errors import ConfigurationError
from recbole_ext.run.benchmark import Benchmark
from recbole_ext.run.benchmark_file import EMBEDDED, load_benchmark, parse_overrides
from recbole_ext.run.spec import expand


@pytest.fixture
def load(described: Callable[..., Path], tmp_path: Path) -> Callable[..., Benchmark]:
    """``load(*overrides, **keys)``: the benchmark of a file with these keys."""

    def load(*overrides: str, **keys: Any) -> Benchmark:
        return load_benchmark(described(tmp_path, **keys), parse_overrides(list(overrides)))

    return load


def first_config(benchmark: Benchmark) -> dict[str, Any]:
    return next(expand(benchmark, "")).config


# --- files ---


def test_a_missing_file_is_named_with_what_there_is_instead(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"nothing\.yaml: no such benchmark file.*comparison\.yaml, embedded\.yaml"
    ):
        load_benchmark(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"- a list", b""])
def test_a_file_that_is_no_yaml_mapping_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"b\.yaml: (not YAML|a benchmark is a mapping)"):
        load_benchmark(tmp_path / "b.yaml")


PRESETS = {
    EMBEDDED.name: ({"SASRec", "BERT4Rec"}, {"minilm"}),
    "comparison.yaml": ({"SASRec", "RECFORMER"}, {"vanilla", "pretrain", "finetune"}),
    "comparison-bert4rec.yaml": ({"BERT4Rec"}, {"vanilla", "pretrain", "finetune"}),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_by_name(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark = load_benchmark(Path(preset))
    models, initialisations = PRESETS[preset]
    assert set(benchmark.models) == models
    assert {name for name, init in benchmark.initialisations.items() if not init.is_random} == initialisations
    assert benchmark.initialisations["none"].is_random


@pytest.mark.parametrize(
    "preset", ["comparison-models.yaml", "comparison-baselines.yaml", "comparison-initialisations.yaml"]
)
def test_presets_after_papers_go_into_the_same_table_with_the_same_budget(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own, table = load_benchmark(Path(preset)), load_benchmark(Path("comparison.yaml"))
    for key in ("name", "datasets", "seeds", "config"):
        assert getattr(own, key) == getattr(table, key)
    budgets = {
        len(benchmark.candidates(model, init))
        for benchmark in (own, table)
        for model in benchmark.models
        for init in benchmark.initialisations_of(model)
        if model != "RECFORMER"  # one run of it costs as much as the rest of the table
    }
    assert budgets == {2}


def test_a_file_of_the_users_own_goes_before_a_preset_of_that_name(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(tmp_path).rename(tmp_path / "embedded.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_benchmark(Path("embedded.yaml")).name == "trial"


# --- mistakes ---

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"dataset": ["tiny"]}, r"dataset: unknown key\. Did you mean 'datasets'\?"),
    ({"initialisations": {"a": {"encodr": "x"}}}, r"initialisations\.a\.encodr: unknown key\. Did you mean 'encoder'"),
    ({"initialisations": {"a": {"encoder": "x", "store": "y"}}}, "initialisations.a: give one of 'encoder', 'store'"),
    ({"models": ["SASRek"]}, r"no model 'SASRek'\. Did you mean SASRec\?"),
    ({"models": ["xyz"]}, r"no model 'xyz'\. They have .*SASRec"),
    ({"models": ["../overall"]}, r"models: '\.\./overall' can't be part of a file name"),
    ({"models": [{"SASRec": {}}]}, "models: Input should be a valid dictionary"),
    ({"config": {"lerning_rate": 1}}, r"config: no key 'lerning_rate'.* Did you mean 'learning_rate'\?"),
    ({"models": {"SASRec": {"hiden_size": 1}}}, r"models\.SASRec: no key 'hiden_size'.*'hidden_size'"),
    ({"protocols": {"p": {"eval_arg": {}}}}, r"protocols\.p: no key 'eval_arg'.*'eval_args'"),
    ({"search": [{"hidden_dropout": 0.1}]}, r"search: no key 'hidden_dropout'.*'hidden_dropout_prob'"),
    ({"initialisations": {"a": {"search": [{"dropout": 1}]}}}, "search: no key 'dropout'"),
    ({"config": {"eval_args": "full"}}, r"config: eval_args is a mapping.*got 'full'"),
    ({"config": {"seed": 7}}, "config: 'seed' is not set here but by `seeds`"),
    ({"config": {"item_embedding_mode": "frozen"}}, r"'item_embedding_mode'.*`initialisations\.NAME\.mode`"),
    ({"search": [{"item_embedding": "x"}]}, r"'item_embedding'.*`initialisations\.NAME\.store`"),
    ({"datasets": []}, "datasets, models, initialisations, protocols and seeds each need an entry"),
    ({"seeds": []}, "each need an entry"),
    ({"search": []}, "search: List should have at least 1 item"),
    ({"name": ".."}, r"name: '\.\.' can't be part of a file name"),
    ({"initialisations": {"a/b": {}}}, "initialisations: 'a/b' can't be part"),
    ({"parallel_runs": 0}, "parallel_runs: Input should be greater than or equal to 1"),
    ({"seeds": 3}, "seeds: Input should be a valid list"),
]


@pytest.mark.parametrize(("keys", "message"), MISTAKES, ids=[str(keys) for keys, _ in MISTAKES])
def test_a_mistake_is_told_by_file_and_key(load: Callable[..., Benchmark], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(**keys)


def test_unequal_search_budgets_are_refused(load: Callable[..., Benchmark]) -> None:
    searches = {"none": {"search": [{}]}, "other": {"store": "x", "search": [{}, {"hidden_dropout_prob": 0.1}]}}
    with pytest.raises(ConfigurationError, match="same number of search points.*'none': 1.*'other': 2"):
        load(initialisations=searches)


# --- meaning ---


def test_candidates_are_the_shared_points_crossed_with_the_initialisations_own(load: Callable[..., Benchmark]) -> None:
    shared = [{"hidden_dropout_prob": 0.1}, {"hidden_dropout_prob": 0.2}]
    own = [{"initializer_range": 0.1}, {"hidden_dropout_prob": 0.9}]
    assert load(search=shared, initialisations={"a": {"search": own}}).candidates("SASRec", "a") == [
        {"hidden_dropout_prob": 0.1, "initializer_range": 0.1},
        {"hidden_dropout_prob": 0.9},
        {"hidden_dropout_prob": 0.2, "initializer_range": 0.1},
        {"hidden_dropout_prob": 0.9},
    ]


def test_names_alone_and_empty_entries_mean_no_keys(load: Callable[..., Benchmark]) -> None:
    benchmark = load(models=["SASRec", "GRU4Rec"], initialisations={"none": None})
    assert benchmark.models == {"SASRec": {}, "GRU4Rec": {}}
    assert benchmark.initialisations["none"].is_random


# --- overrides ---


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--epochs=3", {"epochs": 3}),
        ("--learning_rate=1e-4", {"learning_rate": 1e-4}),
        ("--topk=[1, 5]", {"topk": [1, 5]}),
        ("--eval_args={mode: uni100, order: TO}", {"eval_args": {"mode": "uni100", "order": "TO"}}),
        ("--results=a=b", {"results": "a=b"}),
        ("--train_neg_sample_args=", {"train_neg_sample_args": None}),
        ("--use_gpu=False", {"use_gpu": False}),
    ],
)
def test_override_values_are_read_as_yaml(argument: str, expected: dict[str, Any]) -> None:
    assert parse_overrides([argument]) == expected


@pytest.mark.parametrize("argument", ["--epochs", "epochs=3", "--=3", "epochs"])
def test_an_override_of_another_form_is_shown_the_right_one(argument: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument}: overrides are written --key=value"):
        parse_overrides([argument])


def test_an_override_value_that_is_no_yaml_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"--topk=\[1: the value can't be read"):
        parse_overrides(["--topk=[1"])


def test_an_override_of_an_unknown_key_is_refused_with_a_suggestion(load: Callable[..., Benchmark]) -> None:
    with pytest.raises(ConfigurationError, match="--override: no key 'epoch'.*'epochs'"):
        load("--epoch=3")


def test_what_is_frozen_can_be_said_wherever_a_recbole_key_can(load: Callable[..., Benchmark]) -> None:
    waiting = {"encoder": "minilm", "search": [{"item_embedding_frozen_epochs": 3}]}
    benchmark = load("--frozen_blocks=1", initialisations={"waiting": waiting})
    config = first_config(benchmark)
    assert (config["item_embedding_frozen_epochs"], config["frozen_blocks"]) == (3, 1)


def test_an_override_of_a_benchmark_key_replaces_it(load: Callable[..., Benchmark]) -> None:
    benchmark = load("--seeds=[5, 6]", "--models=[GRU4Rec]", "--results=elsewhere")
    assert (benchmark.seeds, benchmark.models, benchmark.results) == ([5, 6], {"GRU4Rec": {}}, Path("elsewhere"))


PARTS: dict[str, Any] = {
    "models": {"SASRec": {"n_layers": 1}, "RECFORMER": {"stage_one_epochs": 1}},
    "initialisations": {
        "none": {},
        "vanilla": {"encoder": "minilm"},
        "pretrain": {"encoder": "minilm", "mode": "frozen"},
    },
    "only": {"RECFORMER": {"initialisations": ["pretrain"]}},
    "protocols": {"full": {}, "sampled": {"eval_args": {"mode": "uni5"}}},
}


def test_a_list_of_names_keeps_those_of_the_file_as_they_are(load: Callable[..., Benchmark]) -> None:
    benchmark = load("--models=[SASRec]", "--initialisations=[pretrain]", "--protocols=[sampled]", **PARTS)
    assert benchmark.models == {"SASRec": PARTS["models"]["SASRec"]}
    assert (benchmark.only, list(benchmark.protocols)) == ({}, ["sampled"])
    (spec,) = expand(benchmark, "")
    assert (spec.init, spec.mode, spec.config["n_layers"]) == ("pretrain", "frozen", 1)
    assert spec.config["eval_args"]["mode"] == "uni5"


def test_a_model_of_which_no_initialisation_is_kept_is_left_out(load: Callable[..., Benchmark]) -> None:
    benchmark = load("--initialisations=[none, vanilla]", **PARTS)
    assert (list(benchmark.models), benchmark.only) == (["SASRec"], {})
    assert list(load("--initialisations=[none, pretrain]", **PARTS).models) == ["SASRec", "RECFORMER"]


def test_a_part_keeps_a_search_that_names_keys_of_models_left_out(load: Callable[..., Benchmark]) -> None:
    search = [{"hidden_dropout_prob": 0.5, "dropout_prob": 0.5}, {"hidden_dropout_prob": 0.2, "dropout_prob": 0.2}]
    for model in ("SASRec", "GRU4Rec"):
        benchmark = load(f"--models=[{model}]", models={"SASRec": {}, "GRU4Rec": {}}, search=search)
        assert list(benchmark.models) == [model] and benchmark.search == search


def test_a_name_to_keep_that_the_file_lacks_is_an_error_with_those_it_has(load: Callable[..., Benchmark]) -> None:
    with pytest.raises(ConfigurationError, match="--initialisations: .*has no 'vanila', but none, vanilla, pretrain"):
        load("--initialisations=[vanila]", **PARTS)


def test_only_stores_that_some_run_starts_from_are_in_use(load: Callable[..., Benchmark]) -> None:
    everywhere = {**PARTS, "only": {"SASRec": {"initialisations": ["none"]}, **PARTS["only"]}}
    assert list(load(**everywhere).initialisations_in_use) == ["none", "pretrain"]


@pytest.mark.parametrize(
    "layer",
    [
        {"config": {"hidden_dropout_prob": 0.1}},
        {"models": {"SASRec": {"hidden_dropout_prob": 0.1}}},
        {"search": [{"hidden_dropout_prob": 0.1}]},
        {"initialisations": {"none": {"search": [{"hidden_dropout_prob": 0.1}]}}},
        {"protocols": {"full": {"hidden_dropout_prob": 0.1}}},
    ],
    ids=lambda layer: next(iter(layer)),
)
def test_an_override_goes_above_every_layer_of_the_file(load: Callable[..., Benchmark], layer: dict[str, Any]) -> None:
    assert first_config(load(**layer))["hidden_dropout_prob"] == 0.1
    assert first_config(load("--hidden_dropout_prob=0.7", **layer))["hidden_dropout_prob"] == 0.7


def test_an_override_of_one_part_of_eval_args_keeps_the_others(load: Callable[..., Benchmark]) -> None:
    sampled = {"sampled": {"eval_args": {"mode": "uni5"}}}
    whole = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}
    assert first_config(load())["eval_args"] == whole
    assert first_config(load("--eval_args={mode: uni9}"))["eval_args"] == {**whole, "mode": "uni9"}
    config = first_config(load("--eval_args={group_by: none}", protocols=sampled))
    assert config["eval_args"] == {**whole, "mode": "uni5", "group_by": "none"}


def test_an_override_of_the_hook_reaches_the_initialisations_with_a_store(load: Callable[..., Benchmark]) -> None:
    benchmark = load("--item_embedding_mode=frozen", initialisations={"none": {}, "vectors": {"store": "x"}})
    random, vectors = expand(benchmark, "")
    assert "item_embedding_mode" not in random.config
    assert (vectors.mode, vectors.config["item_embedding_mode"]) == ("frozen", "frozen")


@pytest.mark.parametrize("argument", ["--seed=3", "--item_embedding=x", "--checkpoint_dir=x"])
def test_an_override_that_would_be_ignored_is_refused(load: Callable[..., Benchmark], argument: str) -> None:
    with pytest.raises(ConfigurationError, match="is not set here but by"):
        load(argument)


def test_what_is_run_goes_to_a_folder_that_git_ignores() -> None:
    assert Benchmark.model_fields["results"].default == Path("runs")
    ignored = (Path(__file__).resolve().parents[2] / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/runs/", "artifacts/"} <= set(ignored)
