from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.bench import scale
from recbole_ext.bench.scale import MEASURES, Size, exponent, measure, run_scale, scale_table, write_interactions


@pytest.mark.parametrize("b", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_its_power(b: float) -> None:
    sizes = [10, 100, 1000]
    assert exponent(sizes, [3 * size**b for size in sizes]) == pytest.approx(b, abs=1e-9)


def test_the_made_up_dataset_has_the_size_asked_for(tmp_path: Path) -> None:
    write_interactions(tmp_path, Size(users=30, length=7, items=100))
    header, *rows = (tmp_path / "made-up" / "made-up.inter").read_text().splitlines()
    users, items, times = zip(*(row.split("\t") for row in rows), strict=True)
    assert header == "user_id:token\titem_id:token\ttimestamp:float"
    assert (len(rows), len(set(users)), len(set(items)), len(set(times))) == (210, 30, 100, 7)


def test_a_point_measures_every_cost() -> None:
    costs = measure("SASRec", Size(users=20, length=6, items=50, width=16))
    assert set(costs) == set(MEASURES) and all(cost > 0 for cost in costs.values())


def test_every_axis_varies_alone_and_has_an_exponent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class InThisProcess:
        def __enter__(self) -> InThisProcess:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def apply(self, function: Any, arguments: tuple[str, Size]) -> dict[str, float]:
            size = arguments[1]
            return {name: float(size.users * size.width**2) for name in MEASURES}

    context = type("Context", (), {"Pool": lambda self, n: InThisProcess()})()
    monkeypatch.setattr(scale.multiprocessing, "get_context", lambda method: context)
    axes = {"users": (10, 100), "width": (8, 16, 32)}
    result = run_scale("SASRec", tmp_path / "scale.json", "recbole-ext bench-scale", axes)
    assert json.loads((tmp_path / "scale.json").read_text()) == result
    for name in MEASURES:
        assert result["axes"]["users"]["exponents"][name] == pytest.approx(1)
        assert result["axes"]["width"]["exponents"][name] == pytest.approx(2)
    assert {point["width"] for point in result["axes"]["users"]["points"]} == {Size().width}
    assert len(scale_table(result)) == 2 + 3 + 4
