"""The plan: every step in order, what is missing and how to get it, and estimates that grow as they should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved, RunSpec, load_benchmark, parse_overrides, resolve
from recbole_ext.benchmark.plan import (
    AUGMENTED,
    PREFIX,
    Step,
    estimate_run,
    plan,
    plan_lines,
    what_will_be_done,
)
from recbole_ext.data.dataset import Size
from recbole_ext.encoders.source import _hub_encoder
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.estimate import Transformer
from recbole_ext.models.recformer_estimate import TOKENS_OF_A_STEP, estimate_recformer
from recbole_ext.runs.grid import run_benchmark
from recbole_ext.tuning.settings import RecformerSettings

Resolve = Callable[..., Resolved]

CHECKOUT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "n_layers": 2,
    "inner_size": 256,
    "MAX_ITEM_LIST_LENGTH": 50,
    "train_batch_size": 512,
    "eval_batch_size": 512,
    "epochs": 10,
}
SCIENTIFIC = Size(8317, 4344, 58492)
ML_100K = Size(943, 1682, 100_000)
QUIET_CORE = 105e9
"""Operations per second of the core on which the numbers below were measured, in processor seconds."""
MINILM = Transformer(width=384, layers=6, inner=1536, vocabulary=30522)


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
        "encoder 'minlm': no folder and no public Hugging Face model has this name",
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
    assert "and 1 steps of unknown length in all" in text


# --- runs ---


@pytest.mark.parametrize(
    ("changed", "factor"),
    [({"epochs": 20}, 2.0), ({"hidden_size": 128, "inner_size": 512}, 2.0), ({"n_layers": 4}, 1.05)],
)
def test_larger_runs_take_longer(changed: dict[str, Any], factor: float) -> None:
    small, large = estimate_run(CONFIG, SCIENTIFIC), estimate_run({**CONFIG, **changed}, SCIENTIFIC)
    assert large.operations >= factor * small.operations
    assert large.memory_mb >= small.memory_mb and large.fixed >= small.fixed


def test_a_larger_catalogue_takes_more_time_and_memory() -> None:
    small, large = (estimate_run(CONFIG, Size(8317, items, 58492)) for items in (4344, 434_400))
    assert large.operations > 10 * small.operations
    assert large.memory_mb > small.memory_mb + 16 * 430_000 * 64 / 2**20


def test_a_run_that_stops_early_is_counted_so() -> None:
    long, longer = (estimate_run({**CONFIG, "epochs": n, "stopping_step": 10}, SCIENTIFIC) for n in (300, 3000))
    assert long == longer
    assert long.operations < estimate_run({**CONFIG, "epochs": 300}, SCIENTIFIC).operations


def test_other_samples_and_losses_cost_what_they_read() -> None:
    def operations(size: Size = SCIENTIFIC, **changed: Any) -> float:
        return estimate_run({**CONFIG, **changed}, size).operations

    rows = operations()
    assert operations(training_samples="prefix") > rows
    assert operations(training_samples="augmented") > 3 * rows
    assert operations(**MASKED) > 1.5 * rows
    assert operations(training_loss="bce", training_negatives=1) < rows / 2
    sampled: dict[str, Any] = {"training_loss": "sampled_softmax", "training_negatives": 300}
    assert operations(**sampled) == rows, "all scores are computed, and some of them taken"
    assert operations(**sampled, training_negatives_shared=True) < rows / 2
    assert operations(ML_100K, window_stride=1) > 5 * operations(ML_100K, window_stride=25)


def test_a_model_is_counted_with_the_samples_that_it_is_trained_on() -> None:
    def operations(model: str, **changed: Any) -> float:
        return estimate_run({**CONFIG, "model": model, **changed}, SCIENTIFIC).operations

    rows = operations("SASRec", training_samples="auto")
    assert operations("NARM", training_samples="auto") == operations("SASRec", training_samples="prefix") > rows
    padded = operations("SASRec", training_samples="augmented")
    assert operations("STAMP") == padded > 3 * rows
    assert operations("S3Rec", mask_ratio=0.2) == padded, "its masks are those of its pre-training"
    assert operations("LightSANs", training_samples="user") == rows


def test_the_models_of_each_kind_of_samples_are_those_that_were_found() -> None:
    found = json.loads((CHECKOUT / "results" / "models.json").read_text(encoding="utf-8"))
    for samples, named in (("augmented", AUGMENTED), ("prefix", PREFIX)):
        assert {row["model"] for row in found if row["kind"] == "sequential" and row["samples"] == samples} == {*named}


def test_a_pre_training_is_counted_without_evaluations() -> None:
    def estimate(stage: str, epochs: int) -> Any:
        return estimate_run({**CONFIG, "train_stage": stage, "pretrain_epochs": epochs}, SCIENTIFIC)

    plain, once, twice = estimate("finetune", 10), estimate("pretrain", 10), estimate("actor_pretrain", 10)
    assert plain.operations < once.operations < 2 * plain.operations and once.fixed > plain.fixed
    assert twice == estimate("pretrain", 20)


MASKED: dict[str, Any] = {"mask_ratio": 0.2, "transform": "mask_itemseq"}
MEASURED: list[tuple[str, dict[str, Any], Size, float]] = [
    ("SASRec, ml-100k", {"epochs": 12, "window_stride": 25}, ML_100K, 64),
    ("BERT4Rec, ml-100k", {"epochs": 12, "window_stride": 25, **MASKED}, ML_100K, 156),
]
"""Processor seconds of whole runs, one thread, as `embedded.yaml` has them."""


@pytest.mark.parametrize(
    ("changed", "size", "seconds"), [row[1:] for row in MEASURED], ids=[row[0] for row in MEASURED]
)
def test_the_estimate_is_within_a_factor_of_two_of_what_was_measured(
    changed: dict[str, Any], size: Size, seconds: float
) -> None:
    assert 0.5 < estimate_run({**CONFIG, **changed}, size).seconds(QUIET_CORE) / seconds < 2


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


def test_recformer_costs_its_epochs_and_reads_as_its_encoder_was_tuned_to() -> None:
    short = RecformerSettings(attribute_tokens=8, max_items=6, max_tokens=128)
    config = {"stage_one_epochs": 2, "stage_two_epochs": 1}
    tuned, plain = (estimate_recformer(MINILM, SCIENTIFIC, config, settings) for settings in (short, None))
    assert tuned.operations < plain.operations and tuned.memory_mb == plain.memory_mb
    assert estimate_recformer(MINILM, SCIENTIFIC, {**config, "max_tokens": 128, "attribute_tokens": 8}) == tuned
    twice = estimate_recformer(MINILM, SCIENTIFIC, {"stage_one_epochs": 4, "stage_two_epochs": 2}, short)
    assert twice.operations == 2 * tuned.operations


def test_the_plan_counts_the_parts_that_recformers_trainer_makes() -> None:
    from recbole_ext.models.recformer_trainer import TOKENS_PER_PART

    assert TOKENS_OF_A_STEP == TOKENS_PER_PART
