"""Attention in blocks and dense equals Hugging Face's chunked windows, forward and backward."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.recformer import window_attention
from recbole_ext.recformer.window_attention import use_fast_attention

WINDOW = 8


def longformers(window: int = WINDOW, **config: Any) -> tuple[Any, Any]:
    """The same random weights twice: with the attention under test, and as Hugging Face has it."""
    from transformers import LongformerConfig, LongformerModel

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    settings = LongformerConfig(
        vocab_size=50, attention_window=window, max_position_embeddings=202, pad_token_id=1, **shape, **config
    )
    models = [LongformerModel(settings, add_pooling_layer=False).eval() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    use_fast_attention(models[0])
    return models[0], models[1]


def outputs(model: Any, lengths: list[int]) -> torch.Tensor:
    """Outputs at the tokens that are not padding, ``[tokens, width]``."""
    ids = torch.randint(2, 50, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)).long()
    first = torch.zeros_like(mask)
    first[:, 0] = 1
    return model(ids, attention_mask=mask, global_attention_mask=first).last_hidden_state[mask.bool()]


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=3), window=st.sampled_from([4, 8, 128]))
@settings(max_examples=30, deadline=None)
def test_any_lengths_and_window_give_hugging_faces_outputs(lengths: list[int], window: int) -> None:
    own, reference = longformers(window)
    with torch.no_grad():
        torch.testing.assert_close(outputs(own, lengths), outputs(reference, lengths), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lengths", [[20, 3], [61, 17, 40]])  # dense, and in blocks
def test_gradients_are_hugging_faces(lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Mock(wraps=window_attention._in_blocks)
    monkeypatch.setattr(window_attention, "_in_blocks", blocks)
    own, reference = longformers()
    for model in (own, reference):
        outputs(model, lengths).pow(3).sum().backward()
    assert blocks.called == (max(lengths) > 24)
    gradients = dict(reference.named_parameters())
    for name, parameter in own.named_parameters():
        expected = gradients[name].grad
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()) + 1e-6)


@pytest.mark.parametrize("lengths", [[20, 3], [61, 17]])
def test_in_training_attention_weights_are_dropped_and_their_expectation_stays(lengths: list[int]) -> None:
    own, _ = longformers(attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0)
    own.encoder.layer = own.encoder.layer[:1]
    attention = own.encoder.layer[0].attention.self
    seen: list[torch.Tensor] = []
    own.encoder.layer[0].attention.self.register_forward_hook(lambda *call: seen.append(call[2][0].detach()))
    with torch.no_grad():
        outputs(own, lengths)
        attention.train()
        for _ in range(400):
            outputs(own, lengths)
    inside = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    expected, drawn = seen[0][inside], torch.stack(seen[1:])[:, inside]
    assert (drawn[0] - drawn[1]).abs().max() > 0.01
    error = drawn.std(0) / 400**0.5
    assert ((drawn.mean(0) - expected).abs() < 6 * error + 1e-6).all()
