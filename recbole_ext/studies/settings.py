"""What a study can be told, in a YAML or as ``--key=value``; every study has a preset of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from recbole_ext.errors import ConfigurationError
from recbole_ext.settings import CheckedSettings, Seed
from recbole_ext.vectors.encoder import Encoder
from recbole_ext.yaml_files import read_yaml

PRESETS = Path(__file__).parent / "presets"
OVERRIDES = "overrides"


def _named(encoders: Any) -> Any:
    if isinstance(encoders, str | Path):
        encoders = [encoders]
    if isinstance(encoders, list | tuple) and all(isinstance(encoder, str | Path) for encoder in encoders):
        named: dict[str, str] = {}
        for encoder in map(str, map(Path, encoders)):
            if not Path(encoder).name:
                raise ValueError(f"{encoder!r} has no name: call it by one, as in {{mine: {encoder}}}")
            if (twin := named.setdefault(Path(encoder).name, encoder)) != encoder:
                raise ValueError(
                    f"{twin!r} and {encoder!r} are both called {Path(encoder).name}. Give each a name of its own: "
                    "{one: …, other: …}"
                )
        return named
    return encoders


class StudySettings(CheckedSettings):
    """What all studies that look into encoders share."""

    dataset: str
    """Whose training sequences the encoders read."""
    encoders: Annotated[dict[str, str | Encoder], BeforeValidator(_named)] = Field(min_length=1)
    """What to call an encoder: ``minilm``, a Hugging Face name, a folder, or a mapping as in a benchmark's
    ``initialisations:``, such as ``{encoder: minilm, tune: {sources: [Office]}}``, which is tuned first. One encoder,
    or a list of them, is called by its own name."""
    sequences: int = Field(default=256, ge=1)
    """Sequences that are read, drawn by ``seed``."""
    attributes: tuple[str, ...] | None = None
    """Item fields, in order; by default those that the dataset config's ``item_text`` names."""
    attribute_tokens: int = Field(default=8, ge=2)
    """Tokens kept of an attribute, its key's included."""
    max_items: int = Field(default=6, ge=1)
    """Items of a sequence, the newest ones."""
    max_tokens: int = Field(default=128, ge=4)
    """Tokens of a sequence."""
    batch_size: int = Field(default=16, ge=1)
    """Sequences in a forward pass."""
    data_path: Path = Path("artifacts/data")
    """The folder that holds the dataset's folder."""
    dataset_configs: Path = Path("dataset_configs")
    """The folder of the datasets' YAML files."""
    artifacts: Path = Path("artifacts")
    """Where encoders that are tuned for the study go."""
    seed: Seed = 42
    """Of the drawn sequences."""


Settings = TypeVar("Settings", bound=CheckedSettings)


def read_settings(model: type[Settings], name: str, file: Path | None, overrides: dict[str, Any]) -> Settings:
    """The settings of the study called ``name``: its preset or ``file``, with ``overrides`` above.

    Overrides that are no key of the study go to the benchmark that it runs, if it runs one.

    Raises:
        ConfigurationError: the file is not there, or says something that is not known; names the key.
    """
    path = file or PRESETS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file. Give a YAML with the study's settings.")
    content = read_yaml(path, "a study")
    model.checked(content, str(file or f"study {name}"))  # so that what is wrong in the file is not put on the call
    passes_on = OVERRIDES in model.model_fields
    own = {key: value for key, value in overrides.items() if key in model.model_fields or not passes_on}
    if passes_on:
        own[OVERRIDES] = {**content.get(OVERRIDES, {}), **{k: v for k, v in overrides.items() if k not in own}}
    return model.checked({**content, **own}, f"study {name}")
