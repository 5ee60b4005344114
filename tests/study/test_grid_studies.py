"""Studies that are grids of runs: what is compared with what, and that a study runs from its YAML to its figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_ext.errors import ConfigurationError
from recbole_ext.run.benchmark_file import checked_benchmark
from recbole_ext.study import STUDIES, run_study
from recbole_ext.study.encoder_costs import encoder_costs
from recbole_ext.study.grid import Settings, _sentence, compare, run
from recbole_ext.study.settings import PRESETS, read_settings


def record(init: str, seed: int, score: float) -> dict[str, Any]:
    return {
        "status": "done",
        "run": f"{init}-{seed}",
        "dataset": "d",
        "model": "SASRec",
        "init": init,
        "mode": "-",
        "protocol": "full",
        "seed": seed,
        "candidate": {},
        "config": {"valid_metric": "NDCG@10"},
        "validation": {"ndcg@10": score},
        "test": {"ndcg@10": score},
        "best_epoch": seed,
        "seconds": {"training": 2.0},
        "parameters": {"trainable": 7},
    }


@pytest.fixture
def settings() -> Settings:
    return Settings(
        title="t", question="q?", by="init", reference="a", benchmark={"initialisations": {"b": {}, "a": {}}}
    )


def test_means_and_changes_are_those_of_the_seeds_against_the_reference(settings: Settings) -> None:
    table = compare([record("a", 1, 0.1), record("a", 3, 0.3), record("b", 1, 0.25)], settings)
    assert table["value"].tolist() == ["b", "a"]  # the benchmark's order
    assert table["mean"].tolist() == pytest.approx([0.25, 0.2])
    assert table["change_%"].tolist() == pytest.approx([25, 0])
    assert table["n_seeds"].tolist() == [1, 2] and table["best_epoch"].tolist() == [1, 2]


def test_the_sentence_names_what_the_spread_over_seeds_cannot_tell_from_the_best(settings: Settings) -> None:
    scores = {"a": (0.38, 0.40), "b": (0.41, 0.43), "near": (0.36, 0.46), "far": (0.30, 0.32)}
    records = [record(init, seed, score) for init, both in scores.items() for seed, score in enumerate(both)]
    sentence = _sentence(compare(records, settings), settings)
    assert sentence.endswith(
        "best is b with 0.4200, +7.7 % to a (0.3900); no further from it than a standard deviation over seeds: near."
    )


def test_a_reference_that_no_run_has_is_named(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="reference: no run has init 'a'"):
        compare([record("b", 1, 0.2)], settings)


@pytest.mark.parametrize("name", [name for name, module in STUDIES.items() if module.endswith("grid")])
def test_every_preset_describes_a_benchmark_and_holds_its_reference(name: str) -> None:
    settings = read_settings(Settings, name, None, {})
    benchmark = checked_benchmark(settings.benchmark, name)
    values = {
        "init": list(benchmark.initialisations),
        "mode": [init.mode for init in benchmark.initialisations.values()],
        "protocol": list(benchmark.protocols),
    }[settings.by]
    assert settings.reference in values and len(set(values)) > 2
    assert (PRESETS / f"{name}.yaml").is_file()


def test_a_key_that_nothing_reads_is_refused_in_a_study_too(settings: Settings) -> None:
    content = {"name": "s", "datasets": ["d"], "models": {"SASRec": {"frozen_block": 1}}, "initialisations": {"a": {}}}
    with pytest.raises(ConfigurationError, match="benchmark: models.SASRec: no key 'frozen_block'.*'frozen_blocks'"):
        run(settings.model_copy(update={"benchmark": content}))


def test_a_grid_study_runs_from_its_yaml_to_its_figure(
    atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {
        "title": "How much history",
        "question": "Does it help?",
        "by": "protocol",
        "reference": "short",
        "benchmark": {
            "name": "study-tiny",
            "datasets": ["tiny"],
            "models": {"SASRec": {"hidden_size": 16, "inner_size": 32, "epochs": 1}},
            "initialisations": {"none": {}},
            "protocols": {"short": {"MAX_ITEM_LIST_LENGTH": 5}, "long": {"MAX_ITEM_LIST_LENGTH": 20}},
            "data_path": str(atomic_folder),
        },
    }
    Path("study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    folder = run_study("long-sequences", Path("study.yaml"), {}, Path("runs/studies"), "test")
    written = json.loads((folder / "study.json").read_text())
    records = [json.loads(path.read_text()) for path in Path("runs/study-tiny/runs").glob("*.json")]
    means = {row["value"]: row["mean"] for row in written["numbers"]["rows"]}
    assert means == pytest.approx({r["protocol"]: r["test"]["ndcg@10"] for r in records})
    assert written["sentence"].startswith("Does it help? Test NDCG@10: tiny, SASRec: best is")
    assert (folder / "study-tiny.png").is_file() and "| tiny | SASRec | long |" in (folder / "text.md").read_text()


def test_depth_is_set_against_parameters_and_time(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A BERT of width 32 with a feed-forward of 64: 4 · 32² + 4 · 32 + 2 · 32 · 64 + 96 + 4 · 32 a layer."""
    monkeypatch.chdir(tmp_path)
    encoder = {"encoder": str(tiny_encoders["bert"]), "pooling": "mean", "transform": [{"pca": 16}]}
    benchmark = {
        "name": "study-tiny",
        "datasets": ["tiny"],
        "models": {"SASRec": {"hidden_size": 16, "inner_size": 32, "epochs": 1}},
        "initialisations": {
            "none": {},
            "one": {**encoder, "layers": 1},
            "two": encoder,
            "deaf": {**encoder, "drop": ["1.1"]},
        },
        "data_path": str(atomic_folder),
    }
    content: dict[str, Any] = {"title": "t", "question": "q?", "by": "init", "reference": "two", "encoder_costs": True}
    found = run(Settings(**content, benchmark=benchmark))
    rows = {row["value"]: row for row in found.numbers["rows"]}
    parameters = {name: row["encoder_parameters"] for name, row in rows.items()}
    assert parameters["two"] - parameters["one"] == 4 * 32**2 + 4 * 32 + 2 * 32 * 64 + 96 + 4 * 32
    assert parameters["deaf"] == parameters["two"] and parameters["none"] is None
    assert all(rows[name]["ms_per_item"] > 0 for name in ("one", "two", "deaf"))
    assert set(found.figures) == {"study-tiny", "study-tiny-costs"}
    assert "| encoding, ms per item |" in found.text and found.text.count("| – |") == 1
    without = {**benchmark, "initialisations": {"two": {}}}
    with pytest.raises(ConfigurationError, match="encoder_costs: no initialisation has an encoder"):
        encoder_costs(checked_benchmark(without, "without"))
    with pytest.raises(ValueError, match="encoder_costs: an encoder is an initialisation's"):
        Settings(**{**content, "by": "mode"}, benchmark=benchmark)
