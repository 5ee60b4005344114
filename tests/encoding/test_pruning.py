"""Layers and heads left out: what is kept computes what it did, what is dropped has no say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.pruning import drop_parts, keep_layers
from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.encoding import EncodingSettings, load_encoder
from recbole_ext.errors import ConfigurationError, EncoderError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.vectors.source import Made

ARCHITECTURES = ["bert", "roberta", "modernbert", "longformer", "gpt2"]
IDS = torch.tensor([[101, 2000, 2001, 102]])


@pytest.fixture(params=ARCHITECTURES)
def transformer(request: pytest.FixtureRequest, tiny_encoders: dict[str, Path]) -> Any:
    from transformers import AutoModel

    if request.param not in tiny_encoders:
        pytest.skip(f"no tiny {request.param}")
    return AutoModel.from_pretrained(tiny_encoders[request.param]).eval()


def layers_of(model: Any) -> torch.nn.ModuleList:
    return next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 2)


def output(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).last_hidden_state


def test_the_first_layers_alone_give_what_they_give_in_the_whole_encoder(transformer: Any) -> None:
    seen: list[torch.Tensor] = []
    layers_of(transformer)[0].register_forward_hook(
        lambda _, __, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    whole = output(transformer)
    keep_layers(transformer, 1)
    cut = output(transformer)
    torch.testing.assert_close(seen[0], seen[1])
    assert transformer.config.num_hidden_layers == 1
    assert not torch.allclose(whole, cut)


def test_all_layers_and_nothing_dropped_change_nothing(transformer: Any) -> None:
    whole = output(transformer)
    keep_layers(transformer, 2)
    drop_parts(transformer, [])
    assert torch.equal(output(transformer), whole)


def test_the_last_layer_dropped_is_the_first_one_kept(transformer: Any) -> None:
    kept = copy.deepcopy(transformer)
    keep_layers(kept, 1)
    drop_parts(transformer, ["2"])
    assert transformer.config.num_hidden_layers == 1
    assert torch.equal(output(transformer), output(kept))


def test_a_dropped_layers_weights_do_not_matter(transformer: Any) -> None:
    first = layers_of(transformer)[0]
    drop_parts(transformer, ["1"])
    before = output(transformer)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    assert torch.equal(output(transformer), before)


def test_a_layer_without_heads_attends_to_nothing(transformer: Any) -> None:
    """With every head of both layers dropped a token's output does not depend on the others."""
    whole = output(transformer)
    drop_parts(transformer, ["1.1", "1.2", "2.1", "2.2"])
    alone = output(transformer)
    with torch.no_grad():
        other = transformer(torch.tensor([[101, 2000, 2500, 3000]])).last_hidden_state
    torch.testing.assert_close(alone[:, :2], other[:, :2])
    assert not torch.allclose(whole, alone)


def test_a_dropped_head_is_the_mean_difference_that_the_head_made(tiny_encoders: dict[str, Path]) -> None:
    """BERT's attention output is linear in its heads: what both give is what each gives alone, added up."""
    from transformers import AutoModel

    def attended(parts: list[str]) -> torch.Tensor:
        model = AutoModel.from_pretrained(tiny_encoders["bert"]).eval()
        drop_parts(model, parts)
        seen: list[torch.Tensor] = []
        dense = layers_of(model)[0].attention.output.dense
        dense.register_forward_hook(lambda _, __, output: seen.append(output - dense.bias))
        output(model)
        return seen[0]

    torch.testing.assert_close(attended(["1.1"]) + attended(["1.2"]), attended([]))
    assert not attended(["1.1", "1.2"]).any()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["3"], "drop: '3' is no layer L or head L.H; the encoder has 2 layers of 2 heads"),
        (["0"], "'0' is no layer"),
        (["1.3"], "'1.3' is no layer"),
        (["one"], "'one' is no layer"),
        (["1", "2"], "no layer would be left"),
    ],
)
def test_what_is_not_there_can_not_be_dropped(tiny_encoders: dict[str, Path], parts: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_encoder(resolve_encoder(str(tiny_encoders["bert"])), EncodingSettings(drop=tuple(parts)))


def test_more_layers_than_there_are_is_an_error_that_says_how_many(tiny_encoders: dict[str, Path]) -> None:
    with pytest.raises(ConfigurationError, match="1 to 2"):
        load_encoder(resolve_encoder(str(tiny_encoders["bert"])), EncodingSettings(layers=3))


def test_a_layer_that_hides_its_heads_is_named() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
            self.config = type("Config", (), {"num_hidden_layers": 2, "num_attention_heads": 2})()

    with pytest.raises(EncoderError, match="Linear hides where its heads come together"):
        drop_parts(Odd(), ["1.1"])


def test_a_store_says_what_its_encoder_went_without(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    def encode(*drop: int | str) -> Made:
        source = Encoder(encoder=str(tiny_encoders["bert"]), drop=drop)
        return source.make(Dataset.named("tiny", atomic_folder), tmp_path / "store", tmp_path)

    whole, pruned, again = encode(), encode(1, "2.1"), encode("2.1", 1)
    assert (whole.up_to_date, pruned.up_to_date, again.up_to_date) == (False, False, True)
    assert ItemEmbeddingStore.load(tmp_path / "store").meta["request"]["drop"] == ["1", "2.1"]
