"""``--key=value``: what RecBole's own spelling means here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import parse_overrides
from recbole_ext.errors import ConfigurationError

SPELLINGS: list[tuple[str, Any]] = [
    ("20", 20),
    ("1e-3", 1e-3),
    ("true", True),
    ("False", False),
    ("None", None),
    ("[1, 5]", [1, 5]),
    ("{mode: uni100}", {"mode": "uni100"}),
    ("{'mode': 'uni100'}", {"mode": "uni100"}),
    ("[5,inf)", "[5,inf)"),
    ("(0,10]", "(0,10]"),
    (",", ","),
    (" ", " "),
    ("\t", "\t"),
    ("NDCG@10", "NDCG@10"),
    ("@home", "@home"),
]


@pytest.mark.parametrize(("text", "value"), SPELLINGS, ids=[repr(text) for text, _ in SPELLINGS])
def test_a_value_is_what_recbole_would_take_it_for(text: str, value: Any) -> None:
    assert parse_overrides([f"--key={text}"]) == {"key": value}


def test_an_equals_sign_belongs_to_the_value() -> None:
    assert parse_overrides(["--note=a=b"]) == {"note": "a=b"}


@pytest.mark.parametrize("argument", ["epochs=3", "--epochs", "--=3", "-e=3"])
def test_another_form_is_refused_with_an_example(argument: str) -> None:
    with pytest.raises(ConfigurationError, match=r"written --key=value, for example --epochs=20"):
        parse_overrides([argument])


def test_one_key_with_two_values_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--epochs is given twice, as 3 and as 4"):
        parse_overrides(["--epochs=3", "--epochs=4"])
    assert parse_overrides(["--epochs=3", "--epochs=3"]) == {"epochs": 3}


def test_config_files_lie_below_the_command_line_and_later_ones_above_earlier(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("epochs: 1\nlearning_rate: 1e-3\nseed: 1\n")
    (tmp_path / "b.yaml").write_text("epochs: 2\nseed: 2\n")
    given = parse_overrides(["--seed=3", f"--config_files={tmp_path / 'a.yaml'} {tmp_path / 'b.yaml'}"])
    assert given == {"epochs": 2, "learning_rate": 1e-3, "seed": 3}


def test_a_config_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"config_files: nothing\.yaml: no such file"):
        parse_overrides(["--config_files=nothing.yaml"])
