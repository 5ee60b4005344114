"""Where a model keeps its items: the only place that knows models by name for that, asked by the hook.

Most models of RecBole have one ``nn.Embedding`` called ``item_embedding`` with a row per item. The others are listed
here. A model of one's own with another name says it by an attribute ``item_tables`` of its class, a tuple of places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import nn

from recbole_ext.errors import AttachError


@dataclass(frozen=True)
class Place:
    """An attribute that holds items' vectors.

    Attributes:
        path: of an ``nn.Embedding``, or of RecBole's ``FMEmbedding`` (one table for all token fields, one after the
            other); dots lead into submodules.
        fields: attribute path to the names of the table's fields, in order; for an ``FMEmbedding``.
        after: attribute with the number of rows, such as users, that stand before the items.
    """

    path: str
    fields: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class ItemTable:
    """A table with a model's item vectors in it.

    Attributes:
        name: of the attribute, for messages.
        embedding: ``[rows, width]``.
        first: the row of the first item, RecBole's internal id 1; the others follow.
    """

    name: str
    embedding: nn.Embedding
    first: int


DEFAULT = (Place("item_embedding"),)
OF_ENTITIES = (Place("entity_embedding"),)  # in RecBole's knowledge graphs the items are the first entities
OF_FEATURES = (Place("token_embedding_table", fields="token_field_names"),)
OF_SEQUENCE_FEATURES = (
    Place("embedding_layer.token_embedding_table.item", fields="embedding_layer.token_field_names.item"),
)

NOWHERE: tuple[Place, ...] = ()  # these inherit the table of features and don't read it

ITEM_TABLES: dict[str, tuple[Place, ...]] = {
    "CFKG": OF_ENTITIES,
    "ContextRecommender": OF_FEATURES,
    "DIEN": OF_SEQUENCE_FEATURES,
    "DIN": OF_SEQUENCE_FEATURES,
    "FFM": NOWHERE,
    "FISM": (Place("item_src_embedding"), Place("item_dst_embedding")),
    "FPMC": (Place("IU_emb"), Place("LI_emb"), Place("IL_emb")),
    "HGN": (*DEFAULT, Place("item_embedding_for_prediction")),
    "KGAT": OF_ENTITIES,
    "KGCN": OF_ENTITIES,
    "KGIN": OF_ENTITIES,
    "KGNNLS": OF_ENTITIES,
    "LR": NOWHERE,
    "MCCLK": OF_ENTITIES,
    "MKR": (Place("item_embeddings_lookup"),),
    "NAIS": (Place("item_src_embedding"), Place("item_dst_embedding")),
    "NeuMF": (Place("item_mf_embedding"), Place("item_mlp_embedding")),
    "RepeatNet": (Place("item_matrix"),),
    "RippleNet": OF_ENTITIES,
    "SimpleX": (Place("item_emb"),),
}
"""Models, or their abstract class, to where their items are; one table for each role that an item has."""


def places_of(model: type) -> tuple[Place, ...]:
    """Where models of a class keep their items, as far as the class says; none: nowhere.

    Raises:
        AttachError: a user's class says it in another form.
    """
    own = getattr(model, "item_tables", None)
    if own is not None and not (isinstance(own, tuple) and all(isinstance(place, Place) for place in own)):
        raise AttachError(
            f"{model.__name__}.item_tables is {own!r}; it should be a tuple such as (Place('emb'),), with Place from "
            "recbole_ext.attach.places."
        )
    return own or next((ITEM_TABLES[kind.__name__] for kind in model.__mro__ if kind.__name__ in ITEM_TABLES), DEFAULT)


def item_tables(model: Any, item_field: str) -> list[ItemTable]:
    """The tables in which ``model`` keeps its items.

    Args:
        item_field: the dataset's name for item ids.

    Raises:
        AttachError: it keeps them in none, so that no vectors can be attached.
    """
    places = places_of(type(model))
    if not places:
        raise _no_table(model, "'item_embedding'")
    return [_table(model, place, item_field) for place in places]


def _table(model: Any, place: Place, item_field: str) -> ItemTable:
    found = _attribute(model, place.path)
    before = 0 if place.after is None else int(_attribute(model, place.after))
    if place.fields is not None and found is not None:
        before = int(found.offsets[list(_attribute(model, place.fields)).index(item_field)])
        found = found.embedding
    if not isinstance(found, nn.Embedding):
        raise _no_table(model, repr(place.path))
    return ItemTable(place.path, found, before + 1)


def _no_table(model: Any, name: str) -> AttachError:
    return AttachError(
        f"item_embedding: {type(model).__name__} keeps its items in no nn.Embedding named {name}, so a store can't be "
        "attached; take another model or drop the key item_embedding. (A model of your own names its tables by a class "
        "attribute item_tables.)"
    )


def _attribute(owner: Any, path: str) -> Any:
    def step(value: Any, name: str) -> Any:
        if isinstance(value, dict | nn.ModuleDict):
            return dict(value.items()).get(name)
        return getattr(value, name, None)

    return reduce(step, path.split("."), owner)
