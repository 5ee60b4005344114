"""What a study can be told, in a YAML or as ``--key=value``; every study has a preset of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recbole_ext.data.keys import read_yaml
from recbole_ext.errors import ConfigurationError

PRESETS = Path(__file__).parent / "presets"


class StudySettings(BaseModel):
    """What all studies that look into encoders share."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    dataset: str
    """Whose training sequences the encoders read."""
    encoders: dict[str, str] = Field(min_length=1)
    """What to call an encoder: ``minilm``, a Hugging Face name, or a folder, such as one that ``tune`` wrote."""
    sequences: int = Field(default=256, ge=1)
    """Sequences that are read, drawn by ``seed``."""
    attributes: tuple[str, ...] | None = None
    """Item fields, in order; by default those that the dataset config's ``item_text`` names."""
    attribute_tokens: int = Field(default=8, ge=2)
    max_items: int = Field(default=6, ge=1)
    max_tokens: int = Field(default=128, ge=4)
    batch_size: int = Field(default=16, ge=1)
    data_path: str = "artifacts/data"
    dataset_configs: Path = Path("dataset_configs")
    seed: int = 42


Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(model: type[Settings], name: str, file: Path | None, overrides: dict[str, Any]) -> Settings:
    """The settings of the study called ``name``: its preset or ``file``, with ``overrides`` above.

    Raises:
        ConfigurationError: the file is not there, or says something that is not known; names the key.
    """
    path = file or PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file. Give a YAML with the study's settings.")
    try:
        return model(**{**read_yaml(path, "a study"), **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigurationError(f"{path}: {key}: {first['msg']}.") from error
