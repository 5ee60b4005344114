"""Items that training does not have, where data are cut in time: they are ranked, and never learned from.

They have the largest internal ids (see :class:`recbole_ext.data.temporal_dataset.TemporalSplit`), so that what training
may score is a leading part of all items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.utils import ModelType
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from recbole_ext.attach import item_tables
from recbole_ext.errors import AttachError, ConfigurationError

PROBED_SAMPLES = 64
LEARN_NOTHING = (ModelType.TRADITIONAL, ModelType.DECISIONTREE)


def n_trained_items(model: Any) -> int:
    """How many of the model's items training has, the padding item among them."""
    trained = getattr(model, "n_trained_items", None)
    return int(model.n_items if trained is None else trained)


def keep_new_items_out(model: Any, dataset: Any) -> None:
    """Let new items be no alternatives in the model's ``calculate_loss``.

    Whatever cross-entropy over all items RecBole's models compute there is computed over those of training.
    """
    n_trained = getattr(dataset, "n_trained_items", None)
    if n_trained is None or n_trained == dataset.item_num or not hasattr(model, "n_items"):
        return
    model.n_trained_items = n_trained
    own = model.calculate_loss

    def calculate_loss(*args: Any, **kwargs: Any) -> Any:
        with _OfTrainedItems(model.n_items, n_trained):
            return own(*args, **kwargs)

    model.calculate_loss = calculate_loss


class _OfTrainedItems(TorchFunctionMode):
    """Cuts the scores of new items off where a cross-entropy is over all items."""

    def __init__(self, n_items: int, n_trained: int) -> None:
        super().__init__()
        self.n_items, self.n_trained = n_items, n_trained

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is cross_entropy and args[0].shape[-1] == self.n_items:
            args = (args[0][..., : self.n_trained], *args[1:])
        return func(*args, **(kwargs or {}))


def refuse_to_learn_from_new_items(config: Any, model: Any, loader: Any) -> None:
    """See on a few samples of RecBole's that the loss moves nothing that belongs to new items alone.

    Asked of the gradient: of item tables (also where their rows are made of a store's vectors), and of any other
    parameter but a table with a side as long as there are items.

    Raises:
        ConfigurationError: it does.
    """
    # Models of features have no number of items: they learn from labelled pairs, whose items are training's.
    if not hasattr(model, "n_items") or n_trained_items(model) == model.n_items:
        return
    if config["MODEL_TYPE"] in LEARN_NOTHING:
        return
    samples = loader.collate_fn(np.arange(min(PROBED_SAMPLES, loader.sample_size))).to(model.device)
    was_training = model.training
    model.eval()
    try:
        with torch.enable_grad(), parametrize.cached(), torch.backends.cudnn.flags(enabled=False):
            tables = _rows_of_items(model, config["ITEM_ID_FIELD"])
            loss = model.calculate_loss(samples)
            total = torch.stack(loss).sum() if isinstance(loss, tuple) else loss
            if total.requires_grad:
                total.backward()
        of_tables = [rows.grad[n_trained_items(model) : model.n_items] for rows in tables if rows.grad is not None]
        learned = any(bool(part.any()) for part in [*of_tables, *_parts_of_new_items(config, model)])
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    if learned:
        raise ConfigurationError(
            f"eval_args.split.temporal: {type(model).__name__} learns from all items at once in its own way, so that "
            "those first seen after the cut would be among them. Take them out of the data: new_items: leave_out."
        )


def _rows_of_items(model: Any, item_field: str) -> list[torch.Tensor]:
    """The item tables of which a gradient is to be asked, from the padding item on, ``[n_items, width]`` each."""
    try:
        tables = item_tables(model, item_field)
    except AttachError:
        return []
    rows = [table.embedding.weight for table in tables if table.first == 1 and table.embedding.weight.requires_grad]
    for row in rows:
        row.retain_grad()
    return rows


def _parts_of_new_items(config: Any, model: Any) -> list[torch.Tensor]:
    """What of the gradients of parameters that are no tables belongs to new items, by the length of a side.

    Nothing where a width happens to be as long: which is which can't be told then.
    """
    begin, end = n_trained_items(model), model.n_items
    if {end, end + 1} & {value for value in config.final_config_dict.values() if isinstance(value, int)}:
        return []
    tables = {id(table.weight) for table in model.modules() if isinstance(table, torch.nn.Embedding)}
    gradients = [value.grad for value in model.parameters() if value.grad is not None and id(value) not in tables]
    sides = [(one, side) for one in gradients for side, size in enumerate(one.shape) if size in (end, end + 1)]
    return [one.narrow(side, begin, end - begin) for one, side in sides]
