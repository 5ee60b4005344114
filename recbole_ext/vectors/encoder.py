"""Vectors of a language model: item texts through a text encoder, behaviour-tuned before or as it is."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ValidationInfo

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import ResolvedEncoder, config_here, resolve_encoder, width_here
from recbole_ext.encoding.settings import Compute, EncodingSettings
from recbole_ext.encoding.stage import encode_texts
from recbole_ext.encoding.texts import ItemTexts, item_key_values, item_texts
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.estimate import LOADED_MB, SHAPES, TOKENS_OF_A_TEXT, Estimate, Transformer
from recbole_ext.settings import mapping, where_of
from recbole_ext.tuning.objectives import objective_class
from recbole_ext.tuning.stage import make_once
from recbole_ext.tuning.tuning import Tuning
from recbole_ext.vectors.source import Effort, Settings, Vectors, VectorSource


def _tuning(value: Any, info: ValidationInfo) -> Any:
    return value if isinstance(value, Tuning) else Tuning.parse(mapping(value), where_of(info))


class Encoder(EncodingSettings, VectorSource):
    """Item texts through a text encoder."""

    kind: ClassVar[str] = "encoder"
    yaml_only: ClassVar[Collection[str]] = {"made_by"}

    encoder: str
    """minilm (packaged), a Hugging Face name, or a folder or .gguf file on this machine."""
    tune: Annotated[Tuning, BeforeValidator(_tuning)] | None = None
    """Tune the encoder on the behaviour of source domains first: objective, sources and the objective's settings."""
    template: tuple[str, ...] | None = None
    """Parts of an item's text, such as "{title}" "Brand: {brand}". Default: the dataset config's item_text, else all
    text fields."""
    made_by: str | None = None
    """The command that makes the encoder, with {dataset}; a plan prints it where the encoder is missing."""

    def request(self, dataset: Dataset) -> Settings:
        if self.tune:
            encoder: Any = self.tune.request(self.encoder, self.tune.sources_for(dataset))
        else:
            encoder = resolve_encoder(self.encoder, self.adapter).identity
        return {"encoder": encoder, **self.reading(), **self.texts(dataset).request}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        texts = self.texts(dataset)
        encoded = encode_texts(self.resolved(dataset, artifacts), self, list(texts.of_item.values()), work, compute)
        meta = {**encoded.meta, "items_without_text": texts.without}
        done = f"{encoded.encoded_texts} of {encoded.unique_texts} different texts encoded now"
        cost = Effort(encoded.seconds, encoded.unique_texts, encoded.parameters, encoded.device)
        return Vectors(encoded.vectors, list(texts.of_item), meta, (done, *texts.notes), cost, encoded.shards)

    def resolved(self, dataset: Dataset, artifacts: Path) -> ResolvedEncoder:
        """The encoder that reads this dataset's texts; one that is to be tuned is tuned first, unless it has been."""
        encoder = self.encoder
        if self.tune:
            encoder = str(make_once(self.tune, self.tune.sources_for(dataset), self.encoder, artifacts).folder)
        return resolve_encoder(encoder, self.adapter)

    def texts(self, dataset: Dataset) -> ItemTexts:
        """The items' texts as this encoder reads them."""
        if self.tune and self.tune.settings.reads_key_values:
            return item_key_values(dataset, getattr(self.tune.settings, "attributes", None))
        reading = None if self.tune else resolve_encoder(self.encoder).key_value_reading
        if reading is not None:
            return item_key_values(dataset, reading.get("attributes"))
        return item_texts(dataset, self.template)

    def width(self, dataset: Dataset) -> int | None:
        width = width_here(self.encoder, whole=self.pooling is None and not self.average_layers)
        if self.dim is not None and width is not None and self.dim > width:
            raise ConfigurationError(f"dim: {self.dim} is more than the width of encoder {self.encoder!r}, {width}.")
        return self.dim or width

    def missing(self, dataset: Dataset) -> list[str]:
        lines = []
        if config_here(self.encoder) is None:
            way = self.made_by.format(dataset=dataset.name) if self.made_by else "needs the network, or a local path"
            lines.append(f"encoder {self.encoder}: {way}")
        for source in self.tune.sources_for(dataset) if self.tune else ():
            if not source.item_file.is_file():
                lines.append(f"{source.item_file}, a source domain: convert it, or point data_path to it")
        return lines

    def estimate(self, dataset: Dataset) -> Estimate | None:
        shape, size = self.shape(), dataset.size()
        if shape is None or size is None:
            return None
        memory = LOADED_MB + (4 * shape.parameters + 4 * size.items * shape.width) / 2**20
        return Estimate(shape.forward(self._tokens(dataset, size.items)), memory, fixed=LOADING_SECONDS)

    def _tokens(self, dataset: Dataset, items: int) -> float:
        """Of all different texts, by their letters where they are here."""
        longest = self.max_tokens or MOST_TOKENS
        try:
            texts = set(self.texts(dataset).of_item.values())
        except RecboleExtError:
            return items * min(longest, TOKENS_OF_A_TEXT)
        return sum(min(2 + len(text) / LETTERS_OF_A_TOKEN, longest) for text in texts)

    def estimate_tuning(self, dataset: Dataset) -> Estimate | None:
        """What the tuning costs, without the encoding after it; ``None`` where too little is known."""
        shape = self.shape()
        if self.tune is None or shape is None:
            return None
        sizes = [source.size() for source in self.tune.sources_for(dataset)]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        return objective_class(self.tune.objective).estimate(shape, known, self.tune.settings)

    def shape(self) -> Transformer | None:
        """The encoder's shape, where it is on this machine or known anyway, less what is left out of it."""
        path = config_here(self.encoder)
        # What is tuned has the shape of what it was tuned from.
        known = (shape for name, shape in SHAPES.items() if name in f"{self.encoder} {self.made_by}")
        config = json.loads(path.read_text(encoding="utf-8")) if path else next(known, None)
        if config is None:
            return None
        kept = self.layers or (self.tune.settings.layers if self.tune else None)
        return Transformer.of(config, layers=kept, dropped=sum("." not in str(part) for part in self.drop))


LOADING_SECONDS = 5.0
"""Importing torch and loading an encoder."""
LETTERS_OF_A_TOKEN = 4
"""3.9 to 4.0 with MiniLM's words, in the texts of ml-100k, Office and Scientific."""
MOST_TOKENS = 512
"""Read of a text by most encoders."""
