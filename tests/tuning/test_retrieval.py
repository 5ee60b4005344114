"""A tuning is validated by retrieval: what is counted, when it ends, which weights it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.encoding import load_encoder
from recbole_ext.errors import ConfigurationError, TuningError
from recbole_ext.tuning import TuneReport, tune
from recbole_ext.tuning.corpus import read_corpus
from recbole_ext.tuning.objectives import OBJECTIVES
from recbole_ext.tuning.retrieval import Retrieval
from recbole_ext.tuning.settings import RECALL, PairsSettings
from recbole_ext.tuning.stage import split_sequences

SETTINGS: dict[str, Any] = {"batch_size": 8, "max_tokens": 48, "held_out": 0.3, "learning_rate": 1e-3, "dropout": 0}


def run(folder: Path, encoder: Path, out: Path, objective: str = "pairs", **settings: Any) -> TuneReport:
    source = Dataset.named("tiny", folder, configs=folder)
    return tune([source], str(encoder), out, objective, **{**SETTINGS, **settings})


class Table(torch.nn.Module):
    """An objective whose vectors are the rows of a table."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors, self.tokens_read = vectors, 3

    def item_vectors(self, rows: np.ndarray) -> torch.Tensor:
        self.tokens_read += len(rows)
        return self.vectors[torch.from_numpy(rows)]

    def history_vectors(self, histories: list[np.ndarray]) -> torch.Tensor:
        return self.item_vectors(np.array([history[-1] for history in histories]))


def test_recall_counts_the_next_items_among_the_ten_nearest_centred_and_without_the_last_item() -> None:
    vectors = torch.randn(41, 6, generator=torch.Generator().manual_seed(0))
    sequences = [np.array([1 + n, 2 + n, 3 + 2 * n]) for n in range(15)]
    objective = Table(vectors)
    found = 0
    centred = torch.nn.functional.normalize(vectors[1:] - vectors[1:].mean(0), dim=-1)
    for *_, before, target in sequences:
        scores = centred @ centred[before - 1]
        scores[before - 1] = -2
        found += int(target - 1 in scores.topk(10).indices)
    recall = Retrieval(sequences, 40, seed=0).recall(objective)  # type: ignore[arg-type]
    assert recall == pytest.approx(found / 15) and 0 < recall < 1
    assert objective.tokens_read == 3 and objective.training


def test_an_item_that_follows_itself_may_be_found() -> None:
    objective = Table(torch.eye(40))
    assert Retrieval([np.array([4, 4])], 39, seed=0).recall(objective) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_the_recall_is_logged_before_the_first_step_and_after_every_epoch(
    objective: str, atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = tiny_encoders["gpt2" if objective == "next-title" else "bert"]
    dropout = 0.1 if objective == "item-contrast" else 0
    record = run(atomic_folder, encoder, tmp_path / "out", objective, epochs=2, dropout=dropout).record
    assert len(record["held_out_recall"]) == 3 and len(record["held_out_loss"]) == 2
    assert all(0 <= recall <= 1 for recall in record["held_out_recall"])


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_every_objective_ends_by_its_recall_with_the_best_weights(
    objective: str,
    atomic_folder: Path,
    tiny_encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = scripted(monkeypatch, [0.1, 0.3, 0.2, 0.9])
    encoder = tiny_encoders["gpt2" if objective == "next-title" else "bert"]
    dropout = 0.1 if objective == "item-contrast" else 0
    report = run(atomic_folder, encoder, tmp_path / "out", objective, epochs=5, patience=1, dropout=dropout)
    assert report.record["held_out_recall"] == [0.1, 0.3, 0.2]
    for name, value in load_file(tmp_path / "out" / "model.safetensors").items():
        if name in weights[1]:
            torch.testing.assert_close(value, weights[1][name], msg=name)


def test_an_epoch_may_hold_several_evaluations_and_the_last_is_after_the_last_step(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    record = run(atomic_folder, tiny_encoders["bert"], tmp_path / "out", epochs=1, evaluate_every=0.3).record
    steps = [entry["step"] for entry in record["curve"] if RECALL in entry]
    last = max(entry["step"] for entry in record["curve"])
    assert steps[0] == 0 and steps[-1] == last and len(steps) in (5, 6) and len(set(steps)) == len(steps)


def test_the_first_recall_is_that_of_the_encoder_as_it_was(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    report = run(atomic_folder, tiny_encoders["bert"], tmp_path / "out", epochs=1)
    settings = PairsSettings(**SETTINGS)
    corpus = read_corpus([Dataset.named("tiny", atomic_folder, configs=atomic_folder)], settings)
    _, held_out = split_sequences(corpus, settings)
    model = load_encoder(resolve_encoder(str(tiny_encoders["bert"])), device="cpu")
    vectors = torch.as_tensor(model.encode(["", *corpus.texts], convert_to_tensor=True)).clone()
    expected = Retrieval(held_out, len(corpus.texts), settings.seed).recall(Table(vectors))  # type: ignore[arg-type]
    assert report.record["held_out_recall"][0] == pytest.approx(expected, abs=1e-4)
    assert "recall@10" in report.lines()[2]


def test_vectors_that_are_no_numbers_find_nothing() -> None:
    held_out = [np.array([1, 2, 3]), np.array([2, 4])]
    vectors = torch.full((6, 3), float("nan"))
    assert Retrieval(held_out, 5, seed=0).recall(Table(vectors)) == 0.0  # type: ignore[arg-type]


def scripted(monkeypatch: pytest.MonkeyPatch, recalls: list[float]) -> list[dict[str, torch.Tensor]]:
    """Let the evaluations say ``recalls``; returns the weights at each."""
    weights: list[dict[str, torch.Tensor]] = []

    def recall(self: Retrieval, objective: Any) -> float:
        weights.append({name: value.detach().clone() for name, value in objective.base.state_dict().items()})
        return recalls[len(weights) - 1]

    monkeypatch.setattr(Retrieval, "recall", recall)
    return weights


@pytest.mark.parametrize(
    ("recalls", "best"), [([0.1, 0.3, 0.2, 0.3, 0.9], 1), ([0.5, 0.1, 0.2, 0.9], 0), ([0.1, 0.2, 0.3, 0.4], 3)]
)
def test_a_patience_ends_the_tuning_and_keeps_the_best_weights(
    recalls: list[float],
    best: int,
    atomic_folder: Path,
    tiny_encoders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = scripted(monkeypatch, recalls)
    report = run(atomic_folder, tiny_encoders["bert"], tmp_path / "out", epochs=3, patience=2)
    evaluations = min(best + 3, 4)
    assert report.record["held_out_recall"] == recalls[:evaluations]
    saved = load_file(tmp_path / "out" / "model.safetensors")
    for name, value in saved.items():
        torch.testing.assert_close(value, weights[best][name], msg=name)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_tuning_goes_on_with_its_best_weights(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.pairs import Pairs

    settings: dict[str, Any] = {"epochs": 4, "patience": 2, "checkpoint_steps": 5}
    recalls = [0.1, 0.4, 0.3, 0.2, 0.9]
    with monkeypatch.context() as patched:
        scripted(patched, recalls)
        whole = run(atomic_folder, tiny_encoders["bert"], tmp_path / "whole", **settings).record
    steps = max(entry["step"] for entry in whole["curve"])
    calls, forward = [0], Pairs.forward

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += self.training
        if calls[0] == steps - 2:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        scripted(patched, recalls)
        patched.setattr(Pairs, "forward", dies)
        with pytest.raises(KeyboardInterrupt):
            run(atomic_folder, tiny_encoders["bert"], tmp_path / "broken", **settings)
    with monkeypatch.context() as patched:
        scripted(patched, recalls[-2:])
        record = run(atomic_folder, tiny_encoders["bert"], tmp_path / "broken", **settings).record
    assert record["held_out_recall"] == whole["held_out_recall"]
    assert record["tokens_per_second"] * record["seconds"] == pytest.approx(
        whole["tokens_per_second"] * whole["seconds"], rel=0.02
    )
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_patience_without_held_out_sequences_is_refused(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="patience: held_out is 0"):
        run(atomic_folder, tiny_encoders["bert"], tmp_path / "out", patience=1, held_out=0)
    with pytest.raises(TuningError, match="of 40 sequences none is held out"):
        run(atomic_folder, tiny_encoders["bert"], tmp_path / "out", patience=1, held_out=0.01)
