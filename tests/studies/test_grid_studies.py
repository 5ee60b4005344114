"""Studies that are grids of runs: what is compared with what, and that a study runs from its YAML to its figure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from synthetic_runs import Benchmark

from recbole_ext.benchmark import benchmark_of, resolve
from recbole_ext.errors import ConfigurationError
from recbole_ext.records import Grid, RunRecord
from recbole_ext.report.results import finished_results
from recbole_ext.report.significance import Comparisons, Ratio, compare_with_baselines
from recbole_ext.studies import STUDIES, plan_study, run_study
from recbole_ext.studies.encoder_costs import encoder_costs
from recbole_ext.studies.grid import (
    Settings,
    _markdown,
    _sentence,
    compare,
    finished_benchmark,
    resolved_benchmark,
    run,
)
from recbole_ext.studies.settings import PRESETS, read_settings

GRIDS = [name for name, module in STUDIES.items() if module.endswith("grid")]


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path / "runs" / "study")


def settings(**changes: Any) -> Settings:
    content = {"title": "t", "question": "q?", "by": "variant", "reference": "a", "benchmark": {}}
    return Settings(**{**content, **changes})


def table_of(benchmark: Benchmark, **changes: Any) -> pd.DataFrame:
    _, results = finished_results(benchmark.write())
    return compare(results, settings(**changes), benchmark.folder)


def test_means_and_changes_are_those_of_the_seeds_against_the_reference(benchmark: Benchmark) -> None:
    benchmark.add(variant="b", seed=1, test={"ndcg@10": 0.25}, best_epoch=1)
    benchmark.add(variant="a", seed=1, test={"ndcg@10": 0.1}, best_epoch=1)
    benchmark.add(variant="a", seed=3, test={"ndcg@10": 0.3}, best_epoch=3)
    table = table_of(benchmark)
    assert table["value"].tolist() == ["b", "a"]  # the benchmark's order
    assert table["mean"].tolist() == pytest.approx([0.25, 0.2])
    assert table["change_%"].tolist() == pytest.approx([25, 0])
    assert table["n_seeds"].tolist() == [1, 2] and table["best_epoch"].tolist() == [2, 3]
    assert table["p_holm"].isna().all()  # below three seeds there is no test


def test_from_three_seeds_on_a_change_has_its_interval_over_users_and_seeds(benchmark: Benchmark) -> None:
    for seed in (1, 2, 3):
        benchmark.add(variant="a", seed=seed, quality=0.3)
        benchmark.add(variant="b", seed=seed, quality=0.5, stopped_early=False, epoch_limit=20)
    table = table_of(benchmark)
    b = table[table["value"] == "b"].iloc[0]
    assert 0 < b["low_%"] < b["change_%"] < b["high_%"] and b["p_holm"] < 0.05
    text = _markdown(table, settings())
    assert f"{b['change_%']:+.1f} % [{b['low_%']:+.1f}, {b['high_%']:+.1f}]" in text
    assert " † | " in text and "† The epoch limit ended runs that were still training." in text


def test_a_change_is_what_its_interval_is_around(benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    def compare_otherwise(*arguments: Any) -> Comparisons:
        found = compare_with_baselines(*arguments)
        gain = Ratio(0.5, 0.4, 0.6)
        return replace(found, made={key: replace(comparison, gain=gain) for key, comparison in found.made.items()})

    monkeypatch.setattr("recbole_ext.studies.grid.compare_with_baselines", compare_otherwise)
    for seed in (1, 2, 3):
        benchmark.add(variant="a", seed=seed, quality=0.3)
        benchmark.add(variant="b", seed=seed, quality=0.5)
    changes = table_of(benchmark).set_index("value")["change_%"]
    assert (changes["a"], changes["b"]) == (0, 50)


@pytest.mark.parametrize("by", ["variant", "model", "protocol"])
def test_within_a_cell_nothing_but_what_is_asked_about_differs(benchmark: Benchmark, by: str) -> None:
    scores: dict[tuple[str, ...], float] = {}
    for model in ("A", "B"):
        for variant in ("none", "x"):
            for protocol in ("full", "uni100"):
                scores[model, variant, protocol] = 0.1 + 0.1 * len(scores)
                benchmark.add(
                    model=model, variant=variant, protocol=protocol, test={"ndcg@10": scores[model, variant, protocol]}
                )
    reference = {"variant": "none", "model": "A", "protocol": "full"}[by]
    table = table_of(benchmark, by=by, reference=reference)
    assert table["cell"].nunique() == 4
    for row in table.to_dict("records"):
        own = {name: row[name] for name in ("model", "variant", "protocol")}
        base = scores[tuple((own | {by: reference}).values())]
        assert row["change_%"] == pytest.approx(100 * (row["mean"] / base - 1))


def test_the_sentence_names_what_the_spread_over_seeds_cannot_tell_from_the_best(benchmark: Benchmark) -> None:
    scores = {"a": (0.38, 0.40), "b": (0.41, 0.43), "near": (0.36, 0.46), "far": (0.30, 0.32)}
    for variant, both in scores.items():
        for seed, score in enumerate(both):
            benchmark.add(variant=variant, seed=seed, test={"ndcg@10": score})
    sentence = _sentence(table_of(benchmark), settings(), 1)
    assert sentence.endswith(
        "best is b with 0.4200, +7.7 % to a (0.3900); no further from it than a standard deviation over seeds: near."
    )


def test_where_smaller_is_better_the_sentence_names_the_smallest(benchmark: Benchmark) -> None:
    scores = {"a": (0.80, 0.82), "b": (0.70, 0.72), "near": (0.69, 0.75), "far": (0.90, 0.92)}
    for variant, both in scores.items():
        for seed, score in enumerate(both):
            benchmark.add(variant=variant, seed=seed, test={"rmse": score})
    sentence = _sentence(table_of(benchmark, metric="rmse"), settings(metric="rmse"), -1)
    assert sentence.endswith(
        "best is b with 0.7100, -12.3 % to a (0.8100); no further from it than a standard deviation over seeds: near."
    )


def test_a_cell_without_the_reference_has_no_change_to_it(benchmark: Benchmark) -> None:
    benchmark.add(variant="a", model="A", test={"ndcg@10": 0.2})
    benchmark.add(variant="b", model="B", test={"ndcg@10": 0.3})
    sentence = _sentence(table_of(benchmark), settings(), 1)
    assert "A: best is a with 0.2000. B: best is b with 0.3000." in sentence


def test_a_reference_or_metric_that_no_run_has_is_named(benchmark: Benchmark) -> None:
    benchmark.add(variant="b")
    with pytest.raises(ConfigurationError, match="reference: no run has variant 'a', but b"):
        table_of(benchmark)
    with pytest.raises(ConfigurationError, match="metric: .* does not report ndcg@7"):
        table_of(benchmark, reference="b", metric="ndcg@7")


@pytest.mark.parametrize("name", GRIDS)
def test_every_preset_describes_a_benchmark_and_holds_its_reference(name: str) -> None:
    from recbole_ext.benchmark.variant import baseline_of, parse_variants

    found = read_settings(Settings, name, None, {})
    benchmark, _ = benchmark_of(found.benchmark, {}, name)
    variants = parse_variants(benchmark.initialisations, name)
    values = {"variant": list(variants), "protocol": list(benchmark.protocols)}[found.by]
    assert found.reference in values and len(set(values)) > 2
    assert (PRESETS / f"{name}.yaml").is_file()
    assert len(benchmark.seeds) >= 3  # or nothing could be told
    if found.by == "variant":
        baselines = {n: baseline_of(variant, variants) for n, variant in variants.items()}
        assert baselines == {n: None if n == found.reference else found.reference for n in variants}


def test_what_the_study_does_not_know_goes_to_its_benchmark(tmp_path: Path) -> None:
    found = read_settings(Settings, "layers", None, {"epochs": 3, "metric": "recall@10", "results": "mine"})
    assert (found.metric, found.overrides) == ("recall@10", {"epochs": 3, "results": "mine"})
    _, recboles = benchmark_of(found.benchmark, found.overrides, "benchmark")
    assert recboles == {"epochs": 3}


def test_the_benchmark_of_a_study_may_include_files_of_the_working_folder(
    atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    below = {"datasets": ["tiny"], "data_path": str(atomic_folder), "models": {"Pop": {}, "LastItem": {}}}
    Path("below.yaml").write_text(yaml.safe_dump(below))
    study = settings(by="model", reference="Pop", benchmark={"name": "study", "include": "below.yaml"})
    resolved = resolved_benchmark(study, "", fetch=False)
    assert {row.key.model for row in resolved.rows} == {"Pop", "LastItem"}


def test_a_study_compares_its_own_rows_though_another_call_has_replaced_the_grid(
    atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(*arguments: Any) -> Any:
        resolved, folder = finished_benchmark(*arguments)
        grid = Grid.read(folder)
        grid.model_copy(update={"rows": grid.rows[:1]}).write(folder)
        return resolved, folder

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recbole_ext.studies.grid.finished_benchmark", replaced)
    benchmark = {"name": "study", "datasets": ["tiny"], "data_path": str(atomic_folder), "config": {"topk": [10]}}
    found = run(settings(by="model", reference="Pop", benchmark={**benchmark, "models": ["Pop", "LastItem"]}), "")
    assert set(found.table["value"]) == {"Pop", "LastItem"}


def test_what_is_wrong_with_a_call_is_put_on_the_call_and_not_on_the_preset() -> None:
    with pytest.raises(ConfigurationError, match="^study layers: by: ") as error:
        read_settings(Settings, "layers", None, {"by": "colour"})
    assert "presets" not in str(error.value)


# --- the whole road ---


@pytest.fixture
def content(atomic_folder: Path) -> dict[str, Any]:
    return {
        "title": "How much history",
        "question": "Does it help?",
        "by": "protocol",
        "reference": "short",
        "benchmark": {
            "name": "study-tiny",
            "datasets": ["tiny"],
            "models": {"SASRec": {"hidden_size": 16, "inner_size": 32}},
            "initialisations": {"none": {}},
            "protocols": {"short": {"MAX_ITEM_LIST_LENGTH": 5}, "long": {"MAX_ITEM_LIST_LENGTH": 20}},
            "data_path": str(atomic_folder),
        },
    }


def test_a_grid_study_runs_from_its_yaml_to_its_figure(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    folder = run_study("long-sequences", Path("study.yaml"), {"epochs": 1}, Path("runs/studies"), "the command").folder
    written = json.loads((folder / "study.json").read_text())
    records = [RunRecord.read(path) for path in Path("runs/study-tiny/runs").glob("*.json")]
    means = {row["value"]: row["mean"] for row in written["rows"]}
    assert means == pytest.approx({record.protocol: record.done.test["ndcg@10"] for record in records})
    assert {record.done.epoch_limit for record in records} == {1}
    assert written["sentence"].startswith("Does it help? Test NDCG@10: tiny, SASRec: best is")
    assert (folder / "study-tiny.png").is_file() and "| tiny | SASRec | none | long |" in (
        folder / "text.md"
    ).read_text()
    assert Grid.read(Path("runs/study-tiny")).command == "the command"
    index = Path("runs/index.html").read_text(encoding="utf-8")
    assert "study-tiny/index.html" in index and "How much history" in index


def test_the_plan_of_a_study_says_what_its_benchmark_would_run_and_runs_nothing(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    lines = plan_study("long-sequences", Path("study.yaml"), {"seeds": [1, 2]})
    counted = [line.split()[:5] for line in lines if line.startswith("run ")]
    assert sorted(counted) == [["run", "tiny", "SASRec", "none", protocol] for protocol in ("long", "short")]
    assert "Nothing is missing here." in lines and not Path("runs").exists()


def test_a_study_that_runs_no_benchmark_has_no_plan() -> None:
    with pytest.raises(ConfigurationError, match="study attention runs no benchmark"):
        plan_study("attention", None, {})


def test_a_key_that_nothing_reads_is_refused_in_a_study_too(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content["benchmark"]["models"]["SASRec"]["frozen_block"] = 1
    Path("study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="benchmark: models.SASRec: .*'frozen_block'.*'?frozen_blocks'?"):
        run_study("long-sequences", Path("study.yaml"), {}, Path("runs/studies"), "test")


def test_depth_is_set_against_parameters_and_time(
    content: dict[str, Any], tiny_encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A BERT of width 32 with a feed-forward of 64: 4 · 32² + 4 · 32 + 2 · 32 · 64 + 96 + 4 · 32 a layer."""
    monkeypatch.chdir(tmp_path)
    encoder = {"encoder": str(tiny_encoders["bert"]), "pooling": "mean", "transform": [{"pca": 16}]}
    variants = {"none": {}, "one": {**encoder, "layers": 1}, "two": encoder, "deaf": {**encoder, "drop": ["1.1"]}}
    content["benchmark"] |= {"initialisations": variants, "protocols": {"full": {}}}
    content |= {"by": "variant", "reference": "two", "encoder_costs": True}
    Path("study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    found = run_study("layers", Path("study.yaml"), {"epochs": 1}, Path("runs/studies"), "test")
    rows = {row["value"]: row for row in found.rows}
    parameters = {name: row["encoder_parameters"] for name, row in rows.items()}
    assert parameters["two"] - parameters["one"] == 4 * 32**2 + 4 * 32 + 2 * 32 * 64 + 96 + 4 * 32
    assert parameters["deaf"] == parameters["two"] and parameters["none"] is None
    assert all(rows[name]["ms_per_item"] > 0 for name in ("one", "two", "deaf"))
    assert {path.name for path in found.figures} == {"study-tiny.png", "study-tiny-costs.png"}
    assert "| encoding, ms per item |" in found.text and found.text.count("| – | – |") >= 1


def test_costs_are_of_encoders_of_variants_alone(content: dict[str, Any]) -> None:
    benchmark, recboles = benchmark_of(content["benchmark"], {}, "benchmark")
    with pytest.raises(ConfigurationError, match="encoder_costs: no initialisation has an encoder"):
        encoder_costs(resolve(benchmark, recboles, "test", "benchmark"))
    with pytest.raises(ValueError, match="encoder_costs: an encoder is a variant's"):
        settings(by="model", encoder_costs=True)
