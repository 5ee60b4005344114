"""What a card says of the behaviour tunings behind its vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_cards import card

from recbole_ext.data.dataset import Dataset
from recbole_ext.records.card import Card, TuningCost
from recbole_ext.report.cards import card_lines
from recbole_ext.report.encoders import encoders_table, group_cards
from recbole_ext.scoring.tuned import tunings_of
from recbole_ext.tuning.stage import RECORD
from recbole_ext.vectors import parse_source


def tuned(folder: Path, encoder: str, seconds: float, **changes: Any) -> Path:
    folder.mkdir()
    said = {"objective": "pairs", "encoder": encoder, "sources": ["toys"], "examples": 1200, "seconds": seconds}
    content = {**said, "processes": 1, "device": "cpu (tiny)", "curve": [], **changes}
    (folder / RECORD).write_text(json.dumps(content), encoding="utf-8")
    return folder


def found(settings: dict[str, Any], dataset: Dataset, artifacts: Path) -> list[TuningCost]:
    return tunings_of(parse_source(settings, "test"), [dataset, dataset], artifacts)


@pytest.fixture
def dataset(atomic_folder: Path, tmp_path: Path) -> Dataset:
    return Dataset.named("tiny", atomic_folder, configs=tmp_path)


def test_the_tunings_of_a_given_folder_are_told_first_step_first(dataset: Dataset, tmp_path: Path) -> None:
    first = tuned(tmp_path / "first", "minilm", 10.0)
    second = tuned(tmp_path / "second", str(first), 20.0)
    assert [cost.seconds for cost in found({"encoder": str(second)}, dataset, tmp_path)] == [10.0, 20.0]
    shuffled = {"shuffled": {"encoder": str(second)}}
    assert [cost.seconds for cost in found(shuffled, dataset, tmp_path)] == [10.0, 20.0]


def test_a_tuning_on_the_way_is_found_where_it_was_made(
    dataset: Dataset, tmp_path: Path, tiny_encoders: dict[str, Path]
) -> None:
    settings = {
        "encoder": str(tiny_encoders["bert"]),
        "pooling": "mean",
        "tune": {"objective": "pairs", "sources": ["tiny"], "epochs": 1},
    }
    source: Any = parse_source(settings, "test")
    assert found(settings, dataset, tmp_path) == []
    folder = source.tune.of(source.encoder, dataset).folder(tmp_path)
    folder.parent.mkdir(parents=True)
    tuned(folder, source.encoder, 7.5)
    assert [cost.seconds for cost in found(settings, dataset, tmp_path)] == [7.5]


def test_encoders_that_others_made_and_other_sources_have_no_tuning(dataset: Dataset, tmp_path: Path) -> None:
    earlier = tuned(tmp_path / "earlier", "minilm", 1.0, processes=None)
    for settings in ({"encoder": "minilm"}, {"lexical": "tfidf"}, {"encoder": str(earlier)}):
        assert found(settings, dataset, tmp_path) == []
    assert tunings_of(None, [dataset], tmp_path) == []


def test_a_card_keeps_them_and_its_table_has_their_seconds(dataset: Dataset, tmp_path: Path) -> None:
    costs = found({"encoder": str(tuned(tmp_path / "own", "minilm", 90.0))}, dataset, tmp_path)
    made = card("own", 5.0, 2.5, tuning=costs)
    cards = [Card.read(made.write(tmp_path)), card("plain", 4.0, 2.5)]
    assert cards[0].tuning == costs and cards[0].tuning_seconds == 90.0
    assert "tuned: pairs on toys, of minilm: 1,200 examples, 90 s on cpu (tiny)" in card_lines(cards[0])
    table = encoders_table(group_cards(tmp_path, cards)).set_index("name")
    assert table["tuning_seconds"]["own"] == 90.0 and table["tuning_seconds"].isna()["plain"]
