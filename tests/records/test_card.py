"""A card in its file: read as it was written, refused where somebody changed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_cards import card, random_card

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.card import Card, read_cards


def test_a_card_is_read_as_it_was_written_and_named_after_suite_and_source(tmp_path: Path) -> None:
    for made in (card(), random_card()):
        path = made.write(tmp_path)
        assert path.name == f"shops-{made.name}.json"
        read = Card.read(path)
        assert read.sha256 and read.model_copy(update={"sha256": ""}) == made
    assert [found.name for found in read_cards(tmp_path)] == ["minilm", "random"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content["gain"].update(mean=80.0),
        lambda content: content["scores"][0].update(score=0.9),
        lambda content: content["suite"].update(version=2),
        lambda content: content.update(note="the best there is"),
        lambda content: content.update(sha256="0" * 64),
        lambda content: content.pop("sha256"),
    ],
)
def test_a_card_that_was_edited_by_hand_is_refused_by_its_name(edit: Any, tmp_path: Path) -> None:
    path = card().write(tmp_path)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=r"shops-minilm\.json: was changed after it was written"):
        read_cards(tmp_path)


def test_another_layout_of_the_same_content_is_the_same_card(tmp_path: Path) -> None:
    path = card().write(tmp_path)
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert Card.read(path).name == "minilm"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"shops-x\.json.*Invalid JSON"),
        ("{}", r"shops-x\.json: of an earlier version"),
        ('{"format": 2}', r"shops-x\.json: key `name`"),
        ('{"format": 2, "name": "x", "colour": "red"}', r"shops-x\.json: key `\w+`"),
    ],
)
def test_what_is_no_card_is_refused_by_its_name(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "shops-x.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        read_cards(tmp_path)


def test_a_renamed_card_says_what_it_is(tmp_path: Path) -> None:
    card().write(tmp_path).rename(tmp_path / "mine.json")
    with pytest.raises(ConfigurationError, match=r"mine\.json: holds the card shops-minilm\.json"):
        read_cards(tmp_path)
