"""``--key=value`` on the command line, as RecBole writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError
from recbole_ext.yaml_files import read_yaml, yaml_loader

Settings = dict[str, Any]


def parse_overrides(arguments: list[str]) -> Settings:
    """``--key=value`` arguments as a mapping.

    A value is read as YAML; what YAML can't read is text, as in RecBole: ``--user_inter_num_interval=[5,inf)``,
    ``--field_separator=,``. ``--config_files="a.yaml b.yaml"`` names files of keys; later files go above earlier ones,
    and the command line above all of them.

    Raises:
        ConfigurationError: an argument of another form, one key with two values, or a file that can't be read.
    """
    overrides: Settings = {}
    files: Settings = {}
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not (argument.startswith("--") and equals and key):
            raise ConfigurationError(f"{argument}: overrides are written --key=value, for example --epochs=20.")
        if key == "config_files":
            for name in value.split():
                if not Path(name).is_file():
                    raise ConfigurationError(f"config_files: {name}: no such file.")
                files |= read_yaml(Path(name), "a config file")
            continue
        parsed = parse_value(value)
        if key in overrides and overrides[key] != parsed:
            raise ConfigurationError(f"--{key} is given twice, as {overrides[key]!r} and as {parsed!r}.")
        overrides[key] = parsed
    return {**files, **overrides}


def parse_value(text: str) -> Any:
    """What ``--key=TEXT`` sets: YAML where it is YAML, else the text, blanks too (``--seq_separator=" "``)."""
    if not text.strip():
        return text
    try:
        value = yaml.load(text, Loader=yaml_loader())
    except (yaml.YAMLError, ValueError):  # ValueError: a date that no calendar has
        return text
    # RecBole reads Python's spelling too.
    return {"None": None, "True": True, "False": False}.get(value, value) if isinstance(value, str) else value
