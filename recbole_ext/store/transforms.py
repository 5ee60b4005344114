"""What is done to item vectors before a model gets them: ``item_embedding_transform``.

Each transform is fitted on the vectors of the dataset's own items, ``[items, width]``, or of some of them (those that
training has, where others come later), and computed in float64, so that neither the order of the items nor the other
ones change the result beyond rounding. The functions take the vectors and, second, those that they are fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from recbole_ext.errors import ConfigurationError
from recbole_ext.wording import did_you_mean

Vectors: TypeAlias = torch.Tensor
Transform: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Vectors, ``[any number, width]``, to what a transform fitted on the dataset's makes of them."""


def center(vectors: Vectors) -> Transform:
    """Subtract the mean vector."""
    mean = vectors.mean(dim=0)
    return lambda others: others - mean


def l2(vectors: Vectors) -> Transform:
    """Divide each vector by its Euclidean norm; a zero vector stays zero."""
    return lambda others: torch.nn.functional.normalize(others, dim=-1)


def pca(vectors: Vectors, width: Any) -> Transform:
    """Project the centred vectors on their first ``width`` principal components (LLM2BERT4Rec, arXiv 2309.09261).

    Raises:
        ConfigurationError: fewer vectors than components; the rest of the columns would be zero.
    """
    _check_width("pca", vectors, width)
    if width > (most := _most_axes(vectors)):
        raise ConfigurationError(
            f"item_embedding_transform: pca to {width} needs more than {width} items; the {len(vectors)} here vary "
            f"along {most} axes. Write {{pca: {most}}} and a narrower model, or {{width: {width}}}, which adds zeros."
        )
    axes, centred = _principal_axes(vectors, width)[0], center(vectors)
    return lambda others: centred(others) @ axes


def whiten(vectors: Vectors) -> Transform:
    """Turn to the principal axes and divide by each one's standard deviation: covariance becomes the identity.

    Axes without variance (a rank below the width) are set to zero rather than blown up.
    """
    axes, variance = _principal_axes(vectors, vectors.shape[1])
    alive, centred = variance > variance.max() * 1e-10, center(vectors)
    return lambda others: (centred(others) @ axes) * torch.where(alive, variance.clamp_min(1e-300).rsqrt(), 0.0)


def select(vectors: Vectors, width: Any) -> Transform:
    """Keep the ``width`` columns of the largest variance, in their order (LLMInit-Var, arXiv 2503.01814).

    The paper takes the variance over the most popular fifth of the items; here all items count.
    """
    _check_width("select", vectors, width)
    chosen = vectors.var(dim=0, correction=0).topk(width).indices.sort().values
    return lambda others: others[:, chosen]


def width(vectors: Vectors, wanted: Any) -> Transform:
    """Make vectors ``wanted`` wide: wider ones by :func:`pca`, narrower ones by zeros behind them.

    So few items that they vary along fewer axes than ``wanted`` get zeros behind those.
    """
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise ConfigurationError(f"item_embedding_transform: width needs a whole number from 1 on; got {wanted!r}.")
    own = vectors.shape[1]
    if own <= wanted:
        return lambda others: torch.nn.functional.pad(others, (0, wanted - own))
    kept = min(wanted, _most_axes(vectors))
    projected = pca(vectors, kept)
    return lambda others: torch.nn.functional.pad(projected(others), (0, wanted - kept))


def scale(vectors: Vectors, deviation: Any, key: str = "item_embedding_transform: scale") -> Transform:
    """Scale all vectors by one factor, so that the standard deviation over all their entries is ``deviation``."""
    if not isinstance(deviation, int | float) or isinstance(deviation, bool) or deviation <= 0:
        raise ConfigurationError(f"{key} needs a number above 0, such as 0.02; got {deviation!r}.")
    factor = deviation / vectors.std(correction=0).clamp_min(1e-300)
    return lambda others: others * factor


PLAIN: dict[str, Callable[[Vectors], Transform]] = {"center": center, "l2": l2, "whiten": whiten}
WITH_ARGUMENT: dict[str, Callable[[Vectors, Any], Transform]] = {
    "pca": pca,
    "width": width,
    "select": select,
    "scale": scale,
}
TRANSFORMS = [*PLAIN, *WITH_ARGUMENT]


def apply_transforms(vectors: Vectors, steps: Sequence[Any] | None, fitted_on: Vectors | None = None) -> Vectors:
    """Apply ``steps`` in order to ``vectors``, ``[items, width]``; returns float32 ``[items, new width]``.

    ``fitted_on`` says which of them the steps are fitted on, bool ``[items]``; ``None``: all.

    A step is a name (``center``, ``l2``, ``whiten``) or a mapping of one name to its argument
    (``{pca: 64}``, ``{scale: 0.02}``). Raises ``ConfigurationError`` for anything else.
    """
    return transform_alike(vectors, steps, vectors[:0], fitted_on)[0]


def transform_alike(
    vectors: Vectors, steps: Sequence[Any] | None, others: Vectors, fitted_on: Vectors | None = None
) -> tuple[Vectors, Vectors]:
    """The same, and ``others`` ``[others, width]`` under the transforms that were fitted on ``vectors`` alone."""
    if steps is None:
        steps = []
    if isinstance(steps, str | dict):
        steps = [steps]
    vectors, others = vectors.double(), others.double()
    for step in steps:
        transform = _fitted(vectors if fitted_on is None else vectors[fitted_on], step)
        vectors, others = transform(vectors), transform(others)
    return vectors.float(), others.float()


def width_after(steps: Sequence[Any] | None, width: int) -> int:
    """The width that ``steps`` make of vectors ``width`` wide, found without computing anything.

    Raises:
        ConfigurationError: a step is no transform, or asks for more than there is.
    """
    return int(apply_transforms(torch.empty(1, width, device="meta"), steps).shape[1])


def _fitted(vectors: Vectors, step: Any) -> Transform:
    if isinstance(step, str) and step in PLAIN:
        return PLAIN[step](vectors)
    if isinstance(step, dict) and len(step) == 1:
        name, argument = next(iter(step.items()))
        if name in WITH_ARGUMENT:
            return WITH_ARGUMENT[name](vectors, argument)
    given = str(next(iter(step), "") if isinstance(step, dict) else step)
    others = [name for name in (*PLAIN, *WITH_ARGUMENT) if name != given]
    raise ConfigurationError(
        f"item_embedding_transform: {step!r} is not a transform; use "
        f"{', '.join(PLAIN)}, {', '.join(f'{{{name}: NUMBER}}' for name in WITH_ARGUMENT)}. "
        f"{did_you_mean(given, others)}".rstrip()
    )


def _check_width(transform: str, vectors: Vectors, width: Any) -> None:
    limit = vectors.shape[1]
    if not isinstance(width, int) or isinstance(width, bool) or not 0 < width <= limit:
        raise ConfigurationError(
            f"item_embedding_transform: {transform} needs a width from 1 to {limit}, the width of the vectors; "
            f"got {width!r}."
        )


def _most_axes(vectors: Vectors) -> int:
    """Along how many axes so many vectors can vary; of vectors without content, along all of their own."""
    return vectors.shape[1] if vectors.is_meta else max(1, min(vectors.shape[1], len(vectors) - 1))


def _principal_axes(vectors: Vectors, width: Any) -> tuple[Vectors, Vectors]:
    """The first ``width`` principal axes as columns, ``[dim, width]``, with their variances, ``[width]``."""
    _check_width("pca", vectors, width)
    centred = center(vectors)(vectors)
    variance, axes = torch.linalg.eigh(centred.T @ centred / max(len(vectors), 1))
    variance, axes = variance.flip(0)[:width].clamp_min(0), axes.flip(1)[:, :width]
    # An axis has no sign of its own; fix one, so that the same vectors give the same result on every machine.
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    return axes * largest.sign(), variance
