"""The tune stage: folders, settings, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tunings import encode, encoder_for, run

from recbole_ext.errors import ConfigurationError, EncoderError, TuningError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.tuning import tune
from recbole_ext.tuning.objectives import OBJECTIVES


def test_an_encoder_that_does_not_fit_into_memory_says_what_to_lower_before_the_first_step(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("recbole_ext.tuning.stage._build", too_large)
    with pytest.raises(TuningError, match="out of memory while tuning: lower batch_size"):
        run(atomic_folder, bert, tmp_path / "tuned")


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_tuned_folder_is_loaded_by_from_pretrained_and_by_encode(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, objective: str
) -> None:
    from transformers import AutoModel, AutoTokenizer

    bert = encoder_for(objective, tiny_encoders)
    report = run(atomic_folder, bert, tmp_path / "tuned", objective, learning_rate=1e-3)
    assert not report.up_to_date and report.record["examples"] > 8
    assert AutoModel.from_pretrained(tmp_path / "tuned").config.hidden_size == 32
    assert AutoTokenizer.from_pretrained(tmp_path / "tuned").vocab_size > 1000
    for encoder, store in ((bert, "before"), (str(tmp_path / "tuned"), "after")):
        encode(atomic_folder, encoder, tmp_path / store)
    before, after = (ItemEmbeddingStore.load(tmp_path / name) for name in ("before", "after"))
    assert before.items == after.items and after.embeddings.shape == (60, 32)
    assert (before.embeddings - after.embeddings).abs().max() > 1e-3


def test_encode_gives_the_vectors_that_the_objective_contrasts(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    from recbole_ext.encoders.source import resolve_encoder
    from recbole_ext.recformer.encoder import load_behaviour_encoder
    from recbole_ext.recformer.item_tokens import ItemTokens

    run(atomic_folder, bert, tmp_path / "tuned", "contrast")
    encode(atomic_folder, tmp_path / "tuned", tmp_path / "store")
    store = ItemEmbeddingStore.load(tmp_path / "store")
    encoder, tokenizer, reading = load_behaviour_encoder(resolve_encoder(str(tmp_path / "tuned")))
    assert reading["attribute_tokens"] == 8
    tokens = ItemTokens.of([[("title", "thing number 7")]], tokenizer, 8)
    with torch.no_grad():
        expected = encoder.eval().pool(tokens.batch([np.array([1])]))[0]
    torch.testing.assert_close(store.embeddings[store.items.index("i7")], expected, rtol=1e-4, atol=1e-5)


def test_a_second_call_does_nothing_and_other_settings_do_not_replace_what_is_there(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(atomic_folder, bert, tmp_path / "tuned", "pairs")
    monkeypatch.setattr("recbole_ext.tuning.stage.claim", lambda *_, **__: pytest.fail("nothing is to be written"))
    assert run(atomic_folder, bert, tmp_path / "tuned", "pairs").up_to_date
    monkeypatch.undo()
    with pytest.raises(TuningError, match="holds another finished tuning, with other seed: choose another --out"):
        run(atomic_folder, bert, tmp_path / "tuned", "pairs", seed=7)
    with pytest.raises(TuningError, match="with other objective and .*temperature"):
        run(atomic_folder, bert, tmp_path / "tuned", "next-title")
    assert json.loads((tmp_path / "tuned" / "tuning.json").read_text()) == first.record
    assert not (tmp_path / "tuned.partial").exists()


@pytest.mark.parametrize("objective", ["recformer", "pairs", "next-title"])
def test_a_cut_encoder_is_tuned_and_saved_cut(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, objective: str
) -> None:
    from transformers import AutoModel

    bert = encoder_for(objective, tiny_encoders)
    run(atomic_folder, bert, tmp_path / "tuned", objective, layers=1)
    assert AutoModel.from_pretrained(tmp_path / "tuned").config.num_hidden_layers == 1
    encode(atomic_folder, tmp_path / "tuned", tmp_path / "store")
    assert ItemEmbeddingStore.load(tmp_path / "store").embeddings.isfinite().all()
    with pytest.raises(ConfigurationError, match="1 to 2"):
        run(atomic_folder, bert, tmp_path / "deeper", objective, layers=3)


def test_the_held_out_loss_falls(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    report = run(atomic_folder, bert, tmp_path / "tuned", "mlm", held_out=0.2, learning_rate=3e-3, epochs=6)
    losses = report.record["held_out_loss"]
    assert len(losses) == 6 and losses[-1] < losses[0]


def test_a_tuning_that_diverges_is_refused_with_the_way_out(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.pairs import Pairs

    forward = Pairs.forward

    def diverged(self: Any, **batch: Any) -> dict[str, Any]:
        found = forward(self, **batch)
        return {**found, "loss": found["loss"] * float("nan")}

    monkeypatch.setattr(Pairs, "forward", diverged)
    with pytest.raises(TuningError, match="the tuning has diverged.*Lower learning_rate"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", epochs=1)
    assert not (tmp_path / "out").exists()


def test_a_processor_is_not_asked_for_float16(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TuningError, match="precision: float16: a processor does not train in it"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", precision="float16")


def test_a_folder_that_tune_did_not_write_is_never_touched(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(TuningError, match="not written by `tune`"):
        run(atomic_folder, bert, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_running_out_of_memory_says_which_settings_bound_it_and_no_other_error_does(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.recformer import Recformer

    def allocates_too_much(*_: Any, **__: Any) -> Any:
        return torch.empty(2**60)

    def fails_otherwise(*_: Any, **__: Any) -> Any:
        raise RuntimeError("expected a tensor in shared memory")

    monkeypatch.setattr(Recformer, "forward", allocates_too_much)
    with pytest.raises(TuningError, match="lower batch_size"):
        run(atomic_folder, bert, tmp_path / "tuned")
    monkeypatch.setattr(Recformer, "forward", fails_otherwise)
    with pytest.raises(RuntimeError, match="shared memory"):
        run(atomic_folder, bert, tmp_path / "tuned")


def test_a_decoder_under_recformer_and_a_wrong_setting_are_clear_errors(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match="pooling"):
        run(atomic_folder, tiny_encoders["gpt2"], tmp_path / "t", pooling="last")
    for settings, message in (
        ({"batch_size": "many"}, "tune: batch_size"),
        ({"mlm_weight": -1}, "tune: mlm_weight"),
        ({"temprature": 1}, "tune: temprature: unknown key. Did you mean 'temperature'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            run(atomic_folder, tiny_encoders["bert"], tmp_path / "t", **settings)
    with pytest.raises(ConfigurationError, match="objective: there is no 'magic'. There are recformer, contrast"):
        tune([], "minilm", tmp_path / "t", "magic")
    with pytest.raises(ConfigurationError, match="sources: name the datasets"):
        tune([], "minilm", tmp_path / "t")


def test_bfloat16_tunes_on_a_cpu_and_dropout_goes_into_the_folder(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    report = run(atomic_folder, bert, tmp_path / "out", precision="bfloat16", dropout=0)
    losses = [entry["loss"] for entry in report.record["curve"] if "loss" in entry]
    assert report.record["settings"]["dropout"] == 0 and losses and np.isfinite(losses).all()
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_rank": 2, "freeze_words": False}, "lora_rank: the word embeddings stay as they are"),
        ({"lora_alpha": 2}, "lora_alpha: says nothing without lora_rank"),
        ({"lora_rank": 0}, "lora_rank: at least 1 is needed"),
        ({"source_temperature": 0.5}, "source_temperature"),
        ({"source_temperature": float("inf")}, "source_temperature"),
        ({"evaluate_every": 0}, "evaluate_every"),
        ({"hard_negatives": -1}, "hard_negatives"),
        ({"hard_negatives": 31}, "hard_negatives: at most 30 is needed; got 31"),
        ({"learning_rate": 1000}, "learning_rate: at most 1 is needed; got 1000"),
        ({"weight_decay": float("inf")}, "weight_decay: a finite number is needed; got inf"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(
    atomic_folder: Path, bert: str, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"tune: {message}"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", **settings)
