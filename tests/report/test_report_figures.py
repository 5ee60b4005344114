from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic_runs import Benchmark, drawn_curve

from recbole_ext.report import figures, write_report
from recbole_ext.report.figures import draw_figures
from recbole_ext.report.leaderboard import leaderboard
from recbole_ext.report.looks import BASELINE, COLOURS, Looks
from recbole_ext.report.results import read_results
from recbole_ext.report.significance import Comparisons
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
    grid = benchmark.grid()
    board = leaderboard(grid, read_results(benchmark.folder, grid), Comparisons({}, {}, []))
    return draw_figures(board, benchmark.folder / name)


def test_one_figure_of_bars_and_one_of_curves_for_each_dataset_and_protocol(benchmark: Benchmark) -> None:
    for dataset in ("Arts & Crafts", "Office"):
        benchmark.add(dataset=dataset, variant="minilm")
    benchmark.add(dataset="Office", protocol="uni100")
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


def test_figures_of_an_earlier_report_go_and_no_other_file_does(benchmark: Benchmark) -> None:
    benchmark.add()
    folder = benchmark.folder / "figures"
    folder.mkdir()
    for name in ("recall_at_10.png", "validation_Gone_full.png", "mine.png", "notes.txt"):
        (folder / name).write_bytes(b"")
    draw(benchmark)
    left = {path.name for path in folder.iterdir()}
    assert left == {"ndcg_at_10.png", "validation_Office_full.png", "mine.png", "notes.txt"}


def test_the_same_records_give_the_same_bytes(benchmark: Benchmark) -> None:
    benchmark.add()
    benchmark.add(variant="minilm")
    for first, second in zip(draw(benchmark, "a"), draw(benchmark, "b"), strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()


def test_bars_are_as_long_as_the_means_best_first_with_whiskers_of_one_standard_deviation(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    for seed, (none, minilm) in enumerate([(0.10, 0.20), (0.14, 0.26)]):
        benchmark.add(seed=seed, test={"ndcg@10": none})
        benchmark.add(seed=seed, variant="minilm", test={"ndcg@10": minilm})
    benchmark.add(model="GRU4Rec", failed="out of memory")
    draw(benchmark)
    (ax,) = drawn["ndcg_at_10"].axes
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.23, 0.12])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SASRec, minilm", "SASRec, none"]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in ax.patches] == [0, 1]
    whiskers = [path.vertices[:, 0].tolist() for lines in ax.collections for path in lines.get_paths()]
    assert whiskers == [
        pytest.approx([0.1875736, 0.2724264]),
        pytest.approx([0.12 - 0.0282843, 0.12 + 0.0282843]),
    ]


def test_every_panel_has_a_title_labelled_axes_and_something_in_it(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    for model in ("SASRec", "GRU4Rec"):
        benchmark.add(model=model)
        changes = {"valid_metric": "mrr@10", "validation": {"mrr@10": 0.1}}
        benchmark.add(model=model, dataset="Arts", **changes)
    benchmark.add(dataset="Third")
    draw(benchmark)
    assert [ax.get_title(loc="left") for ax in drawn["ndcg_at_10"].axes] == ["Office", "Arts", "Third"]
    assert [ax.get_title(loc="left") for ax in drawn["validation_Office_full"].axes] == ["SASRec", "GRU4Rec"]
    for figure in drawn.values():
        assert figure.get_suptitle()
        assert all(ax.get_xlabel() and ax.get_ylabel() and (ax.lines or ax.patches) for ax in figure.axes)
    assert drawn["validation_Arts_full"].axes[0].get_ylabel() == "validation MRR@10"


def test_a_model_of_one_epoch_has_a_bar_and_no_curve(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    benchmark.add()
    benchmark.add(model="Pop", curve=drawn_curve(0.1, 42, 1))
    draw(benchmark)
    assert [ax.get_title(loc="left") for ax in drawn["validation_Office_full"].axes] == ["SASRec"]
    assert {label.get_text() for label in drawn["ndcg_at_10"].axes[0].get_yticklabels()} >= {"Pop, none"}


def test_an_initialisation_keeps_its_colour_in_all_figures_and_baselines_are_grey(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    for dataset in ("Office", "Arts"):
        benchmark.add(dataset=dataset, variant="none")
        benchmark.add(dataset=dataset, variant="wide", baseline=None)
    benchmark.add(variant="minilm")
    benchmark.add(variant="tuned", dataset="Arts", baseline="wide")
    draw(benchmark)
    colours: dict[str, set[str]] = {}
    for figure in drawn.values():
        for ax in figure.axes:
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                colour = handle.get_color() if hasattr(handle, "get_color") else handle.patches[0].get_facecolor()
                colours.setdefault(label, set()).add(to_hex(colour))
    assert {label: len(of_label) for label, of_label in colours.items()} == dict.fromkeys(
        ("none", "wide", "minilm", "tuned"), 1
    )
    assert colours["none"] == colours["wide"] == {BASELINE}
    assert len(colours["minilm"] | colours["tuned"] | {BASELINE}) == 3


def test_epochs_count_from_one_the_mean_ends_where_the_first_seed_stops_and_each_best_epoch_is_marked(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    def curve(*values: float | None) -> list[dict[str, Any]]:
        points = enumerate(values)
        return [{"epoch": n, "valid": valid, "train_loss": 1.0, "train_seconds": 1.0} for n, valid in points]

    benchmark.add(seed=1, curve=curve(0.1, 0.3, 0.2), best_epoch=1)
    benchmark.add(seed=2, curve=curve(0.3, 0.5, None, 0.6, 0.9), best_epoch=4)
    draw(benchmark)
    lines = [line.get_xydata().tolist() for line in drawn["validation_Office_full"].axes[0].get_lines()]
    assert [[1, 0.1], [2, 0.3], [3, 0.2]] in lines
    assert [[1, 0.3], [2, 0.5], [4, 0.6], [5, 0.9]] in lines
    assert [[2, 0.3]] in lines
    assert [[5, 0.9]] in lines
    assert [[1, 0.2], [2, 0.4]] in [[[x, round(y, 9)] for x, y in line] for line in lines]


def test_each_tested_row_has_its_gain_and_interval_as_the_table_has_it_and_is_hollow_where_none_is_shown(
    benchmark: Benchmark, drawn: dict[str, Any]
) -> None:
    for seed in (42, 43, 44):
        benchmark.add(seed=seed, quality=0.3)
        benchmark.add(seed=seed, variant="minilm", quality=0.6)
        benchmark.add(seed=seed, variant="same", quality=0.3)
    benchmark.add(model="GRU4Rec")
    benchmark.add(model="GRU4Rec", variant="minilm")  # one seed: not tested
    board = write_report(benchmark.write()).board.table.set_index(["model", "variant"])
    (ax,) = drawn["gains_ndcg_at_10"].axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SASRec, minilm", "SASRec, same"]
    points = [line for line in ax.lines if len(line.get_xdata()) == 1]
    spans = [path.vertices[:, 0].tolist() for lines in ax.collections for path in lines.get_paths()]
    for variant, point, span in zip(("minilm", "same"), points, spans, strict=True):
        row: Any = board.loc[("SASRec", variant)]
        assert point.get_xdata()[0] == pytest.approx(row["ndcg@10_improvement_%"])
        assert span == pytest.approx([row["ndcg@10_low_%"], row["ndcg@10_high_%"]])
    hollow = [point.get_markerfacecolor() == "white" for point in points]
    assert hollow == [False, True]


def test_gains_stand_with_the_largest_on_top_and_controls_below(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    sources = {"shuffled": "shuffled encoder minilm", "words": "lexical tfidf", "minilm": "encoder minilm"}
    for seed in (42, 43, 44):
        benchmark.add(seed=seed, quality=0.3)
        for (variant, vectors), quality in zip(sources.items(), (0.6, 0.4, 0.5), strict=True):
            benchmark.add(seed=seed, variant=variant, vectors=vectors, quality=quality)
    write_report(benchmark.write())
    (ax,) = drawn["gains_ndcg_at_10"].axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["SASRec, minilm", "SASRec, words", "SASRec, shuffled"]


def test_records_without_curves_get_bars_alone(benchmark: Benchmark) -> None:
    for variant in ("none", "minilm"):
        benchmark.add(variant=variant, curve=[], best_epoch=0)
    assert [drawing.path.name for drawing in draw(benchmark)] == ["ndcg_at_10.png"]


def test_many_models_and_initialisations_fit_into_one_figure(benchmark: Benchmark, drawn: dict[str, Any]) -> None:
    for model in range(6):
        for variant in ("none", *"abcdefgh"):
            benchmark.add(
                model=f"AModelWithALongName{model}", variant=variant, curve=[], best_epoch=0, with_ranks=False
            )
    (drawing,) = draw(benchmark)
    width, height = drawn["ndcg_at_10"].get_size_inches()
    assert width <= 13 and height <= 12
    assert "the best 40" in drawing.description
    bars = drawn["ndcg_at_10"].axes[0].containers
    looks = {(to_hex(c.patches[0].get_facecolor()), c.patches[0].get_hatch()) for c in bars if hasattr(c, "patches")}
    assert len(looks) == 9


# --- looks ---


def test_no_two_things_look_alike_in_a_bar_or_a_line() -> None:
    names = [f"v{number}" for number in range(60)]
    looks = Looks.of(names, names[:6])
    assert len({looks[name] for name in names}) == 60
    few = [looks[name] for name in names[6:34]]
    assert len({(look.colour, look.hatch) for look in few}) == len({(look.colour, look.line) for look in few}) == 28


def test_a_kind_of_vectors_looks_the_same_whatever_stands_beside_it() -> None:
    kinds = {"one": "encoder", "two": "encoder", "words": "lexical", "mixed": "shuffled", "mine": "store"}
    looks, alone = Looks.of(kinds, kinds=kinds), Looks.of(["tf-idf"], kinds={"tf-idf": "lexical"})
    assert looks["words"] == alone["tf-idf"]
    assert len({looks[name].colour for name in kinds}) == len({looks[name].marker for name in kinds}) == len(kinds)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def as_seen(colour: str, kind: str) -> tuple[float, float, float]:
    """A colour as a protanope or deuteranope sees it (Viénot, Brettel and Mollon, 1999, in linear RGB)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    weights = {"protan": (0.11238, 0.88762, 0.00401), "deutan": (0.29275, 0.70725, -0.02234)}[kind]
    yellow = weights[0] * r + weights[1] * g
    return yellow, yellow, weights[2] * (r - g) + b


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_the_colours_stay_apart_for_colour_blind_readers(kind: str) -> None:
    seen = [as_seen(colour, kind) for colour in (*COLOURS, BASELINE)]
    for at, one in enumerate(seen):
        for other in seen[at + 1 :]:
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.05
    assert all(luminance(colour) < 0.5 for colour in COLOURS)  # none is too faint on white
