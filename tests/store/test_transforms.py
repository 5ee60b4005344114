from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.errors import ConfigurationError
from recbole_ext.store import transforms
from recbole_ext.store.transforms import Rows, apply_transforms, directions, transformed


def vectors(seed: int, n: int = 50, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator)
    return torch.randn(n, width, generator=generator) @ mix + 3


SEEDS = st.integers(0, 10_000)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_center_leaves_a_zero_mean(seed: int) -> None:
    assert apply_transforms(vectors(seed), ["center"]).mean(0).abs().max() < 1e-5


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_l2_leaves_unit_norms_and_a_zero_vector_at_zero(seed: int) -> None:
    given_vectors = torch.cat([vectors(seed), torch.zeros(1, 8)])
    norms = apply_transforms(given_vectors, ["l2"]).norm(dim=1)
    assert torch.allclose(norms[:-1], torch.ones(50)) and norms[-1] == 0


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_whiten_makes_the_covariance_the_identity(seed: int) -> None:
    whitened = apply_transforms(vectors(seed), ["whiten"]).double()
    assert torch.allclose(whitened.T @ whitened / 50, torch.eye(8, dtype=torch.float64), atol=1e-4)


def test_whiten_zeroes_axes_without_variance_instead_of_blowing_them_up() -> None:
    flat = torch.cat([vectors(1), torch.ones(50, 2)], dim=1)
    whitened = apply_transforms(flat, ["whiten"])
    assert whitened.isfinite().all() and whitened[:, -2:].abs().max() < 1e-3


@given(SEEDS, st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_pca_keeps_the_most_variance_any_projection_of_that_width_can(seed: int, width: int) -> None:
    given_vectors = vectors(seed)
    kept = apply_transforms(given_vectors, [{"pca": width}])
    singular = torch.linalg.svdvals((given_vectors - given_vectors.mean(0)).double())
    assert kept.shape == (50, width)
    assert torch.allclose(kept.double().pow(2).sum(), singular[:width].pow(2).sum(), rtol=1e-4)


def test_pca_at_full_width_keeps_all_distances() -> None:
    given_vectors = vectors(3)
    kept = apply_transforms(given_vectors, [{"pca": 8}])
    assert torch.allclose(torch.pdist(kept), torch.pdist(given_vectors), rtol=1e-4)


def test_pca_of_fewer_items_than_components_is_refused_and_width_adds_zeros_instead() -> None:
    few = vectors(0, n=5)
    with pytest.raises(ConfigurationError, match=r"the 5 here vary along 4 axes. Write \{pca: 4\}"):
        apply_transforms(few, [{"pca": 6}])
    widened = apply_transforms(few, [{"width": 6}])
    assert torch.allclose(widened[:, :4], apply_transforms(few, [{"pca": 4}])) and not widened[:, 4:].any()


@given(SEEDS, st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_select_keeps_the_columns_of_the_largest_variance_in_their_order(seed: int, width: int) -> None:
    given_vectors = vectors(seed)
    kept = apply_transforms(given_vectors, [{"select": width}])
    chosen = sorted(given_vectors.double().var(dim=0).argsort(descending=True)[:width].tolist())
    assert torch.equal(kept, given_vectors[:, chosen])


@given(SEEDS, st.floats(0.001, 10))
@settings(max_examples=20, deadline=None)
def test_scale_sets_the_standard_deviation_over_all_entries(seed: int, deviation: float) -> None:
    assert apply_transforms(vectors(seed), [{"scale": deviation}]).std(correction=0).item() == pytest.approx(
        deviation, rel=1e-4
    )


def test_transforms_apply_in_the_order_given() -> None:
    given_vectors = vectors(5)
    there = apply_transforms(given_vectors, ["center", "l2"])
    back = apply_transforms(given_vectors, ["l2", "center"])
    assert torch.allclose(there.norm(dim=1), torch.ones(50)) and not torch.allclose(there, back)


def test_the_order_of_items_does_not_matter() -> None:
    given_vectors, order = vectors(6), torch.randperm(50)
    steps = ["center", {"pca": 4}, "whiten", {"scale": 0.02}]
    assert torch.allclose(
        apply_transforms(given_vectors, steps)[order], apply_transforms(given_vectors[order], steps), atol=1e-6
    )


@pytest.mark.parametrize(
    "step",
    [
        "centre",
        {"pca": 0},
        {"pca": 9},
        {"pca": "8"},
        {"pca": True},
        {"width": 0},
        {"width": "8"},
        {"select": 9},
        {"select": 0},
        {"scale": 0},
        {"scale": -1},
        {"l2": 3},
        7,
    ],
)
def test_a_wrong_transform_is_an_error_that_names_the_key(step: object) -> None:
    with pytest.raises(ConfigurationError, match="transform|scale needs a number"):
        apply_transforms(vectors(1), [step])


@pytest.mark.parametrize(
    "steps", [["center"], ["l2"], ["whiten"], [{"pca": 3}], [{"select": 3}], [{"scale": 0.02}], ["center", {"pca": 4}]]
)
def test_others_go_the_way_of_the_vectors_that_the_transforms_were_fitted_on(steps: list[object]) -> None:
    fitted_on, others = vectors(1), vectors(2)
    fitted = transformed(Rows(fitted_on), steps)
    theirs = Rows(torch.cat([fitted_on[:5], others]), transforms=fitted.transforms).gathered()
    assert torch.allclose(theirs[:5], apply_transforms(fitted_on, steps)[:5], atol=1e-6)
    assert torch.allclose(theirs[5:6], Rows(others[:1], transforms=fitted.transforms).gathered(), atol=1e-6)


STEPS: list[list[object]] = [
    [],
    ["center"],
    ["l2"],
    ["whiten"],
    [{"pca": 3}],
    [{"width": 3}],
    [{"width": 12}],
    [{"select": 3}],
    [{"scale": 0.02}],
    ["center", "l2", {"pca": 5}, "whiten", {"scale": 0.02}],
]


@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("some", [False, True], ids=["fitted on all", "fitted on some"])
def test_in_how_many_pieces_vectors_are_read_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, steps: list[object], some: bool
) -> None:
    given_vectors, fitted_on = vectors(4), torch.arange(50) % 3 > 0 if some else None
    whole = apply_transforms(given_vectors, steps, fitted_on)
    monkeypatch.setattr(transforms, "ROWS_AT_ONCE", 7)
    in_pieces = apply_transforms(given_vectors, steps, fitted_on)
    assert in_pieces.dtype == torch.float32
    assert torch.allclose(in_pieces, whole, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [7, 4096])
def test_sums_over_pieces_are_those_of_the_whole_in_double_precision(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(transforms, "ROWS_AT_ONCE", rows_at_once)
    given_vectors, numbers = vectors(9), torch.tensor([3, 1, 4, 15, 9, 2, 6, 5, 35, 8])
    rows, whole = Rows(given_vectors, numbers), given_vectors[numbers].double()
    torch.testing.assert_close(rows.mean(), whole.mean(dim=0))
    torch.testing.assert_close(rows.variance(), whole.var(dim=0, correction=0))
    torch.testing.assert_close(rows.deviation(), whole.std(correction=0))
    assert torch.equal(rows.gathered(), given_vectors[numbers])


def test_without_steps_vectors_are_not_copied() -> None:
    given_vectors = vectors(1)
    assert apply_transforms(given_vectors, None) is given_vectors
    assert Rows(given_vectors).gathered().data_ptr() != given_vectors.data_ptr()


def test_a_vector_that_centring_leaves_nothing_of_has_no_direction() -> None:
    given_vectors = vectors(2)
    given_vectors = torch.cat([given_vectors, given_vectors.mean(dim=0).expand(5, -1)])
    found = directions(given_vectors, ["center"])
    assert not found[50:].any(), "rounding is all that was left"
    assert torch.equal(found[:50], apply_transforms(given_vectors, ["center", "l2"])[:50])
    assert apply_transforms(given_vectors, ["center", "l2"])[50:].any()
