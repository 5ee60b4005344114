"""What decides an encoder's vectors, and what only decides how fast they come."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator

from recbole_ext.settings import CheckedSettings

Precision = Literal["float32", "float16", "bfloat16"]


class EncodingSettings(CheckedSettings):
    """How an encoder reads a text. The defaults are those of the encoder as it is published."""

    prompt: str | None = None
    """What is put before every text: an instruction, as some encoders want it."""
    prompt_name: str | None = None
    """Instead of ``prompt``: one of the encoder's own prompts, by its name."""
    pooling: Literal["cls", "mean", "last"] | None = None
    """Pool the transformer's hidden states so and do nothing after that. By default all the encoder's own modules; a
    plain transformer has none, and is pooled by the mean, or at its last token where its config.json names an
    architecture that ends with ForCausalLM (a decoder saved without its head names another)."""
    average_layers: tuple[int, ...] = ()
    """Layers whose outputs are averaged before pooling: 0 are the word embeddings, 1 the first layer, -1 the last."""
    dim: int | None = Field(default=None, ge=1)
    """Keep the first so many dimensions, as Matryoshka encoders allow."""
    precision: Precision = "float32"
    """Of weights and vectors, in computing and in the store."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Cut texts after so many tokens. By default the most that the encoder reads."""
    layers: int | None = Field(default=None, ge=1)
    """Keep the first so many layers."""
    drop: tuple[StrictInt | StrictStr, ...] = ()
    """Leave out layers ``L`` and heads ``"L.H"``, counted from 1. In YAML a head needs quotes: 2.10 is a number."""
    adapter: str | None = None
    """A LoRA adapter of this encoder, as ``peft`` writes it: a folder or a Hugging Face name."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the encoder."""

    def reading(self) -> dict[str, Any]:
        """What decides a text's vector, as JSON values; what is not set is left out, so that a setting that is new here
        renames no store. The adapter is part of the encoder."""
        own = set(EncodingSettings.model_fields) - {"adapter"}
        return {
            key: value for key, value in self.model_dump(mode="json", include=own).items() if value not in (None, [])
        }

    @field_validator("drop", mode="after")
    @classmethod
    def _in_order(cls, parts: tuple[int | str, ...]) -> tuple[str, ...]:
        return tuple(sorted(map(str, parts)))

    @model_validator(mode="after")
    def _one_prompt(self) -> EncodingSettings:
        if self.prompt is not None and self.prompt_name is not None:
            raise ValueError("prompt and prompt_name exclude each other")
        return self


class Compute(CheckedSettings):
    """How vectors are computed; says nothing about what they are."""

    batch_size: int = Field(default=64, ge=1)
    """Texts in a forward pass."""
    devices: tuple[str, ...] | None = None
    """torch devices, such as cuda:0 cuda:1. By default the best one."""
    shard_size: int = Field(default=1024, ge=1)
    """Texts between two writes, the most that an interruption costs."""
