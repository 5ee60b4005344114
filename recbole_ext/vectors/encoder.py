"""Vectors of a language model: item texts through a text encoder, behaviour-tuned before or as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ValidationInfo

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoders.source import (
    ResolvedEncoder,
    config_here,
    folder_here,
    read_description,
    resolve_adapter,
    resolve_encoder,
    width_here,
)
from recbole_ext.encoding.settings import Compute, EncodingSettings
from recbole_ext.encoding.stage import encode_texts
from recbole_ext.encoding.texts import ItemTexts, item_key_values, item_texts
from recbole_ext.errors import ConfigurationError, EncoderError, RecboleExtError
from recbole_ext.estimate import LOADED_MB, SHAPES, TOKENS_OF_A_TEXT, Estimate, Transformer
from recbole_ext.settings import mapping, where_of
from recbole_ext.tuning.stage import make_once
from recbole_ext.tuning.tuning import Tuning
from recbole_ext.vectors.before_the_cut import refuse_later, tuned_on
from recbole_ext.vectors.source import Effort, Settings, Vectors, VectorSource


def _download(what: str, name: str, resolve: Callable[[str], ResolvedEncoder]) -> list[str]:
    """That ``name`` is downloaded, or why it can't be; nothing where it is on this machine."""
    if folder_here(name) is not None:
        return []
    try:
        resolve(name)
    except EncoderError as error:
        return [str(error)]
    return [f"{what} {name}: not on this machine; it is downloaded from Hugging Face first"]


def _tuning(value: Any, info: ValidationInfo) -> Any:
    tuning = value if isinstance(value, Tuning) else Tuning.parse(mapping(value), where_of(info))
    return tuning.trusting_code() if info.data.get("trust_remote_code") else tuning


class Encoder(EncodingSettings, VectorSource):
    """Item texts through a text encoder."""

    kind: ClassVar[str] = "encoder"
    reads_text: ClassVar[bool] = True
    yaml_only: ClassVar[Collection[str]] = {"made_by"}

    encoder: str
    """minilm (packaged), a Hugging Face name, or a folder or .gguf file on this machine."""
    tune: Annotated[Tuning, BeforeValidator(_tuning)] | None = None
    """Tune the encoder on the behaviour of source domains first: objective, sources and the objective's settings."""
    template: tuple[str, ...] | None = None
    """Parts of an item's text, such as "{title}" "Brand: {brand}". Default: the dataset config's item_text, else all
    text fields. Not for an encoder that reads key–value pairs."""
    made_by: str | None = None
    """The command that makes the encoder, with {dataset}; a plan prints it where the encoder is missing."""

    def request(self, dataset: Dataset) -> Settings:
        if lines := self._to_be_made(dataset):
            raise EncoderError(lines[0])
        refuse_later(f"encoder: {self.encoder}", self._tuned_on(), dataset.name, dataset)
        if self.tune:
            of_encoder: Settings = {"encoder": self.tune.of(self.encoder, dataset).request()}
            if self.adapter:
                of_encoder["adapter"] = resolve_adapter(self.adapter).identity
        else:
            of_encoder = {"encoder": resolve_encoder(self.encoder, self.adapter).identity}
        return {**of_encoder, **self.reading(), **self.texts(dataset).request}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        texts = self.texts(dataset)
        encoded = encode_texts(self.resolved(dataset, artifacts), self, list(texts.of_item.values()), work, compute)
        meta = {**encoded.meta, "items_without_text": texts.without}
        if before := self._tuned_on():
            meta["tuned_on"] = before
        done = f"{encoded.encoded_texts} of {encoded.unique_texts} different texts encoded now"
        cost = Effort(encoded.seconds, encoded.unique_texts, encoded.parameters, encoded.devices)
        return Vectors(encoded.vectors, list(texts.of_item), meta, (done, *texts.notes), cost, encoded.shards)

    def resolved(self, dataset: Dataset, artifacts: Path) -> ResolvedEncoder:
        """The encoder that reads this dataset's texts; one that is to be tuned is tuned first, unless it has been."""
        encoder = self.encoder
        if self.tune:
            encoder = str(make_once(self.tune.of(self.encoder, dataset), artifacts).folder)
        return resolve_encoder(encoder, self.adapter)

    def require_whole(self, reader: str) -> None:
        """See that nothing is left out of the encoder or added to it, where ``reader`` loads it by itself.

        Raises:
            ConfigurationError: something is; names the key.
        """
        for key in ("layers", "drop", "adapter"):
            if value := getattr(self, key):
                raise ConfigurationError(
                    f"encoder: {self.encoder}: {reader} reads sequences with the whole encoder, so that {key}: {value} "
                    "would have no effect. Give it an initialisation without that key (grids.MODEL.initialisations), "
                    "or an encoder that was cut before."
                )

    def texts(self, dataset: Dataset) -> ItemTexts:
        """The items' texts as this encoder reads them.

        Raises:
            SourceDataError, EncoderError: there are none, or nothing says how it reads.
            ConfigurationError: a template that names an unknown field, or that has no meaning for this encoder.
        """
        if self.tune:
            settings = self.tune.settings
            reading = {"attributes": getattr(settings, "attributes", None)} if settings.reads_key_values else None
        else:
            reading = resolve_encoder(self.encoder).key_value_reading
        if reading is None:
            return item_texts(dataset, self.template)
        if self.template is not None:
            raise ConfigurationError(
                f"template: encoder {self.encoder!r} reads key–value text{', once it is tuned' if self.tune else ''}; "
                "leave it out. Which fields it reads is said where it is tuned, by `attributes`, or by the dataset "
                "config's item_text."
            )
        return item_key_values(dataset, reading.get("attributes"))

    def width(self, dataset: Dataset) -> int | None:
        is_whole = self.pooling is None and (self.tune is None or self.tune.keeps_modules)
        width = width_here(self.encoder, is_whole)
        if self.dim is not None and width is not None and self.dim > width:
            raise ConfigurationError(f"dim: {self.dim} is more than the width of encoder {self.encoder!r}, {width}.")
        return self.dim or width

    def missing(self, dataset: Dataset) -> list[str]:
        lines = self._to_be_made(dataset)
        for source in self._domains(dataset):
            if source.url is not None:  # among what is downloaded
                continue
            if not source.item_file.is_file():
                lines.append(f"{source.item_file}, a source domain: convert it, or point data_path to it")
                continue
            try:
                source.require(download=False)
            except RecboleExtError as error:
                lines.append(str(error))
        return list(dict.fromkeys(lines))

    def downloads(self, dataset: Dataset) -> list[str]:
        encoder = [] if self.made_by else _download("encoder", self.encoder, resolve_encoder)
        adapter = _download("adapter", self.adapter, resolve_adapter) if self.adapter else []
        domains = [
            f"{source.folder}, a source domain: not on this machine; it is downloaded from {source.url} first"
            for source in self._domains(dataset)
            if source.url is not None
        ]
        return list(dict.fromkeys([*encoder, *adapter, *domains]))

    def fetch(self, dataset: Dataset) -> None:
        super().fetch(dataset)
        for source in self._domains(dataset):
            if source.url is not None:
                source.require()

    def _domains(self, dataset: Dataset) -> list[Dataset]:
        return self.tune.domains_of_all_steps(dataset) if self.tune else []

    def _tuned_on(self) -> Settings:
        """What the encoder was tuned on before it came here; nothing where no folder of `tune` says it."""
        return tuned_on(Path(self.encoder).expanduser())

    def _to_be_made(self, dataset: Dataset) -> list[str]:
        """The command that makes the encoder, where it is not here."""
        if self.made_by is None or folder_here(self.encoder) is not None:
            return []
        return [f"encoder {self.encoder}: {self.made_by.replace('{dataset}', dataset.name)}"]

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

    def with_seed(self, number: int) -> Self:
        return self.model_copy(update={"tune": self.tune.with_seed(number)}) if self.tune else self

    def tuning_seeds(self) -> int:
        return max(len(self.tune.seeds), 1) if self.tune else 1

    def in_words(self) -> str:
        told = {key: value for key, value in self.reading().items() if value != type(self).model_fields[key].default}
        how = "".join(f", {key} {value}" for key, value in told.items())
        return f"encoder {self.encoder}{how}{f', tuned: {self.tune.in_words()}' if self.tune else ''}"

    def shape(self) -> Transformer | None:
        """The encoder's shape, where it is on this machine or known anyway, less what is left out of it."""
        path = config_here(self.encoder)
        # What is tuned has the shape of what it was tuned from.
        known = (shape for name, shape in SHAPES.items() if name in f"{self.encoder} {self.made_by}")
        config = read_description(path) if path else next(known, None)
        if config is None:
            return None
        kept = self.layers or (self.tune.layers if self.tune else None)
        try:
            return Transformer.of(config, layers=kept, dropped=sum("." not in str(part) for part in self.drop))
        except KeyError:  # some architectures have words of their own, or none: DistilBERT, T5, static vectors
            return None


LOADING_SECONDS = 5.0
"""Importing torch and loading an encoder."""
LETTERS_OF_A_TOKEN = 4
"""3.9 to 4.0 with MiniLM's words, in the texts of ml-100k, Office and Scientific."""
MOST_TOKENS = 512
"""Read of a text by most encoders."""
