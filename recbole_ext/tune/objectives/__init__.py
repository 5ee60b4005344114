"""What an encoder can be tuned for; a new objective is a class of :class:`Objective` and a line in ``OBJECTIVES``."""

from recbole_ext.tune.objectives.base import Objective
from recbole_ext.tune.objectives.pairs import Pairs
from recbole_ext.tune.objectives.recformer import Contrast, MaskedLanguageModel, Recformer

OBJECTIVES: dict[str, type[Objective]] = {
    "recformer": Recformer,
    "contrast": Contrast,
    "mlm": MaskedLanguageModel,
    "pairs": Pairs,
}

__all__ = ["OBJECTIVES", "Objective"]
