"""What a YAML file may not be: its keys are text, each once in its mapping."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_ext.benchmark import parse_overrides
from recbole_ext.compat import recbole_folder
from recbole_ext.errors import ConfigurationError
from recbole_ext.yaml_files import read_yaml


def read(folder: Path, content: str) -> dict[str, object]:
    (folder / "own.yaml").write_text(content, encoding="utf-8")
    return read_yaml(folder / "own.yaml", "a file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs: 1\nname: x\nepochs: 2\n", r"own\.yaml, line 3: 'epochs' stands in line 1 already"),
        ("config:\n  epochs: 1\n  epochs: 2\n", r"line 3: 'epochs' stands in line 2"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n  'y': 3\n", r"line 5: 'y' stands in line 4"),
        ("a: [{x: 1}, {x: 1, x: 2}]\n", r"line 1: 'x' stands in line 1"),
    ],
)
def test_two_entries_of_one_name_are_an_error_with_both_lines(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, content)


def test_an_entry_may_stand_above_one_that_is_merged_into_its_mapping(tmp_path: Path) -> None:
    content = "p:\n  a: &a {x: 1, y: 1}\n  q: &b {<<: *a, x: 2}\nr: {<<: *b, z: 3}\n"
    assert read(tmp_path, content)["p"] == {"a": {"x": 1, "y": 1}, "q": {"x": 2, "y": 1}}
    assert read(tmp_path, "a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: *a\n  <<: *b\n")["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("key", ["2015", "yes", "~", "1.5"])
def test_a_key_that_is_no_text_is_an_error_that_names_it(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"own\.yaml: the key .* is no text"):
        read(tmp_path, f"name: x\n{key}: 3\n")
    assert read(tmp_path, f"'{key}': 3\n") == {key: 3}


def test_a_mapping_on_the_command_line_has_each_key_once() -> None:
    with pytest.raises(ConfigurationError, match="'mode' stands in line 1 already"):
        parse_overrides(["--eval_args={mode: full, mode: uni100}"])


@pytest.mark.parametrize("folder", ["model", "dataset", "."])
def test_recboles_own_files_are_read(folder: str) -> None:
    for path in (recbole_folder() / "properties" / folder).glob("*.yaml"):
        if path.read_text(encoding="utf-8").strip():
            assert read_yaml(path, "a file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: !!timestamp x\n", "a value can't be what its tag"),
        ("name: !!bool 3\n", "a value can't be what its tag"),
        ("name: !!int x\n", "invalid literal"),
        ("name: !!int ''\n", "a value can't be what its tag"),
        ("name: " + "[" * 3000, "too deep"),
    ],
)
def test_what_yaml_s_reader_stumbles_over_is_an_error_that_names_the_file(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"own\.yaml: not YAML: .*{message}"):
        read(tmp_path, content)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(ConfigurationError, match=r"loop\.yaml: Too many levels of symbolic links"):
        read_yaml(tmp_path / "loop.yaml", "a file")
