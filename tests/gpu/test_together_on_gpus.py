"""Two GPUs that share a run train and rank as one does; tolerances as in ``test_recommenders``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.records import RunRecord
from recbole_ext.records.record import Made
from recbole_ext.runs.executors import LocalProcesses
from recbole_ext.runs.trial import lone_run

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_two_gpus_train_and_rank_as_one(atomic_folder: Path, device: torch.device, tmp_path: Path, model: str) -> None:
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs, and torch finds one here")
    small: dict[str, Any] = {"hidden_size": 16, "inner_size": 16, "epochs": 2, "train_batch_size": 64}
    small |= {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    where: dict[str, Any] = {} if device.type == "cuda" else {"use_gpu": False}

    def made(**keys: Any) -> Made:
        spec = lone_run(model, Dataset.named("tiny", atomic_folder), {**small, **where, **keys}, tmp_path)
        with LocalProcesses(1) as executor:
            assert executor.submit(spec, False).result()
        record = RunRecord.read(spec.record_path)
        assert record.status == "done", record.traceback
        return record.done

    one, two = made(), made(nproc=2)
    assert two.device == f"2 × {one.device}"
    losses = [[epoch.train_loss for epoch in done.curve] for done in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert two.test == pytest.approx(one.test, abs=0.005)
