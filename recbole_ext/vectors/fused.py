"""Vectors of several sources in one: side by side, or added up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import ConfigurationError
from recbole_ext.estimate import LOADED_MB, Estimate
from recbole_ext.hashing import sha256_of
from recbole_ext.settings import CheckedSettings, mapping, where_of
from recbole_ext.vectors.nested import Nested
from recbole_ext.vectors.source import Settings, Vectors, VectorSource

if TYPE_CHECKING:
    from torch import Tensor


LOPSIDED = 2.0
"""One part's variance over another's from which on it is said."""


class Part(CheckedSettings):
    """A source, and what is done to its vectors before they are put together."""

    of: Nested
    """The source."""
    transform: tuple[Any, ...] = ()
    """Transforms as for ``item_embedding_transform``, fitted on the items that the source has: under ``temporal``, on
    those that training has too."""


def _part(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Part):
        return value
    if isinstance(value, VectorSource) or (isinstance(value, str) and not value.lstrip().startswith("{")):
        return Part.checked({"of": value}, where_of(info))
    given = mapping(value)
    return Part.checked(given if "of" in given else {"of": given}, where_of(info))


class Fused(VectorSource):
    """Two or more sources, each after its own transforms.

    An item that one of them lacks gets there the mean of the others' vectors of that source. Where data are cut in
    time, items first seen after the cut decide nothing about the others: neither transforms nor means are of them.
    """

    kind: ClassVar[str] = "fused"
    is_made_of_others: ClassVar[bool] = True

    fused: Annotated[tuple[Annotated[Part, BeforeValidator(_part)], ...], Field(min_length=2)]
    """Sources, each a mapping such as {encoder: minilm}, or {of: {encoder: minilm}, transform: [center, {pca: 64}]}."""
    how: Literal["concat", "sum"] = "concat"
    """concat: side by side. sum: added up; the widths have to be equal."""

    @field_validator("fused", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, Mapping | str):
            raise ValueError("a list of sources is needed here, such as [{encoder: minilm}, {cooccurrence: ppmi}]")
        return value

    def request(self, dataset: Dataset) -> Settings:
        parts = [
            {"kind": part.of.kind, "transform": list(part.transform), **part.of.request(dataset)} for part in self.fused
        ]
        fitted_on = dataset.items_to_fit_on()
        return {
            "fused": parts,
            "how": self.how,
            **({} if fitted_on is None else {"fitted_on": sha256_of(fitted_on)}),
        }

    def compute_vectors(self, dataset: Dataset, artifacts: Path, work: Path, compute: Compute) -> Vectors:
        """Raises:
        ConfigurationError: a transform that is none, widths that can't be added up, or a part without any item that
            training has, where data are cut in time.
        """
        import torch

        from recbole_ext.store import ItemEmbeddingStore
        from recbole_ext.store.transforms import apply_transforms

        stores = [ItemEmbeddingStore.load(part.of.store_path(dataset, artifacts)) for part in self.fused]
        fitted_on = [
            self._fitted_on(part, store.items, dataset) for part, store in zip(self.fused, stores, strict=True)
        ]
        vectors = [
            apply_transforms(store.embeddings, part.transform, known)
            for store, part, known in zip(stores, self.fused, fitted_on, strict=True)
        ]
        self._check_widths([part.shape[1] for part in vectors])
        items = list(dict.fromkeys(item for store in stores for item in store.items))
        notes, columns = [], []
        for part, store, of_part, known in zip(self.fused, stores, vectors, fitted_on, strict=True):
            rows = store.rows(items)
            if lacking := int((rows < 0).sum()):
                notes.append(f"{lacking} items that {part.of.in_words()} lacks get the mean of its vectors")
            mean = of_part[known].mean(dim=0)
            columns.append(torch.where((rows < 0).unsqueeze(-1), mean, of_part[rows.clamp_min(0)]))
        notes += self._on_variances([float(column.var(dim=0).sum()) for column in columns])
        fused = torch.cat(columns, dim=1) if self.how == "concat" else torch.stack(columns).sum(dim=0)
        return Vectors(fused, items, {}, tuple(notes))

    def _on_variances(self, variances: list[float]) -> list[str]:
        """A sentence where one part all but decides where the fused vectors point."""
        if max(variances) < LOPSIDED * min(variances):
            return []
        told = " and ".join(
            f"{variance:.3g} ({part.of.in_words()})" for variance, part in zip(variances, self.fused, strict=True)
        )
        return [
            f"the parts' variances are {told}: the largest part decides what a PCA keeps of them, and how near two "
            "items are. Give each a transform of its own, such as [center, {scale: 1}]"
        ]

    def parts(self) -> list[VectorSource]:
        return [part.of for part in self.fused]

    def with_seed(self, number: int) -> Self:
        parts = tuple(part.model_copy(update={"of": part.of.with_seed(number)}) for part in self.fused)
        return self.model_copy(update={"fused": parts})

    def width(self, dataset: Dataset) -> int | None:
        from recbole_ext.store.transforms import width_after

        widths = []
        for part in self.fused:
            width = part.of.width(dataset)
            if width is None:
                return None
            widths.append(width_after(part.transform, width))
        self._check_widths(widths)
        return sum(widths) if self.how == "concat" else widths[0]

    def estimate(self, dataset: Dataset) -> Estimate | None:
        return Estimate(0.0, LOADED_MB, fixed=4.0)

    def in_words(self) -> str:
        return f"fused {' + '.join(part.of.in_words() for part in self.fused)}"

    @staticmethod
    def _fitted_on(part: Part, items: list[str], dataset: Dataset) -> Tensor:
        """Which of the part's items decide what is done to all of them, bool ``[items]``."""
        import torch

        fitted_on = dataset.items_to_fit_on()
        if fitted_on is None:
            return torch.ones(len(items), dtype=torch.bool)
        trained = set(fitted_on)
        known = torch.tensor([item in trained for item in items])
        if not known.any():
            raise ConfigurationError(
                f"fused: {part.of.in_words()} has no vector of an item of {dataset.name}'s training period. Choose "
                "another source, or a later cut."
            )
        return known

    def _check_widths(self, widths: list[int]) -> None:
        if self.how == "sum" and len(set(widths)) > 1:
            raise ConfigurationError(
                f"fused: how: sum needs equal widths, and the parts have {' and '.join(map(str, widths))}; bring "
                "them to one with a transform of their own, such as {pca: 64}."
            )
