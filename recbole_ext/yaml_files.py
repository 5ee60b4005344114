"""YAML as RecBole reads it: mappings whose numbers may be written ``1e-3``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """A YAML file that holds a mapping; ``what`` says in an error what it should be.

    Raises:
        ConfigurationError: not UTF-8, not YAML, a date that no calendar has, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml_loader())
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that no calendar has
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: {what} is a mapping of keys to values.")
    return content


@cache
def yaml_loader() -> type[yaml.SafeLoader]:
    """YAML that reads ``1e-3`` as a number, as RecBole's own loader does."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$|^[-+]?\d*\.\d+$|^[-+]?\d+\.\d*$"),
        list("-+0123456789."),
    )
    return Loader
