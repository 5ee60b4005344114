"""All runs of a benchmark: what is run, what is not run again, and what a failure leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recbole_ext.report import load_records
from recbole_ext.run import grid
from recbole_ext.run.benchmark_file import load_benchmark
from recbole_ext.run.spec import RunSpec
from recbole_ext.writing import write_json

ITEMS = [f"i{item}" for item in range(60)]
COMMAND = "recbole-ext run benchmark.yaml"
CONFIG = {"train_batch_size": 256, "topk": [1, 5, 10], "use_gpu": False}


# --- real runs ---


@pytest.fixture(scope="session")
def finished(
    described: Callable[..., Path], store_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """A grid that ran to its end: two initialisations, two points each, two seeds."""
    folder = tmp_path_factory.mktemp("finished")
    search = [{"hidden_dropout_prob": 0.1}, {"hidden_dropout_prob": 0.8}]
    path = described(
        folder,
        initialisations={"none": {}, "vectors": {"store": str(store_of(ITEMS, folder / "store")), "mode": "bounded"}},
        search=search,
        seeds=[1, 2],
        parallel_runs=2,
    )
    benchmark = load_benchmark(path)
    report, failed = grid.run_benchmark(benchmark, COMMAND)
    records = load_records(folder / "results" / "trial")
    return SimpleNamespace(benchmark=benchmark, report=report, failed=failed, records=records, folder=folder)


def test_the_first_seed_searches_and_the_others_run_the_choice(finished: SimpleNamespace) -> None:
    assert finished.failed == []
    for init in ("none", "vectors"):
        of_init = [record for record in finished.records if record["init"] == init]
        searched = [record for record in of_init if record["seed"] == 1]
        (other,) = [record for record in of_init if record["seed"] == 2]
        validation = {str(record["candidate"]): record["validation"]["ndcg@10"] for record in searched}
        assert len(validation) == len(searched) == 2
        assert validation[str(other["candidate"])] == max(validation.values())


def test_a_record_holds_all_that_the_result_stands_on(finished: SimpleNamespace) -> None:
    for record in finished.records:
        assert record["benchmark"] == "trial"
        assert (record["dataset"], record["model"], record["protocol"]) == ("tiny", "SASRec", "full")
        assert record["mode"] == {"none": "-", "vectors": "bounded"}[record["init"]]
        assert (record["status"], record["command"]) == ("done", COMMAND)
        assert record["config"]["hidden_dropout_prob"] == record["candidate"]["hidden_dropout_prob"]
        assert record["config"]["seed"] == record["seed"]
        assert record["dataset_statistics"] == {"users": 40, "items": 60, "interactions": interactions(record)}
        assert set(record["fingerprints"]) == {"run", "dataset", "store"}
        assert (record["fingerprints"]["store"] is None) is (record["init"] == "none")
        assert record["fingerprints"]["run"].startswith(record["run"].rpartition("-")[2])
        assert {"python", "recbole-ext", "recbole", "torch", "numpy"} <= set(record["versions"])
        assert "git_revision" in record
        assert record["device"].startswith("cpu (")
        assert 0 < record["parameters"]["item_embedding"] < record["parameters"]["trainable"]
        assert record["parameters"]["trainable"] <= record["parameters"]["total"]
        assert set(record["seconds"]) == {"per_epoch", "per_evaluation", "training", "test"}
        assert min(record["seconds"].values()) > 0
        assert record["peak_memory_mb"] > 50
        assert record["flops"] > 0
        assert record["training_samples"] == "user"
        expected = None if record["init"] == "none" else {"items": 60, "covered": 60, "missing": 0}
        assert record["coverage"] == expected
        metrics = {f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in (1, 5, 10)}
        assert set(record["validation"]) == set(record["test"]) == metrics


def interactions(record: dict[str, Any]) -> int:
    path = Path(record["config"]["data_path"])
    return len((path / "tiny.inter").read_text().splitlines()) - 1


def test_the_curve_leads_to_the_best_epoch(finished: SimpleNamespace) -> None:
    for record in finished.records:
        curve = record["curve"]
        assert [entry["epoch"] for entry in curve] == list(range(record["epochs"])) == [0, 1]
        assert all({"train_loss", "valid", "train_seconds", "valid_seconds"} <= set(entry) for entry in curve)
        best = max(curve, key=lambda entry: entry["valid"])
        assert best["epoch"] == record["best_epoch"]
        assert best["valid"] == pytest.approx(record["validation"]["ndcg@10"], abs=1e-6)


def test_the_ranks_beside_a_record_give_its_test_metrics(finished: SimpleNamespace) -> None:
    for record in finished.records:
        ranks = np.load(finished.folder / "results" / "trial" / "runs" / f"{record['run']}.ranks.npy")
        assert (ranks.dtype, ranks.shape) == (np.uint8, (40,))
        hits = ranks > 0
        assert hits.mean() == pytest.approx(record["test"]["recall@10"])
        gain = np.where(hits, 1 / np.log2(np.maximum(ranks, 1) + 1.0), 0)
        assert gain.mean() == pytest.approx(record["test"]["ndcg@10"], abs=1e-6)


def test_a_second_call_runs_nothing_and_reports_the_same(
    finished: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(spec: RunSpec) -> dict[str, Any]:
        raise AssertionError(f"{spec.name} was run again")

    monkeypatch.setattr(grid, "executor_of", lambda benchmark: Instead(outcome))
    report, failed = grid.run_benchmark(finished.benchmark, "another command")
    assert failed == []
    assert load_records(finished.folder / "results" / "trial") == finished.records
    assert report.table.equals(finished.report.table)


def test_runs_leave_nothing_but_results_and_stores(finished: SimpleNamespace) -> None:
    left = [path for path in finished.folder.rglob("*") if path.suffix in {".pth", ".tmp", ".lock"}]
    assert left == []


def test_a_failed_run_is_recorded_and_the_others_go_on(
    described: Callable[..., Path], store_of: Callable[..., Path], tmp_path: Path
) -> None:
    foreign = store_of(["of", "another", "dataset"], tmp_path / "foreign")
    path = described(tmp_path, initialisations={"foreign": {"store": str(foreign)}, "none": {}}, config={"epochs": 1})
    report, failed = grid.run_benchmark(load_benchmark(path), COMMAND)
    assert [spec.init for spec in failed] == ["foreign"]
    record, done = load_records(tmp_path / "results" / "trial")
    assert done["status"] == "done"
    assert record["status"] == "failed"
    assert "none of the dataset's 60 items is in the store" in record["error"]
    assert (record["init"], record["seed"], record["command"]) == ("foreign", 1, COMMAND)
    assert [row["run"] for row in report.failed] == [record["run"]]
    assert list(report.table["init"]) == ["none"]


@pytest.mark.parametrize(
    ("send", "by"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["Ctrl-C", "kill"]
)
def test_a_stopped_grid_ends_the_runs_under_way_and_leaves_neither_record_nor_process(
    described: Callable[..., Path], tmp_path: Path, send: Callable[[int, int], None], by: int
) -> None:
    path = described(
        tmp_path,
        search=[{"hidden_dropout_prob": 0.1}, {"hidden_dropout_prob": 0.2}, {"hidden_dropout_prob": 0.3}],
        config={**CONFIG, "epochs": 100_000, "stopping_step": 100_000},
    )
    program = [sys.executable, "-m", "recbole_ext", "run", str(path), "--parallel_runs=2"]
    process = subprocess.Popen(
        program,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell starts background jobs with Ctrl-C ignored, and so the tests where they are one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    checkpoints = tmp_path / "artifacts" / "checkpoints" / "trial"
    deadline = time.monotonic() + 120
    while len(list(checkpoints.glob("*.pth"))) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    send(process.pid, by)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the next call goes on" in errors and "Traceback" not in errors
    assert not list((tmp_path / "results" / "trial" / "runs").glob("*.json"))
    with pytest.raises(ProcessLookupError):
        time.sleep(2)
        os.killpg(process.pid, 0)


# --- which runs there are, with the runs themselves replaced ---


class Instead:
    """An executor that asks ``outcome`` for a record instead of running anything; ``ran`` keeps what it was given."""

    def __init__(self, outcome: Callable[[RunSpec], dict[str, Any]]) -> None:
        self.outcome = outcome
        self.ran: list[RunSpec] = []

    def submit(self, spec: RunSpec, wait: bool) -> Future[bool]:
        self.ran.append(spec)
        base = {"config": {"valid_metric": "NDCG@10"}, "fingerprints": {"run": spec.fingerprint}}
        write_json(spec.record_path, {**spec.identity(), "status": "done", **base, **self.outcome(spec)})
        future: Future[bool] = Future()
        future.set_result(True)
        return future

    def stop(self) -> None: ...

    def __enter__(self) -> Instead:
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.fixture
def recorded(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[RunSpec]]:
    """``recorded(outcome, **keys)``: the specs that the grid ran, in order; ``outcome(spec)`` is record keys."""

    def recorded(outcome: Callable[[RunSpec], dict[str, Any]], **keys: Any) -> list[RunSpec]:
        executor = Instead(outcome)
        monkeypatch.setattr(grid, "executor_of", lambda benchmark: executor)
        monkeypatch.setattr(grid, "write_report", lambda folder: None)
        grid.run_benchmark(load_benchmark(described(tmp_path, **keys)), COMMAND)
        return executor.ran

    return recorded


SEARCH = [{"hidden_dropout_prob": dropout} for dropout in (0.1, 0.3, 0.5)]


def by_dropout(validation: dict[float, float]) -> Callable[[RunSpec], dict[str, Any]]:
    """Runs whose validation depends on dropout, and whose test metric says the opposite."""

    def outcome(spec: RunSpec) -> dict[str, Any]:
        value = validation[spec.candidate["hidden_dropout_prob"]]
        return {"validation": {"ndcg@10": value}, "test": {"ndcg@10": 1 - value}}

    return outcome


def dropouts(specs: list[RunSpec], seed: int) -> list[float]:
    return [spec.candidate["hidden_dropout_prob"] for spec in specs if spec.seed == seed]


def test_the_search_goes_by_validation_on_the_first_seed_alone(recorded: Callable[..., list[RunSpec]]) -> None:
    ran = recorded(by_dropout({0.1: 0.2, 0.3: 0.4, 0.5: 0.3}), search=SEARCH, seeds=[9, 2, 3])
    assert dropouts(ran, seed=9) == [0.1, 0.3, 0.5]
    assert dropouts(ran, seed=2) == dropouts(ran, seed=3) == [0.3]


def test_what_makes_a_store_runs_first_and_only_what_starts_from_that_store_waits_for_it(
    recorded: Callable[..., list[RunSpec]], monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    run_all = grid.run_all

    def counted(specs: list[RunSpec], *others: Any) -> list[RunSpec]:
        together.append(len(specs))
        return run_all(specs, *others)

    monkeypatch.setattr(grid, "run_all", counted)
    monkeypatch.setattr(grid, "make_stores", lambda benchmark: None)
    monkeypatch.setattr("recbole_ext.run.spec.store_fingerprint", str)
    ran = recorded(
        lambda spec: {"validation": {"ndcg@10": 0.2}, "test": {"ndcg@10": 0.2}},
        models={"SASRec": {}, "RECFORMER": {}},
        initialisations={"finetune": {"finetune": "pretrain"}, "none": {}, "pretrain": {"encoder": "minilm"}},
        only={"RECFORMER": {"initialisations": ["pretrain"]}},
    )
    runs = [(spec.model, spec.init) for spec in ran]
    assert runs == [("RECFORMER", "pretrain"), ("SASRec", "none"), ("SASRec", "pretrain"), ("SASRec", "finetune")]
    assert together == [3, 1, 0]


def test_a_failed_candidate_is_not_chosen(recorded: Callable[..., list[RunSpec]]) -> None:
    outcome = by_dropout({0.1: 0.2, 0.3: 0.4, 0.5: 0.3})

    def one_fails(spec: RunSpec) -> dict[str, Any]:
        failed = spec.candidate["hidden_dropout_prob"] == 0.3
        return {"status": "failed", "error": "no"} if failed else outcome(spec)

    assert dropouts(recorded(one_fails, search=SEARCH, seeds=[1, 2]), seed=2) == [0.5]


def test_a_cell_without_a_finished_candidate_runs_no_other_seed(recorded: Callable[..., list[RunSpec]]) -> None:
    ran = recorded(lambda spec: {"status": "failed", "error": "no"}, search=SEARCH, seeds=[1, 2])
    assert {spec.seed for spec in ran} == {1}


def test_points_that_an_override_made_equal_run_once(recorded: Callable[..., list[RunSpec]]) -> None:
    ran = recorded(by_dropout({0.3: 0.4}), search=[SEARCH[1], SEARCH[1]], seeds=[1, 2])
    assert [(spec.candidate, spec.seed) for spec in ran] == [(SEARCH[1], 1), (SEARCH[1], 2)]


def test_a_failed_or_damaged_record_is_run_again(recorded: Callable[..., list[RunSpec]]) -> None:
    ok = by_dropout({0.1: 0.2})
    (spec,) = recorded(lambda spec: {"status": "failed", "error": "no"}, search=SEARCH[:1])
    assert recorded(ok, search=SEARCH[:1]) == [spec]
    assert recorded(ok, search=SEARCH[:1]) == []
    spec.record_path.write_text('{"status": "do')
    assert recorded(ok, search=SEARCH[:1]) == [spec]


def test_a_record_of_other_settings_under_this_name_is_run_again(recorded: Callable[..., list[RunSpec]]) -> None:
    ok = by_dropout({0.1: 0.2})
    (spec,) = recorded(ok, search=SEARCH[:1])
    record = json.loads(spec.record_path.read_text())
    write_json(spec.record_path, {**record, "fingerprints": {"run": spec.fingerprint[:8] + "0" * 56}})
    assert recorded(ok, search=SEARCH[:1]) == [spec]


def test_stores_are_encoded_with_what_benchmark_and_dataset_config_say(
    described: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text("item_text: ['{title}']\nITEM_ID_FIELD: asin\n")
    calls: list[dict[str, Any]] = []

    def encode(dataset: str, data_path: str, encoder: str, **options: Any) -> Any:
        calls.append({"encoder": encoder, **options})
        return SimpleNamespace(lines=list)

    monkeypatch.setattr(grid, "encode", encode)
    inits: dict[str, dict[str, Any]] = {
        "none": {},
        "given": {"store": "x"},
        "a": {"encoder": "minilm"},
        "b": {
            "encoder": "e",
            "template": ["{title}!"],
            "pooling": "cls",
            "precision": "float16",
            "max_tokens": 8,
            "layers": 1,
            "drop": ["2.1"],
        },
    }
    grid.make_stores(load_benchmark(described(tmp_path, initialisations=inits)))
    stores = tmp_path / "artifacts" / "stores" / "tiny"
    defaults: dict[str, Any] = {
        "pooling": None,
        "precision": "float32",
        "max_tokens": None,
        "layers": None,
        "drop": [],
        "item_field": "asin",
    }
    assert calls == [
        {"encoder": "minilm", "out": stores / "a", "template": ["{title}"], **defaults},
        {**inits["b"], "out": stores / "b", "item_field": "asin"},
    ]


def test_full_and_sampled_ranking_of_both_models_keep_ranks_and_popularity(
    described: Callable[..., Path], tmp_path: Path
) -> None:
    small = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
    path = described(
        tmp_path,
        models={"SASRec": small, "BERT4Rec": small},
        protocols={"full": {}, "uni20": {"eval_args": {"mode": "uni20"}}},
        parallel_runs=2,
    )
    report, failed = grid.run_benchmark(load_benchmark(path), COMMAND)
    assert failed == []
    results = tmp_path / "results" / "trial"
    records = {(record["model"], record["protocol"]): record for record in load_records(results)}
    assert len(records) == 4
    for (model, protocol), record in records.items():
        ranks = np.load(results / "runs" / f"{record['run']}.ranks.npy")
        assert (ranks > 0).mean() == pytest.approx(record["test"]["recall@10"])
        assert record["training_samples"] == "user"
        # Of 21 candidates a model finds one in the top ten about half the time, of 60 items about a sixth.
        other = records[model, "full" if protocol != "full" else "uni20"]
        assert (record["test"]["recall@10"] > other["test"]["recall@10"]) is (protocol == "uni20")
    (shared,) = {record["popularity"]["file"] for record in records.values()}
    assert [path.name for path in (results / "popularity").iterdir()] == [Path(shared).name]
    assert report.table[["ndcg@10_head", "ndcg@10_middle", "ndcg@10_tail"]].notna().all(axis=None)
