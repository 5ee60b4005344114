"""RecBole's models by name, found by their files: nothing is imported for that."""

from __future__ import annotations

import re
from functools import cache

from recbole_ext.compat import recbole_folder


@cache
def recboles() -> dict[str, str]:
    """The module of every model of RecBole: of the classes that it finds by name, one in each module called so in lower
    case. (Its own ``get_model`` imports its general models to find any other, and scikit-learn with them.)"""
    modules: dict[str, str] = {}
    for path in (recbole_folder() / "model").glob("*_recommender/*.py"):
        classes = re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        module = f"recbole.model.{path.parent.name}.{path.stem}"
        modules |= {name: module for name in classes if name.lower() == path.stem}
    return modules


def recbole_name(model: type) -> str:
    """The name by which RecBole knows a model's class: that of its nearest ancestor among RecBole's models."""
    return next((ancestor.__name__ for ancestor in model.__mro__ if ancestor.__name__ in recboles()), model.__name__)
