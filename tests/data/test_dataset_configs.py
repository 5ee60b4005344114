"""Every dataset config says where its data come from and what makes the text, in keys that somebody understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from recbole_ext.cli import build_parser
from recbole_ext.data.config import find_config, read_config
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.files import download_url
from recbole_ext.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parents[2] / "dataset_configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
LC_REC = {"Scientific", "Office", "Beauty", "Toys", "Games", "ML1M", "Health", "Clothing", "Electronics", "Steam"}
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
    assert {path.stem for path in CONFIGS} >= PAPER | SOURCES | LC_REC | {"ml-100k", "ml-1m"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_holds_known_keys_and_says_what_it_must(path: Path) -> None:
    settings = read_config(path)
    assert settings["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert settings["source"] and all("{" in part for part in settings["item_text"])
    assert set(settings.get("expected", {})) <= {"users", "items", "interactions"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_way_to_the_data_that_a_config_names_exists(path: Path) -> None:
    settings = read_config(path)
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
    settings = read_config(FOLDER / f"{name}.yaml")
    filters = {key: value for key, value in settings.items() if key.endswith("_inter_num_interval")}
    five = {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)"}
    assert filters == (five if name in ("Sports", "Movies") else {"user_inter_num_interval": "[4,inf)"})
    assert {"users", "items"} <= set(settings["expected"])


def test_a_config_is_found_by_the_dataset_s_name() -> None:
    assert find_config("Beauty", FOLDER) == FOLDER / "Beauty.yaml"
    assert find_config("no-such", FOLDER) is None
    assert Dataset.named("Beauty", configs=FOLDER).expected == {"users": 22363, "items": 12101, "interactions": 198502}
    assert Dataset.named("no-such", configs=FOLDER).keys == {}
    assert Dataset.named("Beauty", configs=FOLDER, keys={"expected": None}).expected == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ITEM_ID_FELD: sku", r"'ITEM_ID_FELD' is no key of a dataset.*Did you mean 'ITEM_ID_FIELD'"),
        ("item_texts: ['{title}']", r"Did you mean 'item_text'"),
        ("hidden_size: 64", r"'hidden_size' is no key of a dataset.*stand with the model"),
        ("expected: 5", r"expected holds numbers of users, items and interactions"),
        ("expected: {user: 5}", r"expected holds numbers"),
        ("expected: {users: many}", r"expected holds numbers"),
        ("item_text: '{title}'", r"item_text: a list of parts"),
        ("item_text: [{title}]", r"item_text: a list of parts in quotes"),
        ("- user_id", r"a dataset config is a mapping"),
        ("a: [", r"not YAML"),
        ("a: 2023-13-01", r"not YAML: month must be in 1\.\.12"),
    ],
)
def test_a_config_that_nobody_can_read_is_an_error_that_names_it(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ConfigurationError, match=rf"own\.yaml: .*{message}"):
        Dataset.named("own", configs=tmp_path)
