"""Words without a language model: TF-IDF of the item text, reduced by a truncated SVD (latent semantic analysis)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.encoding.texts import ItemTexts, item_texts
from recbole_ext.errors import ConfigurationError
from recbole_ext.estimate import LOADED_MB, Estimate
from recbole_ext.settings import Seed
from recbole_ext.vectors.source import Settings, Vectors, VectorSource
from recbole_ext.vectors.svd import PASSES, reduced

WORD = r"(?u)\b\w+\b"
WORDS_OF_A_TEXT = 20
"""Assumed for the estimate."""


class Lexical(VectorSource):
    """TF-IDF and truncated SVD of the item text."""

    kind: ClassVar[str] = "lexical"
    reads_text: ClassVar[bool] = True

    lexical: Literal["tfidf"]
    """How words are weighted: tfidf, with 1 + log of a word's count in its text."""
    dim: int = Field(default=128, ge=1)
    """Dimensions that are kept."""
    ngrams: int = Field(default=1, ge=1)
    """Count runs of up to so many words."""
    min_items: int = Field(default=1, ge=1)
    """Leave out words of fewer items."""
    template: tuple[str, ...] | None = None
    """Parts of an item's text, such as "{title}" "Brand: {brand}". Default: the dataset config's item_text, else all
    text fields."""
    seed: Seed = 42
    """Of the SVD's random projections."""

    def request(self, dataset: Dataset) -> Settings:
        settings = self.model_dump(mode="json", exclude={"template"})
        return {**settings, **self.texts(dataset).request}

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        """Items whose words are all left out have no vector.

        Raises:
            ConfigurationError: more dimensions than items or words.
        """
        import numpy as np
        import torch
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = self.texts(dataset)
        vectorizer = TfidfVectorizer(
            token_pattern=WORD, ngram_range=(1, self.ngrams), min_df=self.min_items, sublinear_tf=True, dtype=np.float64
        )
        try:
            weights = vectorizer.fit_transform(texts.of_item.values())
        except ValueError as error:  # no word is left
            raise ConfigurationError(
                f"lexical: min_items: no word stands in the texts of {self.min_items} items of {dataset.name}."
            ) from error
        if self.dim > min(weights.shape):
            raise ConfigurationError(
                f"lexical: dim: {self.dim} is out of range; {dataset.name} has {weights.shape[0]} items with text and "
                f"{weights.shape[1]} words. Ask for {min(weights.shape)} at most; {{width: N}} fills them up."
            )
        svd = reduced(weights, self.dim, self.seed)
        has_words = np.diff(weights.indptr) > 0
        items = [item for item, has in zip(texts.of_item, has_words, strict=True) if has]
        notes = texts.notes
        if without := len(has_words) - len(items):
            notes = (*notes, f"{without} items have a text without any word that counts, and get no vector")
        meta = {"words": weights.shape[1], "explained_variance": svd.explained_variance}
        return Vectors(torch.from_numpy(svd.rows[has_words]).float(), items, meta, notes)

    def texts(self, dataset: Dataset) -> ItemTexts:
        return item_texts(dataset, self.template)

    def width(self, dataset: Dataset) -> int | None:
        return self.dim

    def estimate(self, dataset: Dataset) -> Estimate | None:
        size = dataset.size()
        if size is None:
            return None
        products = 2 * (PASSES + 1) * 2 * size.items * WORDS_OF_A_TEXT * self.dim
        return Estimate(products, LOADED_MB + 3 * 8 * size.items * self.dim / 2**20, fixed=4.0)
