"""The verbs from Python: what a notebook finds, completes and shows."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from synthetic_runs import Benchmark

import recbole_ext
from recbole_ext.api import Outcome
from recbole_ext.errors import ConfigurationError

VERBS = ("encode", "evaluate", "export_split", "load_results", "plan", "recommend", "run", "score", "study", "tune")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    benchmark = Benchmark(tmp_path / "runs" / "mine")
    for seed in (42, 43, 44):
        benchmark.add(variant="none", seed=seed, quality=0.2)
        benchmark.add(variant="minilm", seed=seed, quality=0.3)
    return benchmark.write()


def test_the_package_lists_its_verbs_and_loads_nothing_for_it() -> None:
    code = "import sys, recbole_ext; print(dir(recbole_ext)); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, loaded = done.stdout.splitlines()
    assert [verb for verb in VERBS if f"'{verb}'" not in listed] == []
    assert loaded == "False"


def test_tab_completes_them_as_in_an_interpreter() -> None:
    rlcompleter = pytest.importorskip("rlcompleter")
    complete = rlcompleter.Completer({"recbole_ext": recbole_ext}).complete
    found = [complete(f"recbole_ext.{verb[:4]}", 0) for verb in VERBS]
    assert all(found)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_real_arguments_with_types_and_says_what_they_are(verb: str) -> None:
    function = getattr(recbole_ext, verb)
    signature = inspect.signature(function)
    assert all(part.annotation is not inspect.Parameter.empty for part in signature.parameters.values())
    assert signature.return_annotation is not inspect.Signature.empty
    assert len(inspect.getdoc(function) or "") > 100


@pytest.mark.parametrize(
    ("verb", "some"),
    [
        ("encode", {"encoder", "pooling", "lexical", "dim", "batch_size", "devices"}),
        ("tune", {"epochs", "learning_rate", "temperature", "lora_rank"}),
    ],
)
def test_settings_stand_in_the_signature_so_that_a_notebook_completes_them(verb: str, some: set[str]) -> None:
    signature = inspect.signature(getattr(recbole_ext, verb))
    assert some - set(signature.parameters) == set()
    assert all(part.kind is not inspect.Parameter.VAR_KEYWORD for part in signature.parameters.values())
    assert all(signature.parameters[name].default is not inspect.Parameter.empty for name in some)
    assert "Ellipsis" not in str(signature)
    assert not any("Annotated" in str(part.annotation) for part in signature.parameters.values())


def test_results_come_back_as_data_frames_records_and_figures(finished: Path) -> None:
    before = set(finished.rglob("*"))
    results = recbole_ext.load_results(finished)
    table = results.to_pandas()
    assert list(table["variant"]) == ["minilm", "none"]
    assert set(results.costs["variant"]) == {"minilm", "none"}
    assert sorted(record.seed for record in results.records()) == [42, 42, 43, 43, 44, 44]
    assert set(finished.rglob("*")) == before, "reading writes nothing"
    figures = results.figures()
    assert figures and all(path.suffix == ".png" and path.parent == finished / "figures" for path in figures)
    assert all(path.parent == finished.parent / "elsewhere" for path in results.figures(finished.parent / "elsewhere"))


def test_a_notebook_shows_results_as_the_leaderboard(finished: Path) -> None:
    html = recbole_ext.load_results(str(finished))._repr_html_()
    assert html.startswith("<table") and "minilm" in html and "ndcg@10_improvement_%" in html


def test_printed_results_are_the_leaderboard_and_not_all_that_they_hold(finished: Path) -> None:
    results = recbole_ext.load_results(finished)
    assert "minilm" in str(results) and len(str(results)) < 3000
    assert str(Outcome(finished, results, [])) == str(results)


def test_a_folder_without_results_says_where_they_are(finished: Path) -> None:
    with pytest.raises(ConfigurationError, match="one up"):
        recbole_ext.load_results(finished / "runs")
    with pytest.raises(ConfigurationError, match="mine below it"):
        recbole_ext.load_results(finished.parent)


def test_a_mapping_may_include_files_as_a_file_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("below.yaml").write_text(yaml.safe_dump({"include": "embedded.yaml", "initialisations": {"frozen": {}}}))
    frozen = {"encoder": "minilm", "mode": "adapter"}
    lines = recbole_ext.plan({"name": "above", "include": "below.yaml", "initialisations": {"frozen": frozen}})
    for variant in ("random", "minilm", "frozen"):
        assert any(line.startswith(f"run ml-100k SASRec {variant} full") for line in lines)
