"""Fast tunings on small domains, for the tests that need one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_ext.data.dataset import Dataset
from recbole_ext.tuning import TuneReport, tune
from recbole_ext.tuning.objectives import OBJECTIVES
from recbole_ext.vectors.encoder import Encoder

FAST: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_tokens": 48, "attribute_tokens": 8, "max_items": 5}


def fast(objective: str) -> dict[str, Any]:
    """What of ``FAST`` the objective can be told."""
    return {key: value for key, value in FAST.items() if key in OBJECTIVES[objective].settings.model_fields}


def run(
    folder: Path, encoder: Path | str, out: Path, objective: str = "recformer", name: str = "tiny", **settings: Any
) -> TuneReport:
    """Tune on one domain, fast unless ``settings`` say otherwise."""
    source = Dataset.named(name, folder, configs=folder)
    return tune([source], str(encoder), out, objective, **{**fast(objective), **settings})


def encode(folder: Path, encoder: Path | str, out: Path) -> None:
    """The items of ``tiny`` to the store ``out``."""
    source = Encoder(encoder=str(encoder))
    source.make(Dataset.named("tiny", folder, configs=folder), out, out.parent / "artifacts")


def domain(folder: Path, name: str, users: dict[str, list[str]], titles: dict[str, str]) -> Path:
    (folder / name).mkdir(parents=True)
    rows = [f"{user}\t{item}\t{time}" for user, items in users.items() for time, item in enumerate(items)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / name / f"{name}.inter").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    lines = ["item_id:token\ttitle:token_seq", *(f"{item}\t{title}" for item, title in titles.items())]
    (folder / name / f"{name}.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def encoder_for(objective: str, tiny_encoders: dict[str, Path]) -> str:
    return str(tiny_encoders["gpt2" if objective == "next-title" else "bert"])
