"""Tuning with LoRA: adapters that are merged at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tunings import encode, encoder_for, run

from recbole_ext.errors import EncoderError
from recbole_ext.store import ItemEmbeddingStore


@pytest.mark.parametrize("objective", ["pairs", "recformer", "next-title"])
def test_lora_leaves_a_whole_encoder_that_differs_in_its_linear_layers_alone(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, objective: str
) -> None:
    from transformers import AutoModel

    encoder = encoder_for(objective, tiny_encoders)
    report = run(atomic_folder, encoder, tmp_path / "tuned", objective, lora_rank=2, learning_rate=1e-2)
    assert report.record["settings"]["lora_rank"] == 2
    before, after = (dict(AutoModel.from_pretrained(path).named_parameters()) for path in (encoder, tmp_path / "tuned"))
    added = "token_type_embeddings"  # of recformer, tuned whole
    before = {name: value for name, value in before.items() if "pooler" not in name and added not in name}
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed and all(before[name].dim() == 2 and "embed" not in name and "wte" not in name for name in changed)
    if objective == "recformer":
        positions = load_file(tmp_path / "tuned" / "model.safetensors")["embeddings.item_position_embeddings.weight"]
        assert positions.abs().max() > 0
    for name in changed:
        rank = torch.linalg.matrix_rank((after[name] - before[name]).float(), rtol=1e-4)
        assert 0 < rank <= 2, name
    encode(atomic_folder, tmp_path / "tuned", tmp_path / "store")
    assert ItemEmbeddingStore.load(tmp_path / "store").embeddings.isfinite().all()


def test_lora_reaches_a_longformer_s_layers_but_those_that_are_read_past_their_module(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    run(atomic_folder, tiny_encoders["longformer"], tmp_path / "tuned", lora_rank=2, learning_rate=1e-2)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_encoders["longformer"], tmp_path / "tuned")
    )
    changed = {name for name, value in before.items() if "layer" in name and not torch.equal(after[name], value)}
    assert any("attention.self.query.weight" in name for name in changed)
    assert not any("key_global" in name or "value_global" in name for name in changed)


def test_an_interrupted_lora_tuning_goes_on_to_the_same_end(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.pairs import Pairs

    settings: dict[str, Any] = {"objective": "pairs", "lora_rank": 2, "hard_negatives": 1}
    settings |= {"checkpoint_steps": 3, "held_out": 0.2, "patience": 5}
    run(atomic_folder, bert, tmp_path / "whole", **settings)
    calls, forward = [0], Pairs.forward

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Pairs, "forward", dies)
        with pytest.raises(KeyboardInterrupt):
            run(atomic_folder, bert, tmp_path / "broken", **settings)
    run(atomic_folder, bert, tmp_path / "broken", **settings)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_without_peft_lora_says_what_to_install(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EncoderError, match="lora_rank: .* pip install peft"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", lora_rank=2)
