"""YAML as RecBole reads it: mappings whose numbers may be written ``1e-3``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError

_MERGE = "tag:yaml.org,2002:merge"
"""The tag of ``<<``, which may stand several times."""


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """A YAML file that holds a mapping; ``what`` says in an error what it should be.

    Raises:
        ConfigurationError: not UTF-8, not YAML, a date that no calendar has, not a mapping, or a key that is no text or
            stands in its mapping twice; names the key, and the line where a key is repeated.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml_loader())
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}, {error}") from error
    except OSError as error:  # a loop of links, a folder, a file that may not be read
        raise ConfigurationError(f"{path}: {error.strerror}. Give a file that can be read.") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: not YAML: its lists or mappings are too deep") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that no calendar has
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    except (AttributeError, IndexError, KeyError) as error:  # PyYAML's own, of a value that its tag can't have
        raise ConfigurationError(f"{path}: not YAML: a value can't be what its tag (!!) says") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: {what} is a mapping of keys to values.")
    for key in content:
        if not isinstance(key, str):
            raise ConfigurationError(f"{path}: the key {key!r} is no text. Take it out, or put it in quotes.")
    return content


@cache
def yaml_loader() -> type[yaml.SafeLoader]:
    """YAML that reads ``1e-3`` as a number, as RecBole's own loader does.

    It raises a :class:`ConfigurationError` where a mapping has two entries of one name; it names the line and the key.
    """

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            _refuse_repeated_keys(node)
            return node

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$|^[-+]?\d*\.\d+$|^[-+]?\d+\.\d*$"),
        list("-+0123456789."),
    )
    return Loader


def _refuse_repeated_keys(mapping: yaml.MappingNode) -> None:
    """Of two entries of one name YAML's reader would take the last, and say nothing."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        line = key.start_mark.line + 1
        if (key.tag, key.value) in lines:
            raise ConfigurationError(
                f"line {line}: {key.value!r} stands in line {lines[key.tag, key.value]} already, and one of the two "
                "would have no effect. Make one entry of them."
            )
        lines[key.tag, key.value] = line
