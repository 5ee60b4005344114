from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic_runs import Benchmark

from recbole_ext.report import figures
from recbole_ext.report.figures import draw_figures
from recbole_ext.report.leaderboard import leaderboard_table
from recbole_ext.report.records import load_records
from recbole_ext.writing import write_png


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every figure drawn in a test, by file name, to look at what is in it."""
    saved: dict[str, Any] = {}

    def keep(path: Path, figure: Figure, dpi: int) -> None:
        saved[path.stem] = figure
        write_png(path, figure, dpi)

    monkeypatch.setattr(figures, "write_png", keep)
    return saved


def draw(benchmark: Benchmark, name: str = "figures") -> list[figures.Drawing]:
    records = load_records(benchmark.folder)
    return draw_figures(leaderboard_table(records, {}), records, benchmark.folder / name)


def test_one_figure_of_bars_and_one_of_curves_for_each_dataset_and_protocol(benchmark: Benchmark) -> None:
    for dataset in ("Office", "Arts/Crafts"):
        benchmark.add(dataset=dataset.replace("/", "-"), init="minilm")
    benchmark.add(protocol="uni100")
    drawings = draw(benchmark)
    names = [drawing.path.name for drawing in drawings]
    assert names == [
        "ndcg_at_10.png",
        "validation_Arts-Crafts_full.png",
        "validation_Office_full.png",
        "validation_Office_uni100.png",
    ]
    assert sorted(p.name for p in (benchmark.folder / "figures").iterdir()) == sorted(names)
    assert all(drawing.path.read_bytes().startswith(b"\x89PNG") for drawing in drawings)


def test_the_same_records_give_the_same_bytes(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(init="minilm")
    for first, second in zip(draw(benchmark, "a"), draw(benchmark, "b"), strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()


def test_bars_are_as_long_as_the_means_best_first_with_whiskers_of_one_standard_deviation(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    for seed, (none, minilm) in enumerate([(0.10, 0.20), (0.14, 0.26)]):
        benchmark.add(seed=seed, test={"ndcg@10": none})
        benchmark.add(seed=seed, init="minilm", test={"ndcg@10": minilm})
    draw(benchmark)
    (ax,) = drawn["ndcg_at_10"].axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.12, 0.23])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SASRec, minilm", "SASRec, none"]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches] == [1, 0]
    whiskers = [path.vertices[:, 0].tolist() for lines in ax.collections for path in lines.get_paths()]
    assert whiskers == [
        pytest.approx([0.12 - 0.0282843, 0.12 + 0.0282843]),
        pytest.approx([0.1875736, 0.2724264]),
    ]


def test_every_panel_has_a_title_and_labelled_axes(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    for model in ("SASRec", "GRU4Rec"):
        benchmark.add(model=model)
        benchmark.add(model=model, dataset="Arts", config={"valid_metric": "MRR@10"}, validation={"mrr@10": 0.1})
    draw(benchmark)
    assert [ax.get_title(loc="left") for ax in drawn["ndcg_at_10"].axes] == ["Arts", "Office"]
    assert [ax.get_title(loc="left") for ax in drawn["validation_Office_full"].axes] == ["GRU4Rec", "SASRec"]
    for figure in drawn.values():
        assert figure.get_suptitle()
        assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes)
    assert drawn["validation_Arts_full"].axes[0].get_ylabel() == "validation MRR@10"


def test_a_model_of_one_epoch_has_a_bar_and_no_curve(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    benchmark.add()
    benchmark.add(model="Pop", curve=[{"epoch": 0, "valid": 0.1, "train_seconds": 0.1, "valid_seconds": 0.1}])
    draw(benchmark)
    assert [ax.get_title(loc="left") for ax in drawn["validation_Office_full"].axes] == ["SASRec"]
    assert {label.get_text() for label in drawn["ndcg_at_10"].axes[0].get_yticklabels()} >= {"Pop, none"}


def test_an_initialisation_keeps_its_colour_in_all_figures_and_none_is_grey(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    benchmark.add()
    benchmark.add(init="minilm")
    benchmark.add(init="tuned", dataset="Arts")
    draw(benchmark)
    colours: dict[str, set[str]] = {}
    for figure in drawn.values():
        for ax in figure.axes:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                colour = handle.get_color() if hasattr(handle, "get_color") else handle.patches[0].get_facecolor()
                colours.setdefault(label, set()).add(to_hex(colour))
    assert {label: len(of_label) for label, of_label in colours.items()} == {
        "none": 1,
        "minilm": 1,
        "tuned": 1,
    }
    assert colours["none"] == {"#8c8c8c"}
    assert len(set.union(*colours.values())) == 3


def test_modes_of_one_initialisation_are_told_apart(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    benchmark.add()
    benchmark.add(init="minilm")
    benchmark.add(init="minilm", mode="frozen")
    draw(benchmark)
    (legend,) = drawn["ndcg_at_10"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["none", "minilm (frozen)", "minilm (full)"]


def test_the_mean_curve_ends_where_the_first_seed_stops_and_each_best_epoch_is_marked(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    def curve(*values: float | None) -> list[dict]:
        return [{"epoch": epoch, "valid": value} for epoch, value in enumerate(values)]

    benchmark.add(seed=1, curve=curve(0.1, 0.3, 0.2), best_epoch=1)
    benchmark.add(seed=2, curve=curve(0.3, 0.5, None, 0.6, 0.9), best_epoch=4)
    draw(benchmark)
    lines = [line.get_xydata().tolist() for line in drawn["validation_Office_full"].axes[0].get_lines()]
    assert [[0, 0.1], [1, 0.3], [2, 0.2]] in lines
    assert [[0, 0.3], [1, 0.5], [3, 0.6], [4, 0.9]] in lines
    assert [[1, 0.3]] in lines
    assert [[4, 0.9]] in lines
    assert [[0, 0.2], [1, 0.4]] in [[[x, round(y, 9)] for x, y in line] for line in lines]


def test_records_without_curves_get_bars_alone(benchmark: Benchmark) -> None:
    benchmark.add(curve=[])
    benchmark.add(init="minilm", curve=None)
    assert [drawing.path.name for drawing in draw(benchmark)] == ["ndcg_at_10.png"]


def test_many_models_and_initialisations_fit_into_one_figure(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    for model in range(6):
        for init in ("none", *"abcdefgh"):
            benchmark.add(model=f"AModelWithALongName{model}", init=init, curve=[], with_ranks=False)
    draw(benchmark)
    width, height = drawn["ndcg_at_10"].get_size_inches()
    assert width <= 13
    bars = drawn["ndcg_at_10"].axes[0].containers
    looks = {(to_hex(c.patches[0].get_facecolor()), c.patches[0].get_hatch()) for c in bars if hasattr(c, "patches")}
    assert len(looks) == 9
