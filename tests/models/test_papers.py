"""Known answers: each model computes what its paper says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

from recbole_ext.errors import ConfigurationError

Build = Callable[..., SimpleNamespace]


def function_of(built: SimpleNamespace) -> torch.nn.Module:
    return built.model.eval().item_embedding.parametrizations.weight[0]


# --- UniSRec ---


def test_the_adaptor_mixes_whitenings_by_its_gate(build_on_vectors: Build) -> None:
    built = build_on_vectors("UniSRec", n_experts=2)
    adaptor = function_of(built)
    x = built.vectors
    with torch.no_grad():
        for expert, shift in zip(adaptor.experts, (1.0, -2.0), strict=True):
            expert.shift.fill_(shift)
        adaptor.gate.normal_()
    first, second = ((x - expert.shift) @ expert.project.weight.T for expert in adaptor.experts)
    share = torch.sigmoid(x @ (adaptor.gate[:, 0] - adaptor.gate[:, 1])).unsqueeze(1)
    assert torch.allclose(built.model.item_embedding.weight[1:], share * first + (1 - share) * second, atol=1e-5)


def test_the_gate_is_noisy_in_training_alone(build_on_vectors: Build) -> None:
    built = build_on_vectors("UniSRec", adaptor_dropout_prob=0.0)
    assert not torch.equal(built.model.train().item_embedding.weight, built.model.item_embedding.weight)
    assert torch.equal(built.model.eval().item_embedding.weight, built.model.item_embedding.weight)


def test_text_and_id_is_the_sum_of_both(build_on_vectors: Build) -> None:
    built = build_on_vectors("UniSRecID", temperature=None)
    adaptor = function_of(built)
    ids = built.model.item_embedding.parametrizations.weight.original
    assert ids.shape == (61, 16)
    items = built.model.item_embedding.weight
    assert torch.allclose(items[1:], ids[1:] + adaptor.item_rows(), atol=1e-6) and torch.equal(items[0], ids[0])
    samples = built.loaders.train._dataset[torch.arange(30)]
    outputs = built.model.forward(samples["item_id_list"], samples["item_length"])
    both = outputs @ ids[1:].T + outputs @ adaptor.item_rows().T
    assert torch.allclose(built.model.full_sort_predict(samples)[:, 1:], both, atol=1e-5)


def test_scores_are_cosines_over_the_temperature(build_on_vectors: Build) -> None:
    built = build_on_vectors("UniSRec")
    function_of(built)
    samples = built.loaders.train._dataset[torch.arange(30)]
    scores = built.model.full_sort_predict(samples) * 0.07
    built.model.temperature = None
    outputs = built.model.forward(samples["item_id_list"], samples["item_length"])
    assert torch.allclose(scores, normalize(outputs) @ normalize(built.model.item_embedding.weight).T, atol=1e-5)


def test_the_adaptor_sees_each_distinct_item_once_whatever_the_batch(build_on_vectors: Build) -> None:
    built = build_on_vectors("UniSRec")
    rows: list[int] = []
    for expert in built.model.item_embedding.parametrizations.weight[0].experts:
        expert.register_forward_hook(lambda module, given, made: rows.append(len(made)))
    dataset = built.loaders.train._dataset
    samples = dataset[torch.arange(len(dataset))]
    assert samples["item_id_list"].numel() > 20 * 60
    built.model.calculate_loss(samples)
    assert rows == [60] * 8


# --- ZESRec ---


def test_items_are_one_linear_layer_of_their_text(build_on_vectors: Build) -> None:
    built = build_on_vectors("ZESRec")
    layer = function_of(built).project
    expected = built.vectors @ layer.weight.T + layer.bias
    assert torch.allclose(built.model.item_embedding.weight[1:], expected, atol=1e-5)


# --- WhitenRec ---


def test_what_is_projected_has_identity_covariance(build_on_vectors: Build) -> None:
    whitened = function_of(build_on_vectors("WhitenRec")).vectors.double()
    assert whitened.shape == (60, 24) and whitened.mean(0).abs().max() < 1e-5
    assert torch.allclose(whitened.T @ whitened / 60, torch.eye(24, dtype=torch.float64), atol=1e-4)


def test_the_projection_has_one_hidden_layer(build_on_vectors: Build) -> None:
    built = build_on_vectors("WhitenRec")
    function = function_of(built)
    _, first, _, _, second = function.project
    hidden = (function.vectors @ first.weight.T + first.bias).clamp_min(0)
    expected = hidden @ second.weight.T + second.bias
    assert torch.allclose(built.model.item_embedding.weight[1:], expected, atol=1e-6)


# --- AlphaFuse ---


@pytest.mark.parametrize("cover", [False, True])
def test_learning_leaves_the_language_untouched_outside_the_null_space(build_on_vectors: Build, cover: bool) -> None:
    built = build_on_vectors("AlphaFuse", null_dim=4, cover=cover)
    model, before = built.model, built.model.item_embedding.weight[1:].detach().clone()
    optimiser = torch.optim.SGD(model.parameters(), lr=10.0)
    dataset = built.loaders.train._dataset
    model.calculate_loss(dataset[torch.arange(len(dataset))]).backward()
    optimiser.step()
    after = model.item_embedding.weight[1:].detach()
    assert torch.equal(after[:, :12], before[:, :12])
    assert (after[:, 12:] != before[:, 12:]).any(dim=1).all()


def test_the_language_is_its_strongest_axes_standardised(build_on_vectors: Build) -> None:
    built = build_on_vectors("AlphaFuse", null_dim=4)
    language = function_of(built).vectors.double()
    assert torch.allclose(language.T @ language / 60, torch.eye(16, dtype=torch.float64), atol=1e-4)
    centred = (built.vectors - built.vectors.mean(0)).double()
    axes = torch.linalg.svd(centred.T @ centred).U
    # Along the axes left out and along the null space there is less to say than along any axis that is kept.
    strengths = (centred @ axes).std(0)
    correlation = torch.corrcoef(torch.cat([language, centred @ axes], dim=1).T)[:16, 16:].abs()
    assert torch.equal(correlation.argmax(dim=1), torch.arange(16)) and (correlation.max(dim=1).values > 0.999).all()
    assert (strengths.diff() < 0).all()


def test_cover_drops_the_language_of_the_null_space(build_on_vectors: Build) -> None:
    kept = function_of(build_on_vectors("AlphaFuse", null_dim=4)).vectors
    covered = function_of(build_on_vectors("AlphaFuse", null_dim=4, cover=True)).vectors
    assert torch.equal(covered[:, :12], kept[:, :12])
    assert (covered[:, 12:] == 0).all() and (kept[:, 12:] != 0).any()


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"hidden_size": 32, "null_dim": 4}, "hidden_size: .* only 24"), ({"null_dim": 17}, "null_dim: .* 1 to 16")],
)
def test_a_width_that_does_not_fit_is_said(build_on_vectors: Build, keys: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_on_vectors("AlphaFuse", **keys)
