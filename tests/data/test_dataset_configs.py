"""Every dataset config says where its data come from and what makes the text, in keys that somebody understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.cli import build_parser
from recbole_ext.data import config
from recbole_ext.data.config import SET_BY_THE_BENCHMARK, check_eval_args, find_config, read_config
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
        ("data_path: elsewhere", r"'data_path' is not set here but by `data_path at the top` of the benchmark"),
        ("seed: 1", r"'seed' is not set here but by `seeds` of the benchmark"),
        ("checkpoint_dir: saved", r"'checkpoint_dir' is not set here but by `artifacts`"),
        ("repeatable: true", r"'repeatable' is not set here but by `rank_seen_items`"),
        ("2015: x", r"the key 2015 is no text"),
        ("threshold: 4", r"threshold: a mapping or null is needed; got 4"),
        ("normalize_field: true", r"normalize_field: a list or null is needed; got True"),
        ("val_interval: ['[3,inf)']", r"val_interval: a mapping or null is needed"),
        ("epochs: many", r"epochs: a whole number is needed; got 'many'"),
        ("eval_args: uni100", r"eval_args is a mapping"),
        ("eval_args: {mode: 3}", r"eval_args\.mode: full, labeled, .* is expected, .*; got 3"),
        ("eval_args: {mode: {valid: full, test: uni}}", r"eval_args\.mode: full, labeled, .* got {'valid': 'full', "),
        ("eval_args: {split: LS}", r"eval_args\.split: LS, RS, TS or temporal with what it needs.*got 'LS'"),
    ],
)
def test_a_config_that_nobody_can_read_is_an_error_that_names_it(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ConfigurationError, match=rf"own\.yaml: .*{message}"):
        Dataset.named("own", configs=tmp_path)


def test_a_config_sets_nothing_that_a_run_would_overwrite() -> None:
    """What a run sets itself, of the keys that RecBole knows for every run."""
    from recbole_ext.benchmark.keys import PLACES

    assert {key for key in PLACES if key in config.recbole_keys_of_datasets()} == set(SET_BY_THE_BENCHMARK)


@pytest.mark.parametrize("key", ["user_inter_num_interval: [2, 5]", "additional_feat_suffix: [ent]", "load_col: ~"])
def test_a_config_takes_what_recbole_takes(tmp_path: Path, key: str) -> None:
    (tmp_path / "own.yaml").write_text(key)
    assert len(read_config(tmp_path / "own.yaml")) == 1


# --- the configs of this package ---


@pytest.fixture
def beauty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own dataset of that name below a working folder without configs; the file of its interactions."""
    monkeypatch.chdir(tmp_path)
    config._say_packaged.cache_clear()
    path = tmp_path / "Beauty" / "Beauty.inter"
    path.parent.mkdir()
    rows = [f"u{user}\ti{item}\t{item}" for user in range(2) for item in range(3)]
    path.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows, ""]))
    return path


def test_that_a_config_of_this_package_is_used_is_logged_once(beauty: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        for _ in range(3):
            assert Dataset.named("Beauty", beauty.parents[1]).expected
    [said] = caplog.messages
    assert str(FOLDER / "Beauty.yaml") in said and "write dataset_configs/Beauty.yaml" in said


def test_errors_over_a_config_of_this_package_name_it_and_the_place_of_ones_own(beauty: Path) -> None:
    own = rf"The dataset config is {FOLDER}/\w+\.yaml, one of this package\. .* write dataset_configs/\w+\.yaml"
    with pytest.raises(ConfigurationError, match=rf"Beauty: 2 users, but its dataset config expects 22,363.* {own}"):
        Dataset.named("Beauty", beauty.parents[1]).check()
    beauty.rename(beauty.with_name("Sports.inter"))
    beauty.parent.rename(beauty.parents[1] / "Sports")
    sports = Dataset.named("Sports", beauty.parents[1])
    for call in (sports.check, sports.training_histories):
        with pytest.raises(ConfigurationError, match=rf"Sports: filters leave nothing of this dataset.* {own}"):
            call()


def test_a_config_of_ones_own_goes_above_that_of_this_package(beauty: Path, caplog: pytest.LogCaptureFixture) -> None:
    (beauty.parents[1] / "dataset_configs").mkdir()
    path = Path("dataset_configs/Beauty.yaml")
    path.write_text("expected: {users: 3}")
    with (
        caplog.at_level("INFO"),
        pytest.raises(ConfigurationError, match=rf"2 users, .* expects 3\..* The dataset config is {path}\.$"),
    ):
        Dataset.named("Beauty", beauty.parents[1]).check()
    assert not caplog.messages


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"spilt": {"RS": [0.8, 0.1, 0.1]}}, "no part 'spilt'. Did you mean 'split'?"),
        ({"order": "XX"}, "order is RO or TO; got 'XX'"),
        ({"group_by": "item"}, "group_by is user or none; got 'item'"),
    ],
)
def test_a_part_of_eval_args_that_recbole_would_pass_over_is_refused(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        check_eval_args(value, "here")
