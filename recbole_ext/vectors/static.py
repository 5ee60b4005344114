"""Static word vectors, averaged over an item's words: language without a model that reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.encoding.texts import ItemTexts, item_texts
from recbole_ext.errors import SourceDataError
from recbole_ext.estimate import LOADED_MB, Estimate
from recbole_ext.hashing import sha256_of_file
from recbole_ext.vectors.source import Settings, Vectors, VectorSource

if TYPE_CHECKING:
    import numpy as np

WORD = re.compile(r"\w+")


class Static(VectorSource):
    """The mean of an item's word vectors, from a plain text file such as GloVe's or word2vec's."""

    kind: ClassVar[str] = "static"
    reads_text: ClassVar[bool] = True

    static: str
    """A text file with a word and its numbers a line; a first line that counts words and dimensions is skipped."""
    weighting: Literal["mean", "sif"] = "mean"
    """mean: all words count alike. sif: frequent words count less, and the direction that all items share is taken out
    (Arora, Liang and Ma, ICLR 2017)."""
    rarity: float = Field(default=1e-3, gt=0)
    """Of sif, the paper's a: a word of frequency p counts a / (a + p). Frequencies are those in the dataset's texts."""
    template: tuple[str, ...] | None = None
    """Parts of an item's text, such as "{title}" "Brand: {brand}". Default: the dataset config's item_text, else all
    text fields."""

    def request(self, dataset: Dataset) -> Settings:
        settings = self.model_dump(mode="json", exclude={"template", "static"})
        return {**settings, "words": sha256_of_file(self._file()), **self.texts(dataset).request}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        """Items of which the file knows no word have no vector; words are looked up in lower case.

        Raises:
            SourceDataError: the file is not there, or a line of it holds no vector; names the line.
        """
        import numpy as np
        import torch

        texts = self.texts(dataset)
        words_of = {item: WORD.findall(text.lower()) for item, text in texts.of_item.items()}
        counts = Counter(word for words in words_of.values() for word in words)
        known = read_word_vectors(self._file(), counts)
        total = sum(counts.values())
        weight = {
            word: 1.0 if self.weighting == "mean" else self.rarity / (self.rarity + counts[word] / total)
            for word in known
        }
        items, rows = [], []
        for item, words in words_of.items():
            if of_item := [word for word in words if word in known]:
                items.append(item)
                rows.append(np.mean([weight[word] * known[word] for word in of_item], axis=0))
        if not items:
            raise SourceDataError(f"{self.static}: no word of {dataset.name}'s item texts is among its words.")
        vectors = np.stack(rows)
        if self.weighting == "sif" and len(items) > 1:
            shared = _first_direction(vectors)
            vectors = vectors - np.outer(vectors @ shared, shared)
        notes = texts.notes
        if without := len(words_of) - len(items):
            notes = (*notes, f"{without} items have no word that {Path(self.static).name} knows, and get no vector")
        covered = sum(counts[word] for word in known) / total
        return Vectors(torch.from_numpy(vectors).float(), items, {"known_words": round(covered, 4)}, notes)

    def texts(self, dataset: Dataset) -> ItemTexts:
        return item_texts(dataset, self.template)

    def width(self, dataset: Dataset) -> int | None:
        path = Path(self.static).expanduser()
        if not path.is_file():
            return None
        _, _, numbers = next(_lines(path))
        return len(numbers.split())

    def missing(self, dataset: Dataset) -> list[str]:
        path = Path(self.static).expanduser()
        return [] if path.is_file() else [f"{path}: no such file of word vectors"]

    def estimate(self, dataset: Dataset) -> Estimate | None:
        path = Path(self.static).expanduser()
        # Reading the file takes about all of the time: some hundred megabytes a second.
        return Estimate(0.0, LOADED_MB, fixed=4.0 + path.stat().st_size / 1e8) if path.is_file() else None

    def _file(self) -> Path:
        path = Path(self.static).expanduser()
        if not path.is_file():
            raise SourceDataError(f"static: {path}: no such file of word vectors.")
        return path


def read_word_vectors(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """The vectors, float64 ``[dim]``, of the words that are ``wanted``; of two lines for a word the first counts.

    Raises:
        SourceDataError: not UTF-8, no word with numbers after a space, or a line that holds no vector, or one of
            another width; names the line.
    """
    import numpy as np

    vectors: dict[str, np.ndarray] = {}
    width: int | None = None
    for number, word, numbers in _lines(path):
        width = width or len(numbers.split())
        if word not in wanted or word in vectors:
            continue
        try:
            vector = np.array(numbers.split(), dtype=np.float64)
        except ValueError:
            vector = np.empty(0)
        if len(vector) != width or not np.isfinite(vector).all():
            raise SourceDataError(f"{path}, line {number}: {width} finite numbers are expected after {word!r}.")
        vectors[word] = vector
    return vectors


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, word and the rest of each line that has a rest."""
    found = False
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                word, _, numbers = line.rstrip("\r\n").partition(" ")
                is_count = number == 1 and word.isdecimal() and numbers.strip().isdecimal()
                if not is_count and numbers:
                    found = True
                    yield number, word, numbers
    except UnicodeDecodeError as error:
        raise SourceDataError(
            f"{path}: not UTF-8 text ({error.reason}); word vectors are read from text files."
        ) from None
    if not found:
        raise SourceDataError(f"{path}: no line holds a word and its vector, as WORD NUMBERS separated by spaces.")


def _first_direction(vectors: Any) -> Any:
    """The first right singular vector, ``[dim]``."""
    import numpy as np

    return np.linalg.eigh(vectors.T @ vectors)[1][:, -1]
