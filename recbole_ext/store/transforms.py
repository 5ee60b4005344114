"""What is done to item vectors before a model gets them: ``item_embedding_transform``.

Each transform is fitted on the vectors of the dataset's own items, ``[items, width]``, or of some of them (those that
training has, where others come later), and computed in float64, so that neither the order of the items nor the other
ones change the result beyond rounding. Vectors are read a piece at a time (:class:`Rows`), and sums are kept of them: a
store may fill half of the memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import torch

from recbole_ext.errors import ConfigurationError
from recbole_ext.store.item_embedding_store import ROWS_AT_ONCE
from recbole_ext.wording import did_you_mean

Vectors: TypeAlias = torch.Tensor
Transform: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Vectors, float64 ``[any number, width]``, to what a transform fitted on the dataset's makes of them."""
SMALLEST_DEVIATION = 1e-12
"""Numbers whose standard deviation is below it are one number and rounding."""
NO_DIRECTION = 1e-5
"""Of the mean norm: vectors below it are what rounding has left."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a matrix as transforms make them, in float64 and a piece at a time: there is no copy of the whole.

    Attributes:
        matrix: ``[any number, width]``.
        numbers: which of its rows, ``[rows]``; ``None``: all, in their order.
        transforms: what is done to them, in order.
    """

    matrix: Vectors
    numbers: torch.Tensor | None = None
    transforms: tuple[Transform, ...] = ()

    def __len__(self) -> int:
        return len(self.matrix if self.numbers is None else self.numbers)

    @property
    def width(self) -> int:
        """After the transforms."""
        return next(self.pieces()).shape[1]

    def pieces(self) -> Iterator[Vectors]:
        """``[up to ROWS_AT_ONCE, width]`` each; of no rows one empty piece."""
        for piece in (self.matrix if self.numbers is None else self.numbers).split(ROWS_AT_ONCE):
            rows = (piece if self.numbers is None else self.matrix[piece]).double()
            for transform in self.transforms:
                rows = transform(rows)
            yield rows

    def then(self, transform: Transform) -> Rows:
        """The same rows after one more transform."""
        return replace(self, transforms=(*self.transforms, transform))

    def sum(self, of: Transform) -> torch.Tensor:
        """The sum of what ``of`` makes of each piece."""
        return reduce(operator.add, map(of, self.pieces()))

    def mean(self) -> torch.Tensor:
        """The mean vector, ``[width]``."""
        return self.sum(lambda rows: rows.sum(dim=0)) / len(self)

    def variance(self) -> torch.Tensor:
        """The variance of each column, ``[width]``."""
        mean = self.mean()
        return self.sum(lambda rows: (rows - mean).pow(2).sum(dim=0)) / len(self)

    def deviation(self) -> torch.Tensor:
        """The standard deviation over all entries."""
        mean = self.mean().mean()
        return (self.sum(lambda rows: (rows - mean).pow(2).mean(dim=1).sum()) / len(self)).sqrt()

    def gathered(self) -> Vectors:
        """All rows, float32 ``[rows, width]``, in memory of their own."""
        whole = torch.empty(len(self), self.width, device=self.matrix.device)
        for part, rows in zip(whole.split(ROWS_AT_ONCE), self.pieces(), strict=True):
            part.copy_(rows)
        return whole


def center(vectors: Rows) -> Transform:
    """Subtract the mean vector."""
    mean = vectors.mean()
    return lambda others: others - mean


def l2(vectors: Rows) -> Transform:
    """Divide each vector by its Euclidean norm; a zero vector stays zero."""
    return lambda others: torch.nn.functional.normalize(others, dim=-1)


def pca(vectors: Rows, width: int) -> Transform:
    """Project the centred vectors on their first ``width`` principal components (LLM2BERT4Rec, arXiv 2309.09261).

    Raises:
        ConfigurationError: fewer vectors than components; the rest of the columns would be zero.
    """
    if width > (most := _most_axes(vectors)):
        raise ConfigurationError(
            f"item_embedding_transform: pca to {width} needs more than {width} items; the {len(vectors)} here vary "
            f"along {most} axes. Write {{pca: {most}}} and a narrower model, or {{width: {width}}}, which adds zeros."
        )
    mean, axes, _ = _principal_axes(vectors)
    axes = axes[:, :width]
    return lambda others: (others - mean) @ axes


def whiten(vectors: Rows) -> Transform:
    """Turn to the principal axes and divide by each one's standard deviation: covariance becomes the identity.

    Axes without variance (a rank below the width) are set to zero rather than blown up.
    """
    mean, axes, variance = _principal_axes(vectors)
    alive = variance > variance.max() * 1e-10
    return lambda others: ((others - mean) @ axes) * torch.where(alive, variance.clamp_min(1e-300).rsqrt(), 0.0)


def select(vectors: Rows, width: int) -> Transform:
    """Keep the ``width`` columns of the largest variance, in their order (LLMInit-Var, arXiv 2503.01814).

    The paper takes the variance over the most popular fifth of the items; here all items count.
    """
    chosen = vectors.variance().topk(width).indices.sort().values
    return lambda others: others[:, chosen]


def width(vectors: Rows, wanted: int) -> Transform:
    """Make vectors ``wanted`` wide: wider ones by :func:`pca`, narrower ones by zeros behind them.

    So few items that they vary along fewer axes than ``wanted`` get zeros behind those.
    """
    own = vectors.width
    if own <= wanted:
        return lambda others: torch.nn.functional.pad(others, (0, wanted - own))
    kept = min(wanted, _most_axes(vectors))
    projected = pca(vectors, kept)
    return lambda others: torch.nn.functional.pad(projected(others), (0, wanted - kept))


def scale(vectors: Rows, deviation: Any, key: str = "item_embedding_transform: scale") -> Transform:
    """Scale all vectors by one factor, so that the standard deviation over all their entries is ``deviation``."""
    factor = factor_to(deviation, vectors.deviation(), key)
    return lambda others: others * factor


def factor_to(deviation: Any, present: torch.Tensor, key: str) -> torch.Tensor:
    """What numbers of the standard deviation ``present`` are multiplied with, so that it becomes ``deviation``.

    Raises:
        ConfigurationError: ``deviation``, the value of ``key``, is no number above 0; or the numbers don't differ.
    """
    check_deviation(deviation, key)
    if present < SMALLEST_DEVIATION:
        raise ConfigurationError(
            f"{key}: the vectors are all the same number, so that no factor gives them a deviation."
        )
    return deviation / present


def check_deviation(deviation: Any, key: str) -> None:
    """See that ``deviation``, the value of ``key``, is a number above 0; else a ``ConfigurationError``."""
    if not isinstance(deviation, int | float) or isinstance(deviation, bool) or not 0 < deviation < math.inf:
        raise ConfigurationError(f"{key} needs a number above 0, such as 0.02; got {deviation!r}.")


def _any_width(wanted: Any, own: int) -> int:
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise ConfigurationError(f"item_embedding_transform: width needs a whole number from 1 on; got {wanted!r}.")
    return wanted


def _no_wider(transform: str) -> Callable[[Any, int], int]:
    def width(wanted: Any, own: int) -> int:
        if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 < wanted <= own:
            raise ConfigurationError(
                f"item_embedding_transform: {transform} needs a width from 1 to {own}, the width of the vectors; "
                f"got {wanted!r}."
            )
        return wanted

    return width


def _same_width(deviation: Any, own: int) -> int:
    check_deviation(deviation, "item_embedding_transform: scale")
    return own


PLAIN: dict[str, Callable[[Rows], Transform]] = {"center": center, "l2": l2, "whiten": whiten}
WITH_ARGUMENT: dict[str, tuple[Callable[[Rows, Any], Transform], Callable[[Any, int], int]]] = {
    "pca": (pca, _no_wider("pca")),
    "width": (width, _any_width),
    "select": (select, _no_wider("select")),
    "scale": (scale, _same_width),
}
"""What fits each, and what gives the width that it makes of another, or refuses its argument."""
TRANSFORMS = [*PLAIN, *WITH_ARGUMENT]


def transformed(vectors: Rows, steps: Sequence[Any] | None) -> Rows:
    """``vectors`` after ``steps`` too, each fitted on what the steps before it make of them.

    A step is a name (``center``, ``l2``, ``whiten``) or a mapping of one name to its argument
    (``{pca: 64}``, ``{scale: 0.02}``). Raises ``ConfigurationError`` for anything else.
    """
    for name, argument in _named(steps):
        if name in PLAIN:
            vectors = vectors.then(PLAIN[name](vectors))
        else:
            fit, width_of = WITH_ARGUMENT[name]
            width_of(argument, vectors.width)
            vectors = vectors.then(fit(vectors, argument))
    return vectors


def apply_transforms(vectors: Vectors, steps: Sequence[Any] | None, fitted_on: torch.Tensor | None = None) -> Vectors:
    """Apply ``steps`` in order to ``vectors``, ``[items, width]``; returns float32 ``[items, new width]``.

    Without steps these are the vectors themselves, where they are float32.

    Args:
        steps: see :func:`transformed`.
        fitted_on: which of the vectors the steps are fitted on, bool ``[items]``; ``None``: all.
    """
    transforms = transformed(_known(vectors, fitted_on), steps).transforms
    return Rows(vectors, transforms=transforms).gathered() if transforms else vectors.float()


def directions(vectors: Vectors, steps: Sequence[Any] = (), fitted_on: torch.Tensor | None = None) -> Vectors:
    """``vectors`` after ``steps``, each divided by its norm, so that products of two are cosines; float32.

    One that is next to nothing beside the others has no direction, and becomes zero: of an item that got the mean of
    the others, centring leaves rounding, which must not be blown up to a vector like any other.

    Args:
        steps, fitted_on: see :func:`apply_transforms`.
    """
    rows = Rows(vectors, transforms=transformed(_known(vectors, fitted_on), steps).transforms)
    least = NO_DIRECTION * rows.sum(lambda piece: piece.norm(dim=-1).sum()) / len(rows)

    def divided(piece: Vectors) -> Vectors:
        norms = piece.norm(dim=-1, keepdim=True)
        return torch.where(norms > least, piece / norms, 0.0)

    return rows.then(divided).gathered()


def width_after(steps: Sequence[Any] | None, width: int) -> int:
    """The width that ``steps`` make of vectors ``width`` wide, found without computing anything.

    Raises:
        ConfigurationError: a step is no transform, or asks for more than there is.
    """
    for name, argument in _named(steps):
        if name in WITH_ARGUMENT:
            width = WITH_ARGUMENT[name][1](argument, width)
    return width


def _known(vectors: Vectors, fitted_on: torch.Tensor | None) -> Rows:
    return Rows(vectors, None if fitted_on is None else fitted_on.nonzero().flatten())


def _named(steps: Sequence[Any] | None) -> Iterator[tuple[str, Any]]:
    """Each step's name and argument, ``None`` where it has none."""
    for step in steps if isinstance(steps, list | tuple) else [] if steps is None else [steps]:
        if isinstance(step, str) and step in PLAIN:
            yield step, None
        elif isinstance(step, dict) and len(step) == 1 and next(iter(step)) in WITH_ARGUMENT:
            yield next(iter(step.items()))
        else:
            given = str(next(iter(step), "") if isinstance(step, dict) else step)
            others = [name for name in TRANSFORMS if name != given]
            raise ConfigurationError(
                f"item_embedding_transform: {step!r} is not a transform; use "
                f"{', '.join(PLAIN)}, {', '.join(f'{{{name}: NUMBER}}' for name in WITH_ARGUMENT)}. "
                f"{did_you_mean(given, others)}".rstrip()
            )


def _most_axes(vectors: Rows) -> int:
    """Along how many axes so many vectors can vary."""
    return max(1, min(vectors.width, len(vectors) - 1))


def _principal_axes(vectors: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean, ``[dim]``, the principal axes as columns, ``[dim, dim]``, and their variances, the largest first."""
    mean = vectors.mean()
    centred = vectors.then(lambda rows: rows - mean)
    variance, axes = torch.linalg.eigh(centred.sum(lambda rows: rows.T @ rows) / max(len(vectors), 1))
    variance, axes = variance.flip(0).clamp_min(0), axes.flip(1)
    # An axis has no sign of its own; fix one, so that the same vectors give the same result on every machine.
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    return mean, axes * largest.sign(), variance
