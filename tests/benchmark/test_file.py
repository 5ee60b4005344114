"""What a benchmark file may say, what it includes, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_ext.benchmark import EMBEDDED, PRESETS, Benchmark, load_benchmark, parse_overrides, resolve
from recbole_ext.benchmark.file import read_benchmark
from recbole_ext.errors import ConfigurationError

Load = Callable[..., tuple[Benchmark, dict[str, Any]]]


@pytest.fixture
def load(described: Callable[..., Path], tmp_path: Path) -> Load:
    """``load(*overrides, **keys)``: the benchmark of a file with these keys, and the overrides that are RecBole's."""

    def load(*overrides: str, **keys: Any) -> tuple[Benchmark, dict[str, Any]]:
        return load_benchmark(described(tmp_path, **keys), parse_overrides(list(overrides)))

    return load


# --- files ---


def test_a_missing_file_is_named_with_what_there_is_instead(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml: no such benchmark file.*embedded\.yaml"):
        load_benchmark(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"- a list", b""])
def test_a_file_that_is_no_yaml_mapping_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"b\.yaml"):
        load_benchmark(tmp_path / "b.yaml")


@pytest.mark.parametrize("preset", sorted(path.name for path in PRESETS.glob("*.yaml")))
def test_presets_load_by_name_wherever_one_is(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    benchmark, _ = load_benchmark(Path(preset))
    assert benchmark.name == Path(preset).stem
    assert any(not entry.keys() - {"scale", "config"} for entry in benchmark.initialisations.values()), "a baseline"


def test_a_file_of_the_users_own_goes_before_a_preset_of_that_name(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(tmp_path).rename(tmp_path / "embedded.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_benchmark(Path("embedded.yaml"))[0].name == "trial"


def test_a_benchmark_is_meant_by_path_preset_mapping_or_nothing(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = described(tmp_path)
    assert read_benchmark(path, {"epochs": 3}) == ("benchmark.yaml", load_benchmark(path)[0], {"epochs": 3})
    assert read_benchmark("paper.yaml")[1] == load_benchmark(PRESETS / "paper.yaml")[0]
    assert read_benchmark(None)[:2] == (EMBEDDED.name, load_benchmark(EMBEDDED)[0])
    where, benchmark, keys = read_benchmark({"name": "above", "include": "benchmark.yaml"}, {"seeds": [7]})
    assert (where, benchmark.name, benchmark.seeds, keys) == ("benchmark", "above", [7], {})
    with pytest.raises(ConfigurationError, match="^benchmark: include: a list of benchmark files"):
        read_benchmark({"name": "above", "include": 3})


# --- include ---


def write(path: Path, **content: Any) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


PARTS: dict[str, Any] = {
    "name": "below",
    "datasets": ["tiny"],
    "models": {"SASRec": {"n_layers": 1}},
    "initialisations": {"random": {}},
    "config": {"epochs": 2, "topk": [5]},
    "search": {"space": {"learning_rate": [0.1, 0.2]}},
}


def test_entries_of_an_included_file_stay_and_those_of_the_file_go_above_them(tmp_path: Path) -> None:
    write(tmp_path / "below.yaml", **PARTS)
    own = {"models": {"GRU4Rec": {}}, "config": {"epochs": 9}, "search": {}, "datasets": ["other"]}
    benchmark, _ = load_benchmark(write(tmp_path / "above.yaml", name="above", include="below.yaml", **own))
    assert benchmark.name == "above"
    assert benchmark.models == {"SASRec": {"n_layers": 1}, "GRU4Rec": {}}
    assert benchmark.config == {"epochs": 9, "topk": [5]}
    assert benchmark.datasets == ["other"] and benchmark.search.space == {}


def test_a_later_included_file_goes_above_an_earlier_one(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", **PARTS)
    write(tmp_path / "b.yaml", config={"epochs": 7}, seeds=[1, 2])
    benchmark, _ = load_benchmark(write(tmp_path / "c.yaml", name="c", include=["a.yaml", "b.yaml"]))
    assert (benchmark.config["epochs"], benchmark.seeds) == (7, [1, 2])


def test_included_files_are_found_beside_the_file_and_among_the_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(tmp_path / "below.yaml", include="embedded.yaml", config={"epochs": 1})
    benchmark, _ = load_benchmark(write(tmp_path / "above.yaml", name="above", include="below.yaml"))
    assert benchmark.config["epochs"] == 1 and "minilm" in benchmark.initialisations


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("above.yaml", "include: the files include each other"),
        ("nowhere.yaml", "nowhere.yaml: no such benchmark file"),
        ({"a": 1}, r"include: a list of benchmark files; got \{'a': 1\}"),
        ([3], "include: a list of benchmark files"),
    ],
)
def test_what_can_not_be_included_is_named(tmp_path: Path, include: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_benchmark(write(tmp_path / "above.yaml", **{**PARTS, "include": include}))


# --- mistakes ---

MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"epoch": 3},
        r"benchmark\.yaml: epoch: unknown key\. RecBole's keys stand below config: `config: \{epoch: …\}`\..* include",
    ),
    (
        {"search": {"learning_rate": [0.1]}},
        r"search\.learning_rate: unknown key\. What is searched over stands below space: `space: \{learning_rate: \[",
    ),
    ({"dataset": ["tiny"]}, r"benchmark\.yaml: dataset: unknown key\. Did you mean 'datasets'\?"),
    ({"models": ["../overall"]}, r"models: '\.\./overall' can't be part of a file name"),
    ({"models": [{"SASRec": {}}]}, "models: a mapping is needed; got"),
    ({"models": {}}, "models: at least 1 entry is needed"),
    ({"datasets": []}, "datasets: at least 1 entry is needed"),
    ({"datasets": ["tiny", "tiny"]}, "datasets: .*names something twice"),
    ({"seeds": []}, "seeds: at least 1 entry is needed"),
    ({"seeds": 3}, r"seeds: a list is needed, such as \[3\]; got 3"),
    ({"seeds": [1, 1]}, "seeds: .*names something twice"),
    ({"models": ["SASRec", "SASRec"]}, "models: .*names something twice"),
    ({"initialisations": {"_x": {}}}, "initialisations: '_x' can't be part of a file name.*begin with a letter"),
    ({"name": ".."}, r"name: '\.\.' can't be part of a file name"),
    ({"initialisations": {"a/b": {}}}, "initialisations: 'a/b' can't be part"),
    ({"initialisations": {"a": 3}}, r"initialisations\.a: a mapping is needed; got 3"),
    ({"parallel_runs": 0}, "parallel_runs: at least 1 is needed; got 0"),
    ({"search": [{}]}, "search: a mapping is needed"),
    ({"search": {"spaces": {}}}, r"search\.spaces: unknown key\. Did you mean 'space'\?"),
    ({"search": {"space": {"epochs": []}}}, "search.space: epochs: name at least one value"),
    ({"grids": {"BPR": {}}}, "grids: 'BPR' is not among the models"),
    ({"grids": {"SASRec": {"seed": [1]}}}, r"grids\.SASRec\.seed: unknown key\. Did you mean 'seeds'\?"),
    ({"grids": {"SASRec": {"datasets": ["x"]}}}, r"grids\.SASRec\.datasets: 'x' is not among the benchmark's datasets"),
    ({"seeds": [1, 2], "grids": {"SASRec": {"seeds": [2]}}}, "grids.SASRec.seeds: they begin with 1"),
    ({"published": [{"dataset": "tiny"}]}, r"published\.0\.model: is missing"),
    ({"executor": "slurm"}, "executor: one of local or ray is needed; got 'slurm'"),
]


@pytest.mark.parametrize(("keys", "message"), MISTAKES, ids=[str(keys) for keys, _ in MISTAKES])
def test_a_mistake_is_told_by_file_and_key(load: Load, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(**keys)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"b\.yaml: models: is missing"):
        load_benchmark(write(tmp_path / "b.yaml", name="b", datasets=["tiny"]))


# --- meaning ---


def test_without_initialisations_random_vectors_are_meant(described: Callable[..., Path], tmp_path: Path) -> None:
    content = yaml.safe_load(described(tmp_path, models={"Pop": {}}).read_text(encoding="utf-8"))
    del content["initialisations"]
    benchmark, _ = load_benchmark(write(tmp_path / "b.yaml", **content))
    assert benchmark.initialisations == {"random": {}}
    specs = resolve(benchmark, {}, "the command", "b.yaml").specs()
    assert [spec.name.split("-")[:3] for spec in specs] == [["tiny", "Pop", "random"]]


def test_names_alone_and_empty_entries_mean_no_keys(load: Load) -> None:
    benchmark, _ = load(models=["SASRec", "GRU4Rec"], initialisations={"random": None})
    assert benchmark.models == {"SASRec": {}, "GRU4Rec": {}}
    assert benchmark.initialisations == {"random": {}}


def test_a_single_name_is_a_list_of_one(load: Load) -> None:
    benchmark, _ = load(datasets="tiny", models="SASRec", initialisations="random", protocols="full")
    listed, _ = load(datasets=["tiny"], models=["SASRec"], initialisations=["random"], protocols=["full"])
    assert benchmark == listed


def test_a_class_of_the_users_own_is_named_by_its_path(load: Load) -> None:
    benchmark, _ = load(models={"my_package.models.MySASRec": {"n_layers": 1}})
    assert list(benchmark.models) == ["my_package.models.MySASRec"]


# --- overrides ---


def test_an_override_of_a_benchmark_key_replaces_it_and_others_are_recboles(load: Load) -> None:
    benchmark, others = load("--seeds=[5, 6]", "--results=elsewhere", "--epochs=3")
    assert (benchmark.seeds, benchmark.results) == ([5, 6], Path("elsewhere"))
    assert others == {"epochs": 3}


@pytest.mark.parametrize(
    ("argument", "message"), [("--seeds=3", "seeds: a list is needed"), ("--parallel_runs=0", "at least 1")]
)
def test_an_override_is_checked_like_the_file(load: Load, argument: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(argument)


GRID: dict[str, Any] = {
    "models": {"SASRec": {"n_layers": 1}, "RECFORMER": {"stage_one_epochs": 1}},
    "initialisations": {
        "random": {},
        "vanilla": {"encoder": "minilm"},
        "pretrain": {"encoder": "minilm", "mode": "frozen"},
        "shuffled": {"shuffled": "vanilla"},
    },
    "grids": {"RECFORMER": {"initialisations": ["pretrain"]}},
    "protocols": {"full": {}, "sampled": {"eval_args": {"mode": "uni5"}}},
}


def test_a_list_of_names_keeps_those_of_the_file_as_they_are(load: Load) -> None:
    benchmark, _ = load("--models=[SASRec]", "--initialisations=[pretrain]", "--protocols=[sampled]", **GRID)
    assert benchmark.models == {"SASRec": {"n_layers": 1}}
    assert benchmark.protocols == {"sampled": {"eval_args": {"mode": "uni5"}}}
    assert benchmark.part("SASRec", "initialisations") == ["pretrain"]


def test_a_single_name_keeps_that_of_the_file_as_it_is(load: Load) -> None:
    listed = load("--models=[SASRec]", "--initialisations=[pretrain]", "--protocols=[sampled]", **GRID)
    assert load("--models=SASRec", "--initialisations=pretrain", "--protocols=sampled", **GRID) == listed
    assert load("--datasets=other", **GRID)[0].datasets == ["other"]


def test_what_an_initialisation_is_made_of_stays_and_is_not_run(load: Load) -> None:
    benchmark, _ = load("--models=[SASRec]", "--initialisations=[random,shuffled]", **GRID)
    assert benchmark.part("SASRec", "initialisations") == ["random", "shuffled"]
    assert "vanilla" in benchmark.initialisations


def test_a_model_of_which_no_initialisation_is_kept_is_left_out(load: Load) -> None:
    assert list(load("--initialisations=[random,vanilla]", **GRID)[0].models) == ["SASRec"]
    assert list(load("--initialisations=[random,pretrain]", **GRID)[0].models) == ["SASRec", "RECFORMER"]
    with pytest.raises(ConfigurationError, match="nothing is left of the benchmark"):
        load("--models=[RECFORMER]", "--initialisations=[random]", **GRID)


def test_numbers_of_models_that_are_left_out_are_left_out_and_those_of_others_stay(load: Load) -> None:
    about = {"dataset": "tiny", "protocol": "full", "metrics": {"ndcg@10": 0.1}, "source": "a paper"}
    published = [{**about, "model": model} for model in ("SASRec", "RECFORMER", "S3-Rec")]
    benchmark, _ = load("--models=[SASRec]", **{**GRID, "published": published})
    assert [row.model for row in benchmark.published] == ["SASRec", "S3-Rec"]


def test_a_part_of_the_seeds_keeps_the_grids_that_have_them(load: Load) -> None:
    keys = {**GRID, "seeds": [1, 2], "grids": {"RECFORMER": {"initialisations": ["pretrain"], "seeds": [1]}}}
    benchmark, _ = load("--seeds=[1]", **keys)
    assert (benchmark.part("SASRec", "seeds"), benchmark.part("RECFORMER", "seeds")) == ([1], [1])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--initialisations=[vanila]", "--initialisations: .*has no 'vanila', but random, vanilla, pretrain"),
        ("--protocols=[uni]", "--protocols: .*has no 'uni', but full, sampled"),
        ("--models=[SASRec,SASRec]", r"--models: \['SASRec', 'SASRec'\] names something twice"),
    ],
)
def test_a_name_to_keep_that_the_file_lacks_or_that_stands_twice_is_an_error(
    load: Load, argument: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(argument, **GRID)


def test_a_users_model_is_kept_by_its_path_and_a_class_alone_is_told_it(load: Load) -> None:
    content = {**GRID, "models": {**GRID["models"], "my_models.CosSASRec": {}}}
    assert list(load("--models=[my_models.CosSASRec]", **content)[0].models) == ["my_models.CosSASRec"]
    with pytest.raises(ConfigurationError, match="has CosSASRec by its path; write my_models.CosSASRec"):
        load("--models=[CosSASRec]", **content)


def test_a_model_that_the_file_lacks_is_run_with_its_defaults(load: Load) -> None:
    benchmark, _ = load("--models=[GRU4Rec]", **GRID)
    assert benchmark.models == {"GRU4Rec": {}} and benchmark.grids == {}
