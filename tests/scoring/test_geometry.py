"""Figures of vectors whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_ext.data.histories import Histories
from recbole_ext.scoring import geometry
from recbole_ext.scoring.geometry import geometry_of


def tokens(number: int) -> list[str]:
    return [f"i{item}" for item in range(number)]


def taken(*users: list[str]) -> Histories:
    """What each of ``users`` took, as a dataset numbers it: items have other numbers than rows."""
    known = sorted({item for items in users for item in items}, reverse=True)
    return Histories(
        [np.array([1 + known.index(item) for item in items]) for items in users], np.array(["[PAD]", *known])
    )


def everybody_takes_all(number: int) -> Histories:
    return taken(tokens(number))


def test_directions_that_are_spread_out_have_no_mean_cosine_and_full_rank() -> None:
    vectors = torch.cat([torch.eye(8), -torch.eye(8)])
    found = geometry_of(vectors, tokens(16), everybody_takes_all(16))
    assert found.mean_cosine == pytest.approx(-1 / 15, abs=1e-5)  # each has one opposite among 15 others
    assert found.effective_rank == pytest.approx(8, abs=1e-4) and found.first_axis == pytest.approx(1 / 8, abs=1e-5)
    assert (found.items, found.width) == (16, 8)


def test_a_narrow_cone_has_a_mean_cosine_near_one_and_a_line_has_rank_one() -> None:
    line = torch.ones(20, 1) * torch.linspace(1, 2, 20).unsqueeze(1) @ torch.ones(1, 6)
    found = geometry_of(line, tokens(20), everybody_takes_all(20))
    assert found.mean_cosine == pytest.approx(1, abs=1e-5)
    assert found.effective_rank == pytest.approx(1, abs=1e-3) and found.first_axis == pytest.approx(1, abs=1e-5)


def test_the_mean_cosine_is_that_of_all_pairs() -> None:
    vectors = torch.randn(30, 5, generator=torch.Generator().manual_seed(1)) + 1
    cosine = torch.nn.functional.normalize(vectors, dim=1) @ torch.nn.functional.normalize(vectors, dim=1).T
    pairs = cosine[~torch.eye(30, dtype=torch.bool)]
    found = geometry_of(vectors, tokens(30), everybody_takes_all(30))
    assert found.mean_cosine == pytest.approx(float(pairs.mean()), abs=1e-5)


def two_groups(*others: list[str]) -> tuple[torch.Tensor, Histories]:
    """24 items in two far groups, and users who keep to one of them; ``others`` took what they took."""
    draw = torch.randn(24, 4, generator=torch.Generator().manual_seed(2)) * 0.1
    draw[:12, 0] += 5
    draw[12:, 0] -= 5
    return draw, taken(tokens(24)[:12], tokens(24)[12:], *others)


def test_neighbours_that_the_same_people_take_are_counted_against_chance() -> None:
    vectors, histories = two_groups()
    found = geometry_of(vectors, tokens(24), histories)
    assert found.co_taken == 1.0
    assert found.co_taken_by_chance == pytest.approx(11 / 23, abs=1e-5)
    shuffled = geometry_of(
        vectors[torch.randperm(24, generator=torch.Generator().manual_seed(3))], tokens(24), histories
    )
    assert shuffled.co_taken < 0.8


def test_hubness_is_the_skewness_of_how_often_items_are_among_the_ten_nearest() -> None:
    vectors = torch.randn(60, 3, generator=torch.Generator().manual_seed(4)).exp()
    centred = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)
    counts = np.zeros(60)
    for item in range(60):
        cosines = centred @ centred[item]
        nearest = [other for other in cosines.argsort(descending=True).tolist() if other != item][:10]
        counts[nearest] += 1
    expected = float(((counts - counts.mean()) ** 3).mean() / counts.std() ** 3)
    found = geometry_of(vectors, tokens(60), everybody_takes_all(60)).hubness
    assert found == pytest.approx(expected, abs=1e-4) and abs(found) > 0.1


def test_items_without_a_vector_or_outside_training_count_for_nothing() -> None:
    vectors, histories = two_groups()
    more = torch.cat([vectors, torch.full((5, 4), 100.0)])
    with_others = geometry_of(more, tokens(29), two_groups(["unknown"])[1])
    assert with_others == geometry_of(vectors, tokens(24), histories)


def test_of_many_items_a_drawn_part_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, histories = two_groups()
    whole = geometry_of(vectors, tokens(24), histories)
    monkeypatch.setattr(geometry, "MOST_ASKED", 10)
    monkeypatch.setattr(geometry, "ROWS_AT_ONCE", 4)
    part = geometry_of(vectors, tokens(24), histories)
    assert part.co_taken == 1.0 and part.mean_cosine == whole.mean_cosine
    assert part == geometry_of(vectors, tokens(24), histories)


def test_a_single_item_has_no_neighbours() -> None:
    found = geometry_of(torch.ones(1, 3), ["i0"], taken(["i0"]))
    assert (found.items, found.co_taken, found.hubness, found.mean_cosine) == (1, 0.0, 0.0, 0.0)
