"""Every dataset config says where its data come from and what makes the text, in keys that somebody understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from recbole_ext.data.keys import check_key, known_keys

from recbole_ext.cli import build_parser
from recbole_ext.data.files import download_url, read_dataset_config

FOLDER = Path(__file__).resolve().parents[2] / "dataset_configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
PAPER = {"Arts", "Instruments", "Pantry", "Sports", "Movies"}
SOURCES = {
    f"amazon-{category}-18"
    for category in (
        "automotive",
        "cell-phones-accessories",
        "clothing-shoes-jewelry",
        "electronics",
        "grocery-gourmet-food",
        "home-kitchen",
        "movies-tv",
        "cds-vinyl",
    )
}


def test_the_paper_s_and_recformer_s_datasets_are_there() -> None:
    assert {path.stem for path in CONFIGS} >= PAPER | SOURCES | {"ml-100k", "ml-1m", "Scientific", "Office", "Games"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_holds_known_keys_and_says_what_it_must(path: Path) -> None:
    settings = read_dataset_config(path)
    for key, value in settings.items():
        check_key(str(path), key, value, known_keys(()))
    assert settings["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert settings["source"] and all("{" in part for part in settings["item_text"])
    assert set(settings.get("expected", {})) <= {"users", "items", "interactions"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_way_to_the_data_that_a_config_names_exists(path: Path) -> None:
    settings = read_dataset_config(path)
    commands = re.findall(r"recbole-ext convert .*", settings["source"])
    for command in commands:
        options = build_parser().parse_args(shlex.split(command)[1:])
        assert options.name == path.stem
    downloaded = download_url(path.stem, settings.get("recbole_name"))
    assert commands or downloaded
    if "download" in settings["source"]:
        assert downloaded and "2018" in downloaded or path.stem == "ml-1m"


@pytest.mark.parametrize("name", sorted(PAPER))
def test_the_paper_s_filters_are_recboles_keys(name: str) -> None:
    settings = read_dataset_config(FOLDER / f"{name}.yaml")
    filters = {key: value for key, value in settings.items() if key.endswith("_inter_num_interval")}
    five = {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)"}
    assert filters == (five if name in ("Sports", "Movies") else {"user_inter_num_interval": "[4,inf)"})
    assert {"users", "items"} <= set(settings["expected"])
