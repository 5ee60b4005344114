"""Attach a store to a model: item tokens in, rows of ``item_embedding`` out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import parametrize

from recbole_ext.attach.parametrizations import Adapter, Bounded, Dual, Frozen
from recbole_ext.attach.places import ItemTable, item_tables
from recbole_ext.errors import AttachError, ConfigurationError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.item_embedding_store import ROWS_AT_ONCE
from recbole_ext.store.transforms import Rows, Transform, factor_to, scale, transformed

log = logging.getLogger(__name__)

MODES = ("full", "frozen", "adapter", "bounded", "dual")
ANY_WIDTH = ("adapter", "dual")
"""Modes that bring vectors to the model's width themselves."""
BOUND = 0.5
DENSE_PROBABILITY = 0.5
MISSING = ("error", "mean", "random")


@dataclass(frozen=True)
class Coverage:
    """How many of a dataset's items got their vector from the store."""

    items: int
    covered: int
    missing: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def attach_item_embedding(model: Any, dataset: Any, config: Any) -> Coverage | None:
    """Give the items of ``model`` the vectors of the store that ``config["item_embedding"]`` names.

    Call it on a freshly built RecBole model, before its optimiser is built. Works for any model that keeps its items in
    tables that :func:`recbole_ext.attach.places.item_tables` finds; each of them gets the vectors. Rows are found by
    item *token*; the others (padding, BERT4Rec's mask, other features and entities) are left alone. Without the key
    ``item_embedding`` nothing is touched and no random number is drawn, unless ``item_embedding_scale`` gives the
    model's own random vectors that standard deviation; vectors of a store get it after their transforms, so that one
    search covers both.

    Args:
        model: a RecBole recommender.
        dataset: the RecBole dataset of the training split; its item field maps tokens to internal ids, and ``bounded``
            and ``dual`` ask it which items have interactions.
        config: RecBole's ``Config`` or any mapping with ``item_embedding`` (a path or an ``ItemEmbeddingStore``),
            ``item_embedding_transform``, ``item_embedding_mode``, ``item_embedding_missing``, and perhaps
            ``item_embedding_scale``, for ``bounded`` ``item_embedding_bound`` (in units of the vectors' mean norm, 0.5
            by default as in its paper, where every norm is one) and for ``dual`` ``item_embedding_dense_probability``
            (0.5 by default).

    A model that has read the store itself is left alone: it says so by an ``item_vector_coverage``, or its class by
    ``needs_item_vectors = True``.

    Returns:
        The coverage, or ``None`` where no store is named.

    Raises:
        AttachError: the model has no table of items; widths differ; items are missing under ``error``.
        ConfigurationError: an unknown mode, policy or transform, or a bound or probability that can't be.
        StoreError: the store can't be read.
    """
    if not config["item_embedding"]:
        if (deviation := _optional(config, "item_embedding_scale")) is not None:
            _scale_random_vectors(model, dataset, deviation)
        return None
    if getattr(model, "needs_item_vectors", False) and not hasattr(model, "item_vector_coverage"):
        model.item_vector_coverage = _fitted(dataset, config).coverage
    if hasattr(model, "item_vector_coverage"):
        return model.item_vector_coverage
    mode = _choice(config, "item_embedding_mode", MODES)
    tables = item_tables(model, dataset.iid_field)
    if any(parametrize.is_parametrized(table.embedding) for table in tables):
        raise AttachError("item_embedding: this model has a store attached already; build a fresh model.")
    vectors, coverage = item_vectors(dataset, config)
    log.info("item_embedding: mode %s, in %s", mode, ", ".join(table.name for table in tables))
    for table in tables:
        _check_width(vectors, table, mode)
        _put(vectors.to(table.embedding.weight.device), table, mode, dataset, config)
    return coverage


def new_item_rows(model: Any, vectors: torch.Tensor, iid_field: str = "item_id") -> torch.Tensor:
    """Items that the model's dataset does not have as the model would see them, ``[items, width]``.

    The score of such an item is the dot product of the model's output with its row, where the model scores so.

    Args:
        vectors: ``[items, dim]``, transformed as the dataset's own were.
    """
    (table,) = item_tables(model, iid_field)
    embedding = table.embedding
    if not parametrize.is_parametrized(embedding):
        return vectors
    return embedding.parametrizations.weight[0].rows_of(vectors)


def item_vectors(dataset: Any, config: Any) -> tuple[torch.Tensor, Coverage]:
    """The vectors of the store that ``config["item_embedding"]`` names, one for each item of ``dataset``.

    Rows are found by item token, transformed by ``item_embedding_transform`` and, where the store lacks the item,
    filled as ``item_embedding_missing`` says.

    Returns:
        float32 ``[n_items - 1, dim]`` in the order of RecBole's internal item ids from 1, and the coverage.

    Raises:
        AttachError: no store is named; items are missing under ``error``.
        ConfigurationError: an unknown policy or transform.
        StoreError: the store can't be read.
    """
    fitted = _fitted(dataset, config)
    vectors = Rows(fitted.store.embeddings, fitted.rows.clamp_min(0), fitted.transforms).gathered()
    _fill_missing(vectors, fitted, config["seed"])
    return vectors, fitted.coverage


def new_item_vectors(dataset: Any, config: Any, new: torch.Tensor) -> torch.Tensor:
    """Vectors of items that ``dataset`` does not have, ``[items, dim]``, as :func:`item_vectors` transforms its own.

    Nothing is fitted on ``new``: mean, axes and scale are those of the dataset's items.

    Raises:
        AttachError: they are of another width than the dataset's; else as :func:`item_vectors`.
    """
    fitted = _fitted(dataset, config)
    if new.shape[1] != fitted.store.dim:
        raise AttachError(
            f"item_embedding: the new items' vectors are {new.shape[1]} wide, those of the store {fitted.name} "
            f"{fitted.store.dim}: they are not of one source."
        )
    return Rows(new, transforms=fitted.transforms).gathered()


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A store as a dataset uses it.

    Attributes:
        name: of the store, for messages.
        rows: of each item of the dataset, ``[n_items - 1]``; -1 where the store lacks it.
        known: which items have decided the transforms, bool ``[n_items - 1]``; the store has them all.
        transforms: what is done to its vectors, in order.
        policy: ``item_embedding_missing``.
    """

    store: ItemEmbeddingStore
    name: str
    rows: torch.Tensor
    known: torch.Tensor
    transforms: tuple[Transform, ...]
    policy: str
    coverage: Coverage

    @property
    def covered(self) -> torch.Tensor:
        """Which items the store has, bool ``[n_items - 1]``."""
        return self.rows >= 0


def _fitted(dataset: Any, config: Any) -> _Fitted:
    source = config["item_embedding"]
    if not source:
        raise AttachError(
            f"item_embedding: {config['model']} is made of item vectors and needs a store: name one with this key, "
            "in a benchmark by an initialisation with `encoder` or `store`."
        )
    policy = _choice(config, "item_embedding_missing", MISSING)
    store = source if isinstance(source, ItemEmbeddingStore) else ItemEmbeddingStore.load(Path(source))
    name = "given" if isinstance(source, ItemEmbeddingStore) else str(source)
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
    rows = store.rows(tokens)
    known = rows >= 0
    coverage = count_covered(tokens, known.tolist(), policy, name)
    log.info("item_embedding: %d of %d items covered by the store %s", coverage.covered, coverage.items, name)
    if (fitted_on := items_to_fit_on(dataset)) is not None:
        known = known & fitted_on
        if not known.any():
            raise AttachError(f"item_embedding: no item of the training period is in the store {name}.")
    vectors = transformed(Rows(store.embeddings, rows[known]), config["item_embedding_transform"])
    if (deviation := _optional(config, "item_embedding_scale")) is not None:
        vectors = vectors.then(scale(vectors, deviation, "item_embedding_scale"))
    return _Fitted(store, name, rows, known, vectors.transforms, policy, coverage)


def items_to_fit_on(dataset: Any) -> torch.Tensor | None:
    """Which items of ``dataset`` may decide what is done to all vectors, bool ``[n_items - 1]``; ``None``: all.

    Where data are cut in time (:class:`recbole_ext.data.temporal_dataset.TemporalSplit`), those of training.
    """
    n_trained = getattr(dataset, "n_trained_items", None)
    return None if n_trained is None else torch.arange(1, dataset.item_num) < n_trained


def _choice(config: Any, key: str, choices: tuple[str, ...]) -> str:
    value = config[key] or choices[0]
    if value not in choices:
        raise ConfigurationError(f"{key}: {value!r} is unknown; choose one of {', '.join(choices)}.")
    return value


def _optional(config: Any, key: str) -> Any:
    """The value of a key that a mapping need not have; RecBole's ``Config`` gives ``None`` for unknown ones."""
    return config[key] if key in config else None  # noqa: SIM401 (a Config has no get)


def count_covered(tokens: Sequence[str], covered: Sequence[bool], policy: str, store: str) -> Coverage:
    """How many of a dataset's items, ``tokens``, are ``covered`` by the store of this name.

    Raises:
        AttachError: none is; or one is not, and ``policy``, that of ``item_embedding_missing``, is ``error``.
    """
    absent = [token for token, there in zip(tokens, covered, strict=True) if not there]
    coverage = Coverage(len(tokens), len(tokens) - len(absent), len(absent))
    if coverage.covered == 0:
        raise AttachError(
            f"item_embedding: none of the dataset's {coverage.items} items is in the store {store}; "
            "it was made for another dataset. Encode this one: recbole-ext encode DATASET --out STORE."
        )
    if absent and policy == "error":
        raise AttachError(
            f"item_embedding: {coverage.missing} of {coverage.items} items are not in the store {store}, the first "
            f"{', '.join(absent[:5])}. Set item_embedding_missing (in a benchmark: `missing` of the "
            "initialisation) to 'mean' or 'random', or encode the dataset again."
        )
    return coverage


def _fill_missing(vectors: torch.Tensor, fitted: _Fitted, seed: Any) -> None:
    """Write into the rows of ``vectors``, ``[n_items - 1, width]``, that the store lacks what the policy says.

    ``mean`` is the mean of the rows that decided the transforms; ``random`` draws from a normal distribution with their
    mean and standard deviation per dimension, from a generator of its own seeded with the run's seed.
    """
    lacking = ~fitted.covered
    if not lacking.any():
        return
    known = Rows(vectors, fitted.known.nonzero().flatten())
    mean, deviation = known.mean().float(), known.variance().sqrt().float()
    vectors[lacking] = mean
    if fitted.policy != "random":
        return
    generator = torch.Generator().manual_seed(int(seed or 0))
    for part, absent in zip(vectors.split(ROWS_AT_ONCE), lacking.split(ROWS_AT_ONCE), strict=True):
        # Drawn for every item, so that an item's draw is the same whatever else the store lacks.
        drawn = torch.randn(part.shape, generator=generator)
        part[absent] += drawn[absent] * deviation


def _check_width(vectors: torch.Tensor, table: ItemTable, mode: str) -> None:
    n_items, width = vectors.shape
    rows, own_width = table.embedding.num_embeddings, table.embedding.embedding_dim
    if rows < table.first + n_items:
        raise AttachError(
            f"item_embedding: the model's matrix has {rows} rows, too few for {n_items} items and the padding row; it "
            "was built for another dataset."
        )
    if mode not in ANY_WIDTH and width != own_width:
        bridge = "pca" if width > own_width else "width"  # a projection, or zeros behind the vectors
        raise AttachError(
            f"item_embedding: the vectors are {width} wide, the model's items {own_width} ({table.name}). Bridge them "
            f"with item_embedding_transform: [{{{bridge}: {own_width}}}], with item_embedding_mode: adapter, "
            f"or give the model the vectors' width (hidden_size or embedding_size: {width})."
        )


def _scale_random_vectors(model: Any, dataset: Any, deviation: Any) -> None:
    """Give the rows of the items, as the model drew them, the standard deviation ``deviation`` over all entries."""
    try:
        tables = item_tables(model, dataset.iid_field)
    except AttachError as error:
        raise AttachError(
            f"item_embedding_scale: {type(model).__name__} keeps its items in no table whose vectors could be scaled; "
            "leave the key out for it."
        ) from error
    for table in tables:
        rows = slice(table.first, table.first + dataset.item_num - 1)
        with torch.no_grad():
            vectors = table.embedding.weight[rows]
            vectors *= factor_to(deviation, vectors.std(correction=0), "item_embedding_scale")


def _put(vectors: torch.Tensor, table: ItemTable, mode: str, dataset: Any, config: Any) -> None:
    embedding, first = table.embedding, table.first
    if mode == "full":
        with torch.no_grad():
            embedding.weight[first : first + len(vectors)] = vectors
        return
    function = _function(vectors, table, mode, dataset, config)
    parametrize.register_parametrization(embedding, "weight", function.to(embedding.weight.device))


def _function(vectors: torch.Tensor, table: ItemTable, mode: str, dataset: Any, config: Any) -> Frozen:
    first, width = table.first, table.embedding.embedding_dim
    if mode == "frozen":
        return Frozen(vectors, first)
    if mode == "adapter":
        return Adapter(vectors, width, first)
    trained = torch.from_numpy(np.asarray(dataset.inter_matrix(form="csr").sum(axis=0)).ravel()[1:] > 0)
    if mode == "dual":
        probability = _number(config, "item_embedding_dense_probability", DENSE_PROBABILITY, 1.0)
        return Dual(vectors, width, probability, trained.to(vectors.device), first)
    bound = _number(config, "item_embedding_bound", BOUND)
    norms, fitted_on = vectors.norm(dim=1), items_to_fit_on(dataset)
    radius = bound * (norms if fitted_on is None else norms[fitted_on]).mean().item()
    log.info("item_embedding: differences of at most %.4g, %g of the vectors' mean norm", radius, bound)
    return Bounded(vectors, radius, trained.to(vectors.device), first)


def _number(config: Any, key: str, default: float, most: float = math.inf) -> float:
    value = _optional(config, key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        range_ = "a number from 0" if most == math.inf else f"a number from 0 to {most:g}"
        raise ConfigurationError(f"{key}: {value!r} is not {range_}.")
    return float(value)
