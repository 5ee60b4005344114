"""The page of encoders: ranked, costs beside it, and nothing mixed that does not compare."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
from matplotlib.figure import Figure
from opened_page import Opened
from synthetic_cards import card, random_card
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.card import Card
from recbole_ext.report import figures, write_report
from recbole_ext.report.encoders import place_in_words, write_encoders
from recbole_ext.report.folders import holds_cards
from recbole_ext.report.index import write_index
from recbole_ext.report.pareto import draw_front, front

CARDS = [
    card("minilm", 8.0, 2.5),
    card("big-one", 9.0, 40.0),
    card("slow", 4.0, 90.0),
    card("words", 6.0, 0.01, kind="lexical"),
    random_card(),
    card("other", 3.0, 2.5, version=2),
    card("minilm", 1.0, 2.5, suite="houses"),
]


def write(folder: Path, cards: list[Card]) -> Path:
    for one in cards:
        one.write(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "encoders"
    write_encoders(write(folder, CARDS))
    return folder


def test_cards_are_ranked_by_mean_rank_within_their_suite_and_version(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    found = [tuple(row) for row in table[["suite", "version", "rank", "name"]].itertuples(index=False)]
    assert found == [
        ("houses", 1, 1, "minilm"),
        ("shops", 2, 1, "other"),
        ("shops", 1, 1, "big-one"),
        ("shops", 1, 2, "minilm"),
        ("shops", 1, 3, "words"),
        ("shops", 1, 4, "slow"),
        ("shops", 1, 5, "random"),
    ]
    assert list(table[(table["suite"] == "shops") & (table["version"] == 1)]["mean_rank"]) == [1, 2, 3, 4, 5]


def test_gains_costs_and_figures_stand_beside_each_other(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    lines: dict[Any, dict[Any, Any]] = {
        (line["suite"], line["version"], line["name"]): line for line in table.to_dict("records")
    }
    line = lines["shops", 1, "minilm"]
    assert (line["mean_improvement_%"], line["mean_low_%"], line["mean_high_%"]) == (8, 6, 10)
    assert (line["Toys_improvement_%"], line["Toys_SASRec_ndcg@10"]) == (8, 0.054)
    assert (line["ms_per_item"], line["encoder_parameters"], line["peak_memory_mb"]) == (2.5, 22_713_216, 640.5)
    assert (line["width"], line["mean_cosine"], line["hubness"], line["co_taken"]) == (384, 0.21, 1.7, 0.08)
    assert line["Books_SASRec_ndcg@10_unseen"] == 0.01
    assert all(math.isnan(lines["shops", 1, "random"][name]) for name in ("ms_per_item", "width"))


def test_cards_equal_in_all_scores_share_their_mean_rank(tmp_path: Path) -> None:
    found = write_encoders(write(tmp_path, [card("a", 5.0), card("b", 5.0), card("c", 1.0)])).to_pandas()
    assert list(found["mean_rank"]) == [1.5, 1.5, 3]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<strong>a and b</strong> share the best mean rank: NDCG@10 +5.0 % [+3.0, +7.0] and +5.0 %" in page
    assert "Cards were compared with random vectors, not with each other" in page


def test_the_page_and_the_markdown_have_every_card_and_every_link_leads_to_a_file(folder: Path) -> None:
    page, table = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "table.md"))
    for one in ("minilm", "big-one", "slow", "words", "random", "other"):
        assert f"{one}.json" in page and one in table
    assert "recbole-ext report results/encoders" in page
    assert "recbole-ext score ENCODER --suite houses --out results/encoders" in page
    assert "<code>houses/runs/</code>" in page
    links = [unquote(link) for link in re.findall(r'href="([^"#:]+)"', page)]
    assert links and all((folder / link).exists() for link in links)
    assert "suite shops, version 1" in table.lower()


def test_writing_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_encoders(tmp_path)
    for name in ("table.csv", "table.md", "figures/pareto-shops-version-1.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_front_has_the_cards_that_no_other_beats_in_gain_and_cost() -> None:
    shops = [one for one in CARDS if one.suite.name == "shops" and one.suite.version == 1]
    assert [one.name for one in front(shops)] == ["words", "minilm", "big-one"]
    assert front([random_card()]) == []


def test_the_figure_is_drawn_where_two_cards_have_a_cost(folder: Path) -> None:
    assert [path.name for path in (folder / "figures").iterdir()] == ["pareto-shops-version-1.png"]
    assert "On the front, which no others beat in both: words, minilm, big-one." in (folder / "table.md").read_text(
        encoding="utf-8"
    )


def test_no_two_names_in_the_figure_print_over_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "write_png", lambda path, figure, dpi: drawn.append(figure))
    names = [f"smollm2-{layers}-layers-poolingmean" for layers in range(5)]
    shown = [card(name, 8.0 + 0.1 * place, 2.0 + place) for place, name in enumerate(names)]
    draw_front([*shown, card("far", 1.0, 90.0), card("cheap", -4.0, 0.1)], "shops", tmp_path)
    boxes = [text.get_window_extent() for text in drawn[0].axes[0].texts]
    assert len(boxes) == 7
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_cards_that_compare_with_other_random_runs_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, [card("a"), card("b")])
    write_encoders(tmp_path)
    assert "different runs" not in (tmp_path / "table.md").read_text(encoding="utf-8")
    write(tmp_path, [card("c", random=0.0512)])
    write_encoders(tmp_path)
    for name in ("table.md", "index.html"):
        assert "Toys, SASRec 0.0500 to 0.0512" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (card("b", suite_hash="b" * 64), "both of the suite shops, version 1, but what it says differs"),
        (card("b", fingerprint="e" * 64), "but of other data under the same names"),
        (card("b", described_by="e" * 64), "but of other data under the same names"),
        (card("b", datasets=("Toys",)), "but of other data|with other rows"),
    ],
)
def test_cards_that_do_not_compare_are_not_mixed(other: Card, message: str, tmp_path: Path) -> None:
    write(tmp_path, [card("a"), other])
    with pytest.raises(ConfigurationError, match=rf"shops-b\.json and .*shops-a\.json: .*({message})"):
        write_encoders(tmp_path)
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (99, r"standard-b\.json: version 99 of the suite standard is unknown here: this package has version 1"),
        (1, r"standard-b\.json: not the suite standard, version 1 of this package"),
    ],
)
def test_a_card_of_an_unknown_suite_of_this_package_is_refused(version: int, message: str, tmp_path: Path) -> None:
    card("b", suite="standard", version=version).write(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        write_encoders(tmp_path)


def test_no_card_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no score card is there. `recbole-ext score` makes them"):
        write_encoders(tmp_path)


def test_a_folder_of_cards_is_told_from_a_benchmark(folder: Path, tmp_path: Path) -> None:
    benchmark = Benchmark(tmp_path / "runs" / "amazon")
    benchmark.add()
    benchmark.write()
    assert holds_cards(folder) and not holds_cards(benchmark.folder) and not holds_cards(tmp_path / "nowhere")


def test_the_page_above_all_benchmarks_leads_to_it(folder: Path) -> None:
    benchmark = Benchmark(folder.parent / "amazon")
    benchmark.add()
    write_report(benchmark.write())
    write_index(folder.parent)
    page = (folder.parent / "index.html").read_text(encoding="utf-8")
    assert "7 score cards of item vectors" in page and 'href="encoders/index.html"' in page
    assert "the gains of 4 have a 95 % interval above zero (not corrected for the number of cards)" in page
    assert "big-one has the best mean rank, +9.0 % [+7.0, +11.0] over random vectors." in page


def test_a_place_is_among_cards_of_the_same_suite_and_data() -> None:
    others = [*CARDS, card("other data", 99.0, fingerprint="e" * 64)]
    assert place_in_words(card("new", 8.5), others) == (
        "place 2 of 6 among the published cards of the suite shops, version 1"
    )
    assert place_in_words(card("new", suite="elsewhere"), others) == ""


# --- in a browser ---


@pytest.fixture
def encoders(contexts: Callable[[str], Any], folder: Path) -> Iterator[Opened]:
    opened = Opened(contexts("").new_page())
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.goto((folder / "index.html").as_uri())
    yield opened
    opened.page.close()
    assert opened.errors == []


def test_a_laptop_shows_every_column_with_the_source_below_the_name(
    tmp_path: Path, contexts: Callable[[str], Any]
) -> None:
    name = "an-encoder-4-layers-poolingmean"
    write_encoders(write(tmp_path, [card(name, vectors=f"encoder artifacts/encoders/{name}, pooling mean")]))
    page = contexts("").new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto((tmp_path / "index.html").as_uri())
    assert f"encoder artifacts/encoders/{name}" in page.locator("#board-1 tbody th").text_content()
    assert page.evaluate("[...document.querySelectorAll('.board .scroll')].every(e => e.scrollWidth <= e.clientWidth)")
    page.close()


def test_it_sorts_by_cost(encoders: Opened) -> None:
    board = "#board-3"
    assert encoders.sort("ms / item", board) == "descending"
    names = encoders.page.locator(f"{board} tbody th .text").all_text_contents()
    assert names[:2] == ["slow", "big-one"]
    assert encoders.column("ms / item", board)[-1] == "–"


def test_it_filters_by_kind_and_suite(encoders: Opened) -> None:
    encoders.page.select_option("#filter-kind", "lexical")
    assert len(encoders.rows("#board-3")) == 1
    assert "1 of 7 rows" in encoders.page.locator("form.filters output").text_content()
    encoders.page.select_option("#filter-kind", "")
    encoders.page.select_option("#filter-suite", "houses, version 1")
    assert len(encoders.rows("#board-1")) == 1 and encoders.rows("#board-3") == []


def test_all_figures_are_shown_on_request(encoders: Opened) -> None:
    assert "Hubness" not in encoders.heads("#board-3")
    encoders.page.check("#all-metrics")
    assert "Hubness" in encoders.heads("#board-3") and "Toys, SASRec, unseen" in encoders.heads("#board-3")
