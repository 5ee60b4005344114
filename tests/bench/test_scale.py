from __future__ import annotations

from pathlib import Path

import pytest

from recbole_ext.bench import scale
from recbole_ext.bench.scale import MEASURES, Size, exponent, made_up, measure_point, run_scale, scale_table


@pytest.mark.parametrize("b", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(b: float) -> None:
    sizes = [10, 100, 1000]
    assert exponent(sizes, [3 * size**b for size in sizes]) == pytest.approx(b, abs=1e-9)


def test_the_made_up_dataset_has_the_size_asked_for(tmp_path: Path) -> None:
    made_up(tmp_path, Size(users=30, length=7, items=100))
    header, *rows = (tmp_path / "made-up" / "made-up.inter").read_text().splitlines()
    users, items, times = zip(*(row.split("\t") for row in rows), strict=True)
    assert header == "user_id:token\titem_id:token\ttimestamp:float"
    assert (len(rows), len(set(users)), len(set(items)), len(set(times))) == (210, 30, 100, 7)


def test_a_point_measures_every_cost_in_a_process_of_its_own() -> None:
    costs = measure_point("SASRec", Size(users=20, length=6, items=50, width=16))
    assert set(costs) == set(MEASURES) and all(cost > 0 for cost in costs.values())


def test_every_axis_varies_alone_and_has_an_exponent(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(model: str, size: Size) -> dict[str, float]:
        return {name: float(size.users * size.width**2) for name in MEASURES}

    monkeypatch.setattr(scale, "measure_point", measured)
    result = run_scale("SASRec", {"users": (10, 100), "width": (8, 16, 32)})
    for name in MEASURES:
        assert result["axes"]["users"]["exponents"][name] == pytest.approx(1)
        assert result["axes"]["width"]["exponents"][name] == pytest.approx(2)
    assert {point["width"] for point in result["axes"]["users"]["points"]} == {Size().width}
    assert len(scale_table(result)) == 2 + 3 + 4
