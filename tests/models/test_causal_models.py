"""ESASRec, GSASRec and HSTU: each layer is its equation, and no output reads what comes later."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import layer_norm, normalize

from recbole_ext.errors import ConfigurationError
from recbole_ext.models import model_class
from recbole_ext.models.esasrec import LiGRLayer
from recbole_ext.models.hstu import TransductionUnit
from recbole_ext.training.losses import gbce_loss, sampled_softmax_loss
from recbole_ext.training.samples import choose_samples

Build = Callable[..., SimpleNamespace]
MODELS = ["ESASRec", "GSASRec", "HSTU"]
OWN = ["ESASRec", "HSTU"]


def shaken(layer: torch.nn.Module) -> torch.nn.Module:
    """In double precision, with biases and norms that are not zeros and ones."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in layer.double().parameters():
            parameter.normal_(std=0.4)
    return layer.eval()


def test_a_ligr_layer_is_its_equation() -> None:
    layer = shaken(LiGRLayer(8, 2, 12, 0.5, 0.5))
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    n = layer_norm(x, [8], layer.attention_norm.weight, layer.attention_norm.bias)
    q, k, v = (n @ layer.read.weight.T + layer.read.bias).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[..., head] @ k[..., head].transpose(1, 2) / math.sqrt(4)
        later = torch.ones(5, 5).triu(1).bool()
        heads.append(scores.masked_fill(later, -torch.inf).softmax(-1) @ v[..., head])
    attended = torch.cat(heads, dim=-1) @ layer.write.weight.T + layer.write.bias
    x2 = x + torch.sigmoid(x @ layer.attention_gate.weight.T + layer.attention_gate.bias) * attended
    n = layer_norm(x2, [8], layer.inner_norm.weight, layer.inner_norm.bias)
    first, third = (n @ layer.up.weight.T).split(12, dim=-1)
    inner = (first * torch.sigmoid(first) * third) @ layer.down.weight.T
    expected = x2 + torch.sigmoid(x2 @ layer.inner_gate.weight.T + layer.inner_gate.bias) * inner
    assert torch.allclose(layer(x), expected, atol=1e-10)


def test_a_transduction_unit_is_its_equation() -> None:
    layer = shaken(TransductionUnit(8, 2, 7, 0.5))
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    projected = layer_norm(x, [8], eps=1e-6) @ layer.read.weight.T
    u, v, q, k = (projected * torch.sigmoid(projected)).split(8, dim=-1)
    read = torch.zeros_like(x)
    for row in range(3):
        for head in (slice(0, 4), slice(4, 8)):
            for i in range(5):
                for j in range(i + 1):
                    score = q[row, i, head] @ k[row, j, head] + layer.by_distance[i - j]
                    read[row, i, head] += score * torch.sigmoid(score) / 7 * v[row, j, head]
    expected = x + (layer_norm(read, [8], eps=1e-6) * u) @ layer.write.weight.T + layer.write.bias
    assert torch.allclose(layer(x), expected, atol=1e-10)


@pytest.mark.parametrize("layer", [LiGRLayer(8, 2, 12, 0.5, 0.5), TransductionUnit(8, 2, 7, 0.5)])
def test_no_layer_reads_a_later_position(layer: torch.nn.Module) -> None:
    layer = shaken(layer)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3:] += 1
    assert torch.allclose(layer(x)[:, :3], layer(changed)[:, :3], atol=1e-12)
    assert not torch.allclose(layer(x)[:, 3:], layer(changed)[:, 3:], atol=1e-3)


@pytest.mark.parametrize("model", OWN)
def test_items_enter_with_their_position_and_score_what_comes_out(build: Build, model: str) -> None:
    built = build(model, temperature=None).model.eval()
    items, length = torch.tensor([[5, 7, 9, 0]]), torch.tensor([3])
    hidden = built.item_embedding.weight[items[:, :3]] * {"ESASRec": 1, "HSTU": 4}[model]
    hidden = built.trm_encoder(hidden + built.position_embedding.weight[:3])[:, -1]
    assert torch.allclose(built.forward(items, length), hidden, atol=1e-6)
    scores = built.full_sort_predict({"item_id_list": items, "item_length": length})
    assert torch.allclose(scores, hidden @ built.item_embedding.weight.T, atol=1e-6)


def test_hstu_scores_by_the_cosine_over_its_temperature(build: Build) -> None:
    built = build("HSTU").model.eval()
    batch = {"item_id_list": torch.tensor([[5, 7, 9]]), "item_length": torch.tensor([3])}
    scores = built.full_sort_predict(batch)
    built.temperature = None
    outputs = built.forward(batch["item_id_list"], batch["item_length"])
    assert torch.allclose(scores * 0.05, normalize(outputs) @ normalize(built.item_embedding.weight).T, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_is_the_papers(build: Build, model: str) -> None:
    built = build(model, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    samples = choose_samples(built.config, built.model, built.loaders)
    assert samples.name == "user" and samples.loss_of_rows is not None
    rows = next(iter(samples.loader))[0]
    target, k = rows["item_id"], {"ESASRec": 256, "GSASRec": 256, "HSTU": 128}[model]
    torch.manual_seed(1)
    found = samples.loss_of_rows(built.model, rows)
    torch.manual_seed(1)
    negatives = torch.randint(1, 61, (len(target), k))
    items = built.model.item_embedding.weight
    from recbole_ext.training.objective import outputs_at_targets

    outputs = outputs_at_targets(built.model, rows)
    if model == "GSASRec":
        expected = gbce_loss(outputs, items, target, negatives, None, 0.75)
    else:
        scored = normalize(items, dim=-1) if model == "HSTU" else items
        expected = sampled_softmax_loss(outputs, scored, target, negatives, None, logq=False)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_which_item_follows_which(build: Build, model: str) -> None:
    """Item i + 1 follows item i: a few steps are enough to rank it high."""
    built = build(model, MAX_ITEM_LIST_LENGTH=8)
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(built.model.parameters(), lr=0.01)
    start = torch.randint(1, 50, (200, 1))
    rows = start + torch.arange(8)
    batch = {
        "item_id_list": rows,
        "item_length": torch.full((200,), 8),
        "item_id": rows[:, -1] + 1,
    }
    for _ in range(150):
        optimiser.zero_grad()
        built.model.calculate_loss(batch).backward()
        optimiser.step()
    built.model.eval()
    best = built.model.full_sort_predict(batch).argmax(dim=1)
    assert (best == batch["item_id"]).float().mean() > 0.8


@pytest.mark.parametrize("model", OWN)
def test_what_it_cannot_be_is_said(build: Build, model: str) -> None:
    with pytest.raises(ConfigurationError, match="n_heads: 16 .* 3 equal heads"):
        build(model, n_heads=3)
    with pytest.raises(ConfigurationError, match=f"loss_type: {model} is trained with CE"):
        build(model, loss_type="BPR")


@pytest.mark.parametrize("model", MODELS)
def test_its_file_says_which_paper_and_what_is_left_out(model: str) -> None:
    text = inspect.getdoc(inspect.getmodule(model_class(model))) or ""
    assert "arXiv" in text and "Left out" in text and "Differs" in text
