"""Published tables are those of their records."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from recbole_ext.benchmark import EMBEDDED, load_benchmark
from recbole_ext.records import RunRecord, record_path
from recbole_ext.records.card import Score, read_cards
from recbole_ext.records.grid import RANDOM, Row
from recbole_ext.report import write_report
from recbole_ext.report.encoders import write_encoders
from recbole_ext.report.readme import render
from recbole_ext.report.results import Result
from recbole_ext.report.significance import Difference, mean_gain

RESULTS = Path(__file__).resolve().parents[1] / "results"
KEYS = ["dataset", "model", "variant", "protocol"]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RESULTS.glob("*/grid.json")))
def test_a_published_leaderboard_is_what_its_grid_and_records_give(name: str, tmp_path: Path) -> None:
    shutil.copytree(RESULTS / name, tmp_path / name)
    write_report(tmp_path / name)
    for file in ("leaderboard.csv", "leaderboard.md"):
        assert (tmp_path / name / file).read_bytes() == (RESULTS / name / file).read_bytes(), file


def test_every_folder_of_results_can_be_read() -> None:
    """One of an earlier format would be shown by nothing."""
    folders = {path.name for path in RESULTS.iterdir() if path.is_dir()}
    assert folders - {"encoders", "performance"} == {path.parent.name for path in RESULTS.glob("*/grid.json")}


def test_the_numbers_that_the_embedded_benchmark_shows_beside_yours_are_those_of_results_embedded() -> None:
    table = pd.read_csv(RESULTS / "embedded" / "leaderboard.csv")
    made = {tuple(row[:4]): row[4:] for row in table[[*KEYS, "ndcg@10", "recall@10", "date"]].itertuples(index=False)}
    published = load_benchmark(EMBEDDED)[0].published
    assert len(published) == 4
    for number in published:
        row = made[number.dataset, number.model, number.variant, number.protocol]
        assert number.metrics == {"ndcg@10": round(row[0], 4), "recall@10": round(row[1], 4)}
        assert number.made == row[2]


def test_the_numbers_of_the_text_above_the_results_are_those_of_the_tables() -> None:
    source = (RESULTS / "README.md.j2").read_text(encoding="utf-8")
    assert render(source, RESULTS) == (RESULTS / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not any((RESULTS / "encoders").glob("*.json")), reason="no score card is published")
def test_the_scores_of_published_cards_are_means_over_the_records_that_they_name() -> None:
    folder = RESULTS / "encoders"
    for card in read_cards(folder):
        for score in card.scores:
            records = [RunRecord.read(record_path(folder / card.suite.name, run)) for run in score.runs]
            assert len(records) == score.seeds > 0
            assert {record.dataset for record in records} == {score.dataset}, card.name
            assert {record.model for record in records} == {score.model}, card.name
            mean = sum(record.done.test[card.metric] for record in records) / len(records)
            assert score.score == pytest.approx(mean, abs=1e-6), card.name


@pytest.mark.skipif(not any((RESULTS / "encoders").glob("*.json")), reason="no score card is published")
def test_the_gains_of_published_cards_are_those_of_their_runs_over_the_runs_of_random_vectors() -> None:
    cards = read_cards(RESULTS / "encoders")
    of_random = [(card.suite, score) for card in cards if card.kind == RANDOM for score in card.scores]
    random = {(suite, score.dataset, score.model): score for suite, score in of_random}
    for card in cards:
        folder = RESULTS / "encoders" / card.suite.name
        for score in card.trained:
            base = random[card.suite, score.dataset, score.model]
            assert score.random == base.score, card.name
            if card.kind != RANDOM:
                gain = mean_gain([(result_of(score, folder), result_of(base, folder))], card.metric, folder)
                assert isinstance(gain, Difference) and score.gain is not None, (card.name, gain)
                said = [score.gain.mean, score.gain.low, score.gain.high]
                assert said == pytest.approx([100 * part for part in (gain.mean, *gain.interval)], abs=2e-6), card.name


def result_of(score: Score, folder: Path) -> Result:
    """The row of a card's line, from the records that it names."""
    runs = [RunRecord.read(record_path(folder, run)) for run in score.runs]
    row = Row(**runs[0].row._asdict(), mode="full", vectors="as the card says", trials=score.runs[:1], runs=score.runs)
    return Result(row, runs, [], [])


def test_published_score_cards_are_whole_and_their_page_is_made_of_them(tmp_path: Path) -> None:
    for card in (RESULTS / "encoders").glob("*.json"):
        shutil.copy(card, tmp_path)
    write_encoders(tmp_path)
    for file in ("table.csv", "table.md"):
        assert (tmp_path / file).read_bytes() == (RESULTS / "encoders" / file).read_bytes(), file
