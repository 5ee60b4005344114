"""Without ``item_embedding``, a run through this package gives exactly stock RecBole 1.2.1's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.run.benchmark import Benchmark, Initialisation
from recbole_ext.run.single import run_once
from recbole_ext.run.spec import RunSpec, expand

# Nothing of this package in it. `saved=False` spares RecBole its own checkpoint, which torch >= 2.6 refuses to load.
STOCK = """
import json, sys
model, dataset, settings = json.loads(sys.argv[1])
sys.argv = sys.argv[:1]
from recbole.quick_start import run_recbole
result = run_recbole(model, dataset, config_dict=settings, saved=False)
print("RESULT", json.dumps({key: dict(result[key]) for key in ("best_valid_result", "test_result")}))
"""


def spec_of(model: str, dataset: str, data_path: Path, work: Path, **settings: Any) -> RunSpec:
    benchmark = Benchmark(
        name="equality",
        datasets=[dataset],
        models={model: {}},
        initialisations={"none": Initialisation()},
        data_path=str(data_path),
        results=work / "results",
        artifacts=work / "artifacts",
        config={"training_samples": "augmented", "show_progress": False, **settings},
    )
    return next(iter(expand(benchmark, "test")))


def stock_result(spec: RunSpec, work: Path) -> dict[str, dict[str, float]]:
    arguments = json.dumps([spec.model, spec.dataset, {**spec.config, "checkpoint_dir": str(work / "saved")}])
    done = subprocess.run(
        [sys.executable, "-c", STOCK, arguments], cwd=work, capture_output=True, text=True, check=False, timeout=600
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr[-2000:]
    return json.loads(lines[-1].removeprefix("RESULT "))


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_augmented_training_gives_exactly_the_metrics_of_stock_recbole(model: str, tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 1, "train_batch_size": 4096}
    small |= {"MAX_ITEM_LIST_LENGTH": 8, "learning_rate": 0.005, "stopping_step": 100}
    small |= {"exact_time_order": False}  # RecBole's own order, in which ml-100k's last items are often not the last
    spec = spec_of(model, "ml-100k", tmp_path, tmp_path, epochs=2, **small)
    record = run_once(spec)
    assert record["training_samples"] == "augmented"
    expected = stock_result(spec, tmp_path)
    assert record["best_epoch"] == 1, "only then is the last epoch, which stock tested, also the best"
    assert record["validation"] == expected["best_valid_result"]
    assert record["test"] == expected["test_result"]
    assert record["test"]["recall@50"] > 0


def test_the_fast_path_gives_the_metrics_of_the_same_model_evaluated_by_recbole(
    atomic_folder: Path, tmp_path: Path
) -> None:
    """Trained on rows, evaluated once trimmed, sorted and counted, and once padded by RecBole's own collector."""
    import torch
    from recbole.evaluator.collector import Collector
    from recbole.trainer import Trainer
    from recbole.utils import get_model

    from recbole_ext.run.single import build_config
    from recbole_ext.training import build_trainer, choose_data_path, load

    spec = spec_of("SASRec", "tiny", atomic_folder, tmp_path, epochs=2, training_samples="user", hidden_size=16)
    results = []
    for fast in (True, False):
        config = build_config(spec)
        loaders = load(config)
        torch.manual_seed(1)
        model = get_model("SASRec")(config, loaders.train._dataset)
        if fast:
            choose_data_path(config, model, loaders)
            assert loaders.test._dataset.trim_padding
            trainer = build_trainer(config, model, tmp_path / "best.pth")
        else:
            trainer = Trainer(config, model)
            trainer.eval_collector = Collector(config)
        results.append(trainer.evaluate(loaders.test, load_best_model=False))
    assert results[0] == pytest.approx(results[1], abs=1e-7)
