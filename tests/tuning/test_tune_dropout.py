"""Dropout of an encoder, set from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from recbole_ext.tuning.dropout import set_dropout


@pytest.mark.parametrize("architecture", ["bert", "roberta", "longformer", "modernbert", "gpt2"])
def test_without_dropout_training_computes_what_evaluation_does_also_after_loading(
    tiny_encoders: dict[str, Path], tmp_path: Path, architecture: str
) -> None:
    model = AutoModel.from_pretrained(tiny_encoders[architecture])
    ids = torch.arange(5, 17).unsqueeze(0)

    def outputs() -> torch.Tensor:
        return model(input_ids=ids).last_hidden_state.detach()

    model.eval()
    expected = outputs()
    set_dropout(model, 0.5)
    model.train()
    assert not torch.allclose(outputs(), expected, atol=1e-2)
    set_dropout(model, 0.0)
    assert torch.allclose(outputs(), expected, atol=1e-6)
    model.save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path).train()
    assert torch.allclose(outputs(), expected, atol=1e-6)
