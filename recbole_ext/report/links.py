"""Where more is said about a model or an encoder: its paper, RecBole's page of it, its repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from recbole_ext.encoders.source import MINILM
from recbole_ext.models import OWN_MODELS
from recbole_ext.recbole_models import recboles
from recbole_ext.report.results import Result

MINILM_REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"


def links_of(results: Iterable[Result]) -> dict[str, str]:
    """Addresses by the names of the models and encoders of these rows; none for a user's own class or folder."""
    found: dict[str, str] = {}
    for result in results:
        found[result.key.model] = of_model(result.key.model)
        for encoder in re.findall(r"\bencoder ([^\s,:;]+)", result.row.vectors):
            found[encoder] = of_encoder(encoder)
    return {name: address for name, address in found.items() if address}


def of_model(model: str) -> str:
    """The paper of a model of this package, the page of one of RecBole's."""
    own = OWN_MODELS.get(model)
    if own is not None and own.paper:
        return f"https://arxiv.org/abs/{own.paper}"
    module = recboles().get(model)
    if module is None:
        return ""
    family = module.split(".")[2].partition("_")[0].replace("exlib", "external")
    return f"https://recbole.io/docs/user_guide/model/{family}/{model.lower()}.html"


def of_encoder(encoder: str) -> str:
    """The repository of a Hugging Face name."""
    name = MINILM_REPOSITORY if encoder == MINILM else encoder
    is_name = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) and not Path(name).exists()
    return f"https://huggingface.co/{name}" if is_name else ""
