"""The plan: every step in order, what is missing and how to get it, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved, RunSpec, load_benchmark, parse_overrides, resolve
from recbole_ext.benchmark.plan import (
    Step,
    plan,
    plan_lines,
    what_will_be_done,
)
from recbole_ext.encoders.source import _hub_encoder
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.runs.grid import run_benchmark

Resolve = Callable[..., Resolved]

CHECKOUT = Path(__file__).parents[2]


def nothing_is_done(spec: RunSpec) -> bool:
    return False


def named(steps: list[Step]) -> dict[str, Step]:
    return {f"{step.kind} {step.what}".strip(): step for step in steps}


# --- steps ---


def test_the_steps_come_in_the_order_of_the_road(resolved: Resolve, tiny_encoders: dict[str, Path]) -> None:
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    found = resolved(
        initialisations={"random": {}, "bert": bert}, protocols={"full": {}, "uni5": {"eval_args": {"mode": "uni5"}}}
    )
    assert list(named(plan(found, nothing_is_done))) == [
        "data tiny",
        "store tiny",
        "run tiny SASRec random full",
        "run tiny SASRec bert full",
        "run tiny SASRec random uni5",
        "run tiny SASRec bert uni5",
        "report",
    ]


def test_what_vectors_are_made_of_is_made_before_them(resolved: Resolve, tiny_encoders: dict[str, Path]) -> None:
    """A tuned encoder, its vectors, and their control; RECFORMER reads with the same encoder, so it is tuned once."""
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    tuned = {**bert, "tune": {"sources": ["tiny"], "objective": "pairs"}}
    found = resolved(
        models={"SASRec": {"hidden_size": 16}, "RECFORMER": {}},
        initialisations={"random": {}, "shuffled": {"shuffled": "tuned", "transform": [{"pca": 16}]}, "tuned": tuned},
        grids={"RECFORMER": {"initialisations": ["tuned"]}},
    )
    steps = plan(found, nothing_is_done)
    assert [step.kind for step in steps] == ["data", "tune", "store", "store", "run", "run", "run", "run", "report"]
    assert [step.inputs.partition(" ")[0] for step in steps[2:4]] == ["encoder", "shuffled"]
    assert all(step.estimate is not None for step in steps if step.kind != "data")


def test_vectors_can_not_be_made_of_what_a_run_of_this_benchmark_exports(
    resolved: Resolve, tiny_encoders: dict[str, Path]
) -> None:
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    with pytest.raises(ConfigurationError, match="finetune: what RECFORMER exports is there only once"):
        resolved(
            models={"SASRec": {"hidden_size": 16}, "RECFORMER": {}},
            initialisations={
                "bert": bert,
                "fine": {"finetune": "bert", "transform": [{"pca": 16}]},
                "shuffled": {"shuffled": "fine"},
            },
            grids={"RECFORMER": {"initialisations": ["bert"]}},
        )


def test_runs_to_do_are_the_search_and_the_other_seeds_less_those_done(resolved: Resolve) -> None:
    found = resolved(search={"space": {"hidden_dropout_prob": [0.1, 0.5]}}, seeds=[1, 2, 3])

    def left(done: list[RunSpec]) -> int:
        return named(plan(found, lambda spec: spec in done))["run tiny SASRec random full"].times

    (row,) = found.rows
    assert left([]) == 2 + 2
    assert left([row.trials[0][0]]) == 3
    assert left([row.trials[0][0], row.trials[1][0], row.trials[1][1]]) == 1
    assert left([*row.trials[0], *row.trials[1]]) == 0


def test_what_is_missing_is_named_with_the_way_to_it(
    described: Callable[..., Path], hub: dict[str, Any], tmp_path: Path
) -> None:
    hub["org/model"] = "abc123"
    made_by = "recbole-ext tune {dataset} --out artifacts/tuned/x"
    path = described(
        tmp_path,
        datasets=["nowhere", "ml-1m"],
        initialisations={
            "hub": {"encoder": "org/model"},
            "unknown": {"encoder": "nobody/has-this-model"},
            "misspelt": {"encoder": "minlm"},
            "tuned": {"encoder": "artifacts/tuned/x", "made_by": made_by},
            "given": {"store": "stores/{dataset}/given"},
        },
    )
    found = resolve(*load_benchmark(path), "the command", path.name, fetch=False)
    text = "\n".join(plan_lines(found, nothing_is_done))
    for line in (
        "nowhere/nowhere.inter: no such file. Make it with `recbole-ext convert",
        "encoder org/model: not on this machine; it is downloaded from Hugging Face first",
        "encoder 'nobody/has-this-model': no folder and no public Hugging Face model has this name",
        "encoder 'minlm': no folder has this name",
        "Did you mean 'minilm'",
        "encoder artifacts/tuned/x: recbole-ext tune nowhere --out artifacts/tuned/x",
        "ml-1m/ml-1m.inter: no such file; `run` downloads it from https://",
        "stores/ml-1m/given: no such ",
    ):
        assert line in text
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("preset", "protocol"), [("paper.yaml", "full"), ("paper-sampled.yaml", "uni100")])
def test_the_paper_s_table_is_planned_without_its_data(
    preset: str, protocol: str, hub: dict[str, Any], tmp_path: Path
) -> None:
    hub["allenai/longformer-base-4096"] = "abc123"
    places = [f"--results={tmp_path}", f"--data_path={tmp_path}", f"--dataset_configs={CHECKOUT / 'dataset_configs'}"]
    benchmark, others = load_benchmark(Path(preset), parse_overrides(places))
    found = resolve(benchmark, others, "the command", preset, fetch=False)
    steps = named(plan(found, nothing_is_done))
    for dataset in ("Arts", "Instruments", "Pantry", "Sports", "Movies"):
        for model in ("SASRec", "BERT4Rec"):
            for variant in ("random", "longformer", "pretrain", "finetune"):
                step = steps[f"run {dataset} {model} {variant} {protocol}"]
                assert step.times == 2 and step.estimate is not None and step.estimate.operations > 1e12
        assert any(f"{dataset}.inter" in line for line in found.missing)
        assert sum(step.kind == "store" and step.what == dataset for step in plan(found, nothing_is_done)) == 2
    assert steps["tune allenai/longformer-base-4096, recformer, seed 42"].estimate is not None
    needed = (
        "amazon-automotive-18, a source domain: not on this",
        "encoder allenai/longformer-base-4096: not on this machine",
    )
    for words in needed:
        assert sum(words in line for line in found.missing) == 1


def test_an_encoder_of_hugging_face_is_downloaded_by_a_run_and_listed_by_a_plan(
    resolved: Resolve, hub: dict[str, Any]
) -> None:
    hub["org/model"] = "abc123"
    keys: dict[str, Any] = {"initialisations": {"hub": {"encoder": "org/model", "transform": [{"pca": 16}]}}}
    run, planned = resolved(**keys), resolved(**keys, fetch=False)
    assert run.missing == () and len(run.stores) == 1
    assert planned.missing == ("encoder org/model: not on this machine; it is downloaded from Hugging Face first",)
    assert planned.stores[0].path == run.stores[0].path
    hub["org/model"] = None
    _hub_encoder.cache_clear()
    with pytest.raises(EncoderError, match="'org/model': no folder and no public Hugging Face model"):
        resolved(**keys)


def test_files_on_this_machine_are_not_called_missing_whatever_says_what_they_are(
    resolved: Resolve, hub: dict[str, Any], tmp_path: Path
) -> None:
    for place, content in (("file.gguf", "one"), ("folder/one.gguf", "another"), ("modules/modules.json", "[]")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(content)
    named = {name: {"encoder": str(tmp_path / name), "mode": "adapter"} for name in ("file.gguf", "folder", "modules")}
    for fetch in (True, False):
        found = resolved(initialisations=named, fetch=fetch)
        assert found.missing == () and len(found.stores) == 3
    assert hub["asked"] == []


def test_an_encoder_with_a_command_that_makes_it_is_refused_with_it_and_not_looked_for_elsewhere(
    resolved: Resolve, hub: dict[str, Any]
) -> None:
    with pytest.raises(EncoderError, match=r"encoder tuned/x: recbole-ext tune tiny"):
        resolved(initialisations={"tuned": {"encoder": "tuned/x", "made_by": "recbole-ext tune {dataset}"}})
    assert hub["asked"] == []


def test_a_source_domain_without_interactions_is_refused_before_anything_is_computed(
    resolved: Resolve, own_data: Path, tiny_encoders: dict[str, Path]
) -> None:
    (own_data / "other").mkdir()
    (own_data / "other" / "other.item").write_bytes((own_data / "tiny" / "tiny.item").read_bytes())
    tune = {"objective": "pairs", "sources": ["other"]}
    tuned = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}], "tune": tune}
    found = resolved(data_path=str(own_data), initialisations={"tuned": tuned})
    with pytest.raises(ConfigurationError, match=r"not on this machine:\n  - .*other\.inter: no such file"):
        run_benchmark(found)


def of(steps: list[Step], kind: str) -> list[int]:
    return [step.times for step in steps if step.kind == kind]


def test_only_what_a_run_that_is_left_starts_from_is_to_be_made(
    resolved: Resolve, tiny_encoders: dict[str, Path], store_of: Callable[..., Path]
) -> None:
    tuned = {"encoder": str(tiny_encoders["bert"]), "tune": {"sources": ["tiny"], "objective": "pairs"}}
    pca: dict[str, Any] = {"transform": [{"pca": 16}]}
    found = resolved(
        initialisations={"random": {}, "tuned": {**tuned, **pca}, "shuffled": {"shuffled": "tuned", **pca}}
    )

    def left(*variants: str) -> tuple[list[int], list[int]]:
        steps = plan(found, lambda spec: spec.variant not in variants)
        return of(steps, "tune"), of(steps, "store")

    assert left("random", "tuned", "shuffled") == left("shuffled") == ([1], [1, 1])
    assert left("tuned") == ([1], [1, 0])
    assert left("random") == left() == ([0], [0, 0])
    steps = plan(found, lambda spec: True, all_stores=True)
    assert (of(steps, "tune"), of(steps, "store")) == ([1], [1, 1])
    _, shuffled = found.stores
    assert shuffled.path
    store_of(["i0"], shuffled.path)
    assert left("shuffled") == ([0], [0, 0]), "what a store that is there was made of is not made again"


def test_the_memory_of_a_run_counts_the_store_that_it_loads(
    resolved: Resolve, store_of: Callable[..., Path], tmp_path: Path
) -> None:
    store = store_of([f"i{item}" for item in range(60)], tmp_path / "store")
    steps = named(plan(resolved(initialisations={"random": {}, "given": {"store": str(store)}}), nothing_is_done))
    random, given = (steps[f"run tiny SASRec {variant} full"].estimate for variant in ("random", "given"))
    assert random and given and given.operations == random.operations
    assert given.memory_mb - random.memory_mb == pytest.approx(60 * 16 * 4 / 2**20)


# --- words ---


def test_what_will_be_done_is_told_with_what_is_made_first(resolved: Resolve, tiny_encoders: dict[str, Path]) -> None:
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    (said,) = what_will_be_done(resolved(initialisations={"random": {}, "bert": bert}, seeds=[1, 2]), nothing_is_done)
    assert said.startswith("trial: 4 runs to do for 2 rows; before them: store tiny (encoder ")
    assert "About " in said and "Results: " in said


def test_where_all_is_done_it_says_so_and_how_to_do_it_again(resolved: Resolve) -> None:
    found = resolved()
    for spec in found.specs():
        spec.record_path.parent.mkdir(parents=True, exist_ok=True)
        spec.record_path.write_text("{}")
    (said,) = what_will_be_done(found, lambda spec: True)
    assert "nothing to do" in said and "--results=FOLDER" in said


def test_where_all_runs_are_done_stores_that_are_gone_are_told_where_they_are_wanted(
    resolved: Resolve, tiny_encoders: dict[str, Path]
) -> None:
    found = resolved(initialisations={"bert": {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}})
    for spec in found.specs():
        spec.record_path.parent.mkdir(parents=True, exist_ok=True)
        spec.record_path.write_text("{}")
    (said,) = what_will_be_done(found, lambda spec: True)
    assert "nothing to do" in said
    (said,) = what_will_be_done(found, lambda spec: True, all_stores=True)
    assert said.startswith("trial: all of its runs are done; to make: store tiny (encoder ")


def test_steps_that_nobody_can_count_are_told_beside_the_sum(resolved: Resolve) -> None:
    found = resolved(fetch=False, datasets=["tiny", "nowhere"])
    text = "\n".join(plan_lines(found, nothing_is_done))
    assert "and 1 step of unknown length in all" in text


# --- texts ---


def test_encoding_is_counted_by_the_texts_that_are_here(
    resolved: Resolve, own_data: Path, tiny_encoders: dict[str, Path]
) -> None:
    def operations(**keys: Any) -> float:
        bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}], **keys}
        found = resolved(data_path=str(own_data), initialisations={"bert": bert})
        estimate = named(plan(found, nothing_is_done))["store tiny"].estimate
        assert estimate is not None
        return estimate.operations

    short = operations()
    assert operations(layers=1) == pytest.approx(short / 2)
    assert operations(template=["{title} {title}"]) > 1.5 * short
    assert operations(max_tokens=2) < short / 2
    item = own_data / "tiny" / "tiny.item"
    same = "".join(f"i{number}\tthing number 1\n" for number in range(60))
    item.write_text(f"item_id:token\ttitle:token_seq\n{same}")
    assert operations() == pytest.approx(short / 60, rel=0.1), "each text is encoded once"
