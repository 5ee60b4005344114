"""Every loss equals its equation written out, in double precision, with its gradients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from recbole_ext.errors import ConfigurationError
from recbole_ext.training import losses
from recbole_ext.training.losses import (
    binary_loss,
    gbce_loss,
    sampled_softmax_loss,
    sce_loss,
    softmax_loss,
    training_loss,
)
from recbole_ext.training.samples import choose_samples

Build = Callable[..., SimpleNamespace]


def problem(n_items: int = 50, n_targets: int = 23) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(n_targets, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    items = torch.randn(n_items, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(n_items, generator=generator, dtype=torch.float64, requires_grad=True)
    return outputs, items, torch.randint(1, n_items, (n_targets,), generator=generator), bias


def assert_equal_with_gradients(found: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    wanted, got = (torch.autograd.grad(loss, inputs) for loss in (expected, found))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(wanted, got, strict=True))


# --- softmax ---


@pytest.mark.parametrize("chunk", [1000, 7, 1], ids=["at once", "chunks of 7", "chunks of 1"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_softmax_is_exact_however_it_is_chunked(monkeypatch: pytest.MonkeyPatch, chunk: int, with_bias: bool) -> None:
    outputs, items, target, bias = problem()
    monkeypatch.setattr(losses, "MAXIMUM_LOGITS", 50 * chunk)
    expected = cross_entropy(outputs @ items.T + (bias if with_bias else 0), target)
    found = softmax_loss(outputs, items, target, bias if with_bias else None)
    assert_equal_with_gradients(found, expected, [outputs, items, *([bias] if with_bias else [])])


def test_softmax_of_huge_logits_neither_overflows_nor_loses_a_target_that_is_far_below() -> None:
    outputs, items, target, _ = (part.detach().float() if part.is_floating_point() else part for part in problem())
    outputs.requires_grad_()
    found = softmax_loss(outputs * 1000, items, target)
    expected = cross_entropy(outputs.double() * 1000 @ items.double().T, target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    assert outputs.grad is not None and outputs.grad.isfinite().all()


@given(n_items=st.integers(2, 40), n_targets=st.integers(1, 40), limit=st.integers(1, 2000), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_softmax_is_exact_for_any_shape(n_items: int, n_targets: int, limit: int, seed: int) -> None:
    torch.manual_seed(seed)
    outputs, items = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (n_targets, n_items))
    target = torch.randint(0, n_items, (n_targets,))
    before, losses.MAXIMUM_LOGITS = losses.MAXIMUM_LOGITS, limit
    try:
        found = softmax_loss(outputs, items, target)
    finally:
        losses.MAXIMUM_LOGITS = before
    assert_equal_with_gradients(found, cross_entropy(outputs @ items.T, target), [outputs, items])


def test_a_softmax_without_gradient_is_the_same_number() -> None:
    outputs, items, target, bias = problem()
    expected = softmax_loss(outputs, items, target, bias).item()
    with torch.no_grad():
        assert softmax_loss(outputs, items, target, bias).item() == expected


def test_softmax_never_holds_all_logits_at_once() -> None:
    outputs, items, target = torch.randn(3000, 4), torch.randn(2000, 4), torch.randint(1, 2000, (3000,))
    assert losses._targets_at_once(items) * len(items) <= losses.CACHED_LOGITS < len(target) * len(items)
    largest = 0

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor):
                largest = max(largest, made.numel())
            return made

    with Watching():
        softmax_loss(outputs, items, target)
    assert largest <= losses.CACHED_LOGITS


# --- sampled softmax ---


def test_sampled_softmax_over_all_other_items_is_the_softmax() -> None:
    outputs, items, target, bias = problem()
    everything = torch.arange(len(items))
    found = sampled_softmax_loss(outputs, items, target, everything, bias)
    logits = outputs @ items.T + bias
    correction = torch.log(torch.tensor((len(items) - 1) / len(items), dtype=torch.float64))
    own = torch.nn.functional.one_hot(target, len(items)).bool()
    expected = cross_entropy(torch.where(own, logits, logits + correction), target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_sampled_softmax_estimates_the_softmax_better_with_more_samples() -> None:
    outputs, items, target, _ = problem(n_items=2000, n_targets=200)
    expected = softmax_loss(outputs, items, target).item()
    torch.manual_seed(0)

    def error(n_sampled: int) -> float:
        drawn = [
            sampled_softmax_loss(outputs, items, target, torch.randint(1, 2000, (n_sampled,))).item() for _ in range(10)
        ]
        return abs(sum(drawn) / len(drawn) - expected)

    assert error(1500) < error(5) / 4


@pytest.mark.parametrize("logq", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_sampled_softmax_is_its_equation(shared: bool, logq: bool) -> None:
    outputs, items, target, bias = problem()
    negatives = drawn(shared)
    scores = outputs @ items.T + bias
    total = torch.zeros((), dtype=torch.float64)
    for row, own in enumerate(target.tolist()):
        others = [item for item in (negatives if shared else negatives[row]).tolist() if item != own]
        weight = 49 / 300 if logq else 1.0
        total = total - scores[row, own]
        total = total + (scores[row, own].exp() + weight * scores[row, others].exp().sum()).log()
    found = sampled_softmax_loss(outputs, items, target, negatives, bias, logq)
    assert_equal_with_gradients(found, total / len(target), [outputs, items, bias])


def drawn(shared: bool, n_targets: int = 23, n_items: int = 50, sampled: int = 300) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(1, n_items, (sampled,) if shared else (n_targets, sampled), generator=generator)


@pytest.mark.parametrize("n_items", [60, 3000], ids=["from all scores", "from each one's vector"])
def test_scores_of_own_negatives_are_their_dot_products(monkeypatch: pytest.MonkeyPatch, n_items: int) -> None:
    outputs, items, _, _ = problem(n_items=n_items)
    negatives = drawn(shared=False, n_items=n_items, sampled=20)
    monkeypatch.setattr(losses, "CACHED_LOGITS", 20 * 8 * 5)
    found = losses._scores_of_sampled(outputs, items, negatives, None)
    expected = torch.einsum("td,tkd->tk", outputs, items[negatives])
    assert torch.allclose(found, expected, rtol=1e-12)
    weights = torch.randn(found.shape, dtype=torch.float64)
    assert_equal_with_gradients((found * weights).sum(), (expected * weights).sum(), [outputs, items])


# --- binary cross-entropy and gBCE ---


def test_binary_loss_is_minus_log_sigmoid_of_target_and_of_turned_negatives_from_their_prior() -> None:
    outputs, items, target, bias = problem()
    negatives = torch.randint(1, 50, (len(target), 3))
    expected = 0.0
    for row in range(len(target)):
        score = outputs[row] @ items[target[row]] + bias[target[row]] - math.log(3)
        expected -= torch.sigmoid(score).log().item()
        for negative in negatives[row]:
            score = outputs[row] @ items[negative] + bias[negative] - math.log(3)
            expected -= torch.sigmoid(-score).log().item()
    found = binary_loss(outputs, items, target, negatives, bias)
    assert found.item() == pytest.approx(expected / len(target), rel=1e-10)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("t", [0.0, 0.75, 1.0])
def test_gbce_is_its_equation(t: float, shared: bool) -> None:
    outputs, items, target, bias = problem()
    negatives = drawn(shared, sampled=12)
    alpha = 12 / 48  # 49 items, the target is not among the others
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    assert {0.0: 1.0, 1.0: alpha}.get(t, beta) == pytest.approx(beta)
    scores = outputs @ items.T + bias + math.log(beta / 12)
    total = torch.zeros((), dtype=torch.float64)
    for row, own in enumerate(target.tolist()):
        others = negatives if shared else negatives[row]
        total = total - (torch.sigmoid(scores[row, own]) ** beta).log()
        total = total - (1 - torch.sigmoid(scores[row, others])).log().sum()
    found = gbce_loss(outputs, items, target, negatives, bias, t)
    assert_equal_with_gradients(found, total / len(target) / beta, [outputs, items, bias])


def test_one_negative_has_the_prior_of_the_papers_bce() -> None:
    outputs, items, target, _ = problem()
    negatives = drawn(shared=False, sampled=1)
    scores = [(outputs * items[of]).sum(1) for of in (target, negatives.squeeze(1))]
    expected = -(torch.sigmoid(scores[0]).log() + (1 - torch.sigmoid(scores[1])).log()).mean()
    assert_equal_with_gradients(binary_loss(outputs, items, target, negatives), expected, [outputs, items])


@pytest.mark.parametrize("t", [0.0, 0.75, 1.0])
def test_where_all_items_are_alike_gbce_pushes_their_scores_nowhere_in_common(t: float) -> None:
    """What all items share has no gradient at the beginning, so that they need not first grow it."""
    outputs, items = torch.ones(1200, 1, dtype=torch.float64), torch.zeros(50, 1, dtype=torch.float64)
    items.requires_grad_()
    target = torch.arange(1200) % 49 + 1
    loss = gbce_loss(outputs, items, target, torch.arange(12).expand(1200, 12) + 1, t=t)
    (gradient,) = torch.autograd.grad(loss, [items])
    assert gradient.sum().item() == pytest.approx(0, abs=1e-3 * gradient.abs().max().item())


def test_gbce_without_calibration_is_bce() -> None:
    outputs, items, target, bias = problem()
    negatives = drawn(shared=False, sampled=7)
    found = gbce_loss(outputs, items, target, negatives, bias, t=0.0)
    assert found.item() == pytest.approx(binary_loss(outputs, items, target, negatives, bias).item(), rel=1e-12)


def test_more_negatives_than_items_count_as_all_of_them() -> None:
    outputs, items, target, _ = problem(n_items=5)
    negatives = torch.randint(1, 5, (len(target), 256))
    assert gbce_loss(outputs, items, target, negatives, t=1.0).item() == pytest.approx(
        gbce_loss(outputs, items, target, negatives, t=0.0).item()
    )


@pytest.mark.parametrize("n_items", [100, 10_000])  # all are scored, or each target's negatives alone
@pytest.mark.parametrize("kind", ["bce", "gbce", "sampled_softmax", "sce"])
def test_a_sampled_loss_is_computed_in_full_precision_under_autocast(kind: str, n_items: int) -> None:
    config = defaultdict(
        lambda: None, {"training_loss": kind, "training_negatives": 32, "training_negatives_shared": False}
    )
    loss = training_loss(config)
    assert loss is not None
    items = (torch.randn(n_items, 8) * 0.02).requires_grad_()
    hidden, target = torch.randn(64, 8), torch.randint(1, n_items, (64,))
    gradients = []
    for precision in (torch.float16, None):
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
            value = loss(hidden.half() if precision else hidden.half().float(), items, target, None)
        gradients.append(torch.autograd.grad(value, [items])[0])
    assert torch.equal(*gradients) and gradients[0].any()


# --- SCE ---


@pytest.mark.parametrize("with_bias", [True, False])
def test_sce_is_its_equation(with_bias: bool) -> None:
    outputs, items, target, bias = problem(n_items=80, n_targets=40)
    scores = outputs @ items.T + (bias if with_bias else 0)
    n, candidates = round(2 * math.sqrt(40)), 11
    torch.manual_seed(5)
    centres = torch.randn(n, 40, dtype=torch.float64) @ outputs.detach()
    of_target: dict[int, list[torch.Tensor]] = defaultdict(list)
    for centre in centres:
        rows = (outputs @ centre).argsort(descending=True)[:n]
        nearest = [item + 1 for item in (items[1:] @ centre).argsort(descending=True)[:candidates].tolist()]
        for row in rows.tolist():
            own = int(target[row])
            others = [item for item in nearest if item != own]
            logits = torch.cat([scores[row, [own]], scores[row, others]])
            of_target[row].append(cross_entropy(logits, torch.tensor(0)))
    expected = torch.stack([torch.stack(found).max() for found in of_target.values()]).mean()
    assert any(len(found) > 1 for found in of_target.values())
    torch.manual_seed(5)
    found = sce_loss(outputs, items, target, candidates, bias if with_bias else None)
    assert_equal_with_gradients(found, expected, [outputs, items, *([bias] if with_bias else [])])


def test_sce_of_buckets_that_hold_everything_is_the_softmax_over_the_items() -> None:
    outputs, items, target, bias = problem()
    found = sce_loss(outputs, items, target, 49, bias, spread=10.0)
    expected = cross_entropy((outputs @ items.T + bias)[:, 1:], target - 1)
    assert_equal_with_gradients(found, expected, [outputs, items, bias])


# --- the keys ---


def asked_for(**keys: Any) -> Any:
    config = defaultdict(lambda: None, keys)
    return training_loss(config)


@pytest.mark.parametrize("kind", ["sampled_softmax", "bce", "gbce", "sce"])
def test_the_keys_reach_the_loss_and_draws_follow_the_seed(kind: str) -> None:
    outputs, items, target, bias = problem()

    def value(seed: int = 1, **keys: Any) -> float:
        torch.manual_seed(seed)
        keys = {"training_negatives": 5, **keys}
        return asked_for(training_loss=kind, **keys)(outputs, items, target, bias).item()

    assert value() == value() != value(seed=2)
    assert value() != value(training_negatives=6)
    if kind != "sce":
        assert value(training_negatives_shared=True) != value(training_negatives_shared=False)
    assert (value(gbce_t=0.1) != value(gbce_t=0.9)) is (kind == "gbce")
    assert (value(training_logq=False) != value(training_logq=True)) is (kind == "sampled_softmax")


def test_the_defaults_are_those_of_the_papers() -> None:
    outputs, items, target, bias = problem()
    torch.manual_seed(3)
    found = asked_for(training_loss="gbce")(outputs, items, target, bias)
    torch.manual_seed(3)
    negatives = torch.randint(1, 50, (23, 256))
    assert found.item() == gbce_loss(outputs, items, target, negatives, bias, 0.75).item()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"training_loss": "focal"}, "training_loss: 'focal' is unknown; choose one of model, softmax"),
        ({"training_loss": "bce", "training_negatives": 0}, "training_negatives: 0 is not a whole number from 1"),
        ({"training_loss": "gbce", "training_negatives": "many"}, "training_negatives: 'many'"),
        ({"training_loss": "gbce", "gbce_t": 1.5}, "gbce_t: 1.5 is not a number from 0"),
        ({"training_loss": "gbce", "training_negatives_shared": "yes"}, "training_negatives_shared: 'yes'"),
    ],
)
def test_a_key_with_a_wrong_value_is_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        asked_for(**keys)


# --- in a model ---


@pytest.mark.parametrize("kind", losses.TRAINING_LOSSES[1:])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "NARM", "STAMP", "LightSANs"])
def test_every_sequential_model_takes_every_loss(build: Build, model: str, kind: str) -> None:
    built = build(model, training_loss=kind, training_negatives=4)
    samples = choose_samples(built.config, built.model, built.loaders)
    batch = next(iter(samples.loader))
    torch.manual_seed(0)
    if samples.loss_of_rows is None:
        batch = batch[0] if isinstance(batch, tuple) else batch
        loss = built.model.calculate_loss(batch)
    else:
        loss = samples.loss_of_rows(built.model, batch[0])
    loss.backward()
    assert loss.isfinite() and built.model.item_embedding.weight.grad.abs().max() > 0


@pytest.mark.parametrize("model", ["SASRec", "NARM", "STAMP"])
def test_asking_for_the_softmax_changes_nothing_for_a_model_that_learns_by_it(build: Build, model: str) -> None:
    def first_loss(**keys: Any) -> float:
        built = build(model, hidden_dropout_prob=0, attn_dropout_prob=0, dropout_probs=[0, 0], **keys)
        samples = choose_samples(built.config, built.model, built.loaders)
        built.model.double()
        batch = next(iter(samples.loader))
        return (
            samples.loss_of_rows(built.model, batch[0]) if samples.loss_of_rows else built.model.calculate_loss(batch)
        ).item()

    assert first_loss() == pytest.approx(first_loss(training_loss="softmax"), rel=1e-9)


@pytest.mark.parametrize("samples", ["user", "augmented"])
def test_on_rows_and_on_recboles_samples_the_loss_is_the_same(build: Build, samples: str) -> None:
    """The same negatives for all targets, so that which target meets which is no question of the path."""
    built = build(
        "SASRec",
        training_samples=samples,
        training_loss="gbce",
        hidden_dropout_prob=0,
        attn_dropout_prob=0,
        train_batch_size=100_000,
        training_negatives_shared=True,
    )
    chosen = choose_samples(built.config, built.model, built.loaders)
    built.model.double()
    torch.manual_seed(1)
    negatives = torch.randint(1, 61, (256,))
    batch = next(iter(chosen.loader))
    torch.manual_seed(1)
    loss = chosen.loss_of_rows(built.model, batch[0]) if chosen.loss_of_rows else built.model.calculate_loss(batch)
    dataset = built.loaders.train._dataset
    whole = dataset[torch.arange(len(dataset))]
    outputs = built.model.forward(whole["item_id_list"], whole["item_length"])
    expected = gbce_loss(outputs, built.model.item_embedding.weight, whole["item_id"], negatives)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_a_model_that_a_loss_does_not_fit_is_refused(build: Build) -> None:
    sampling = {"distribution": "uniform", "sample_num": 1}
    other = build("FPMC", training_loss="bce", train_neg_sample_args=sampling)
    with pytest.raises(ConfigurationError, match="training_loss: FPMC does not score by a dot product"):
        choose_samples(other.config, other.model, other.loaders)
    more = build("SASRec", training_loss="bce", training_samples="augmented")
    own = more.model.calculate_loss
    more.model.calculate_loss = lambda interaction: own(interaction) + 1
    with pytest.raises(ConfigurationError, match="training_loss: SASRec adds to the loss of its scores"):
        choose_samples(more.config, more.model, more.loaders)
