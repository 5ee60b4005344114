"""What an encoder can be tuned for. A new objective is a class of :class:`Objective` and a line in ``OBJECTIVES``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from recbole_ext.errors import ConfigurationError
from recbole_ext.tuning.settings import (
    AttributeContrastSettings,
    ContrastSettings,
    ItemContrastSettings,
    MaskedLanguageModelSettings,
    NextTitleSettings,
    PairsSettings,
    RecformerSettings,
    TuneSettings,
)
from recbole_ext.wording import did_you_mean

if TYPE_CHECKING:
    from recbole_ext.tuning.objectives.base import Objective


@dataclass(frozen=True)
class Entry:
    """Where an objective's class is, ``MODULE.CLASS`` (imported when it is needed, for torch takes seconds), and the
    settings that it reads: :class:`TuneSettings`, unless it has some of its own."""

    path: str
    settings: type[TuneSettings] = TuneSettings


OBJECTIVES: dict[str, Entry] = {
    "recformer": Entry("recbole_ext.tuning.objectives.recformer.Recformer", RecformerSettings),
    "contrast": Entry("recbole_ext.tuning.objectives.recformer.Contrast", ContrastSettings),
    "mlm": Entry("recbole_ext.tuning.objectives.recformer.MaskedLanguageModel", MaskedLanguageModelSettings),
    "pairs": Entry("recbole_ext.tuning.objectives.pairs.Pairs", PairsSettings),
    "next-title": Entry("recbole_ext.tuning.objectives.next_title.NextTitle", NextTitleSettings),
    "item-contrast": Entry("recbole_ext.tuning.objectives.item_contrast.ItemContrast", ItemContrastSettings),
    "attribute-contrast": Entry(
        "recbole_ext.tuning.objectives.attribute_contrast.AttributeContrast", AttributeContrastSettings
    ),
}


def settings_of(objective: str, where: str) -> type[TuneSettings]:
    """The settings class of the objective called so.

    Raises:
        ConfigurationError: there is none; suggests the closest.
    """
    if objective not in OBJECTIVES:
        hint = did_you_mean(str(objective), OBJECTIVES, f"There are {', '.join(OBJECTIVES)}.")
        raise ConfigurationError(f"{where}: objective: there is no {objective!r}. {hint}")
    return OBJECTIVES[objective].settings


def objective_class(objective: str) -> type[Objective]:
    """The class of an objective of ``OBJECTIVES``."""
    module, _, name = OBJECTIVES[objective].path.rpartition(".")
    return getattr(import_module(module), name)


__all__ = ["OBJECTIVES", "Entry", "objective_class", "settings_of"]
