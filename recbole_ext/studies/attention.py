"""``study attention``: where each head of each layer looks (the paper's functional stratification, section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from recbole_ext.recformer.item_tokens import KEY, VALUE, Batch
from recbole_ext.studies.reading import readings, sequences_of
from recbole_ext.studies.settings import StudySettings
from recbole_ext.studies.written import Findings

TARGETS = ("start", "keys", "values", "own item", "other items")
DISTANCES = (1, 2, 4, 8, 16, 32)
"""Upper ends of the classes of distance in tokens; the last class is beyond."""


class Settings(StudySettings):
    """Nothing beyond what all studies of encoders share."""


def run(settings: Settings, command: str) -> Findings:
    """Mean attention of every head by what is looked at, for each encoder."""
    corpus = sequences_of(settings)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in settings.encoders:
        total: dict[str, torch.Tensor] = {}
        queries = 0.0
        for reading in readings(name, settings, corpus):
            shares, n_queries = attention_shares(reading.attention, reading.batch)
            queries += n_queries
            for target, share in shares.items():
                total[target] = total.get(target, torch.zeros(())) + share
        found[name] = {target: (value / queries).numpy() for target, value in total.items()}
    return Findings(
        title="Where the heads look",
        sentence=_sentence(found),
        table=_shares(found),
        notes=[f"{len(corpus.sequences)} sequences were read"],
        text=_markdown(found),
        figures={"attention": _figure(found)},
    )


def attention_shares(attention: list[torch.Tensor], batch: Batch) -> tuple[dict[str, torch.Tensor], int]:
    """Attention that words (keys and values of items) give to each target, summed over them: ``[layers, heads]`` each.

    ``start``, ``keys`` and ``values`` are all that can be looked at and add up to the number of words; ``own item``
    and ``other items`` part keys and values by item, ``distance ≤ n`` and ``distance > n`` part them by distance in
    tokens.

    Returns:
        The sums, and the number of words.
    """
    kind, item, inside = batch["token_type_ids"], batch["item_position_ids"], batch["attention_mask"].bool()
    word = inside & ((kind == KEY) | (kind == VALUE))
    pair = word.unsqueeze(-1) & inside.unsqueeze(1)
    words = pair & word.unsqueeze(1)
    same = item.unsqueeze(-1) == item.unsqueeze(1)
    position = torch.arange(word.shape[1])
    distance = (position.unsqueeze(-1) - position).abs()
    masks = {
        "start": pair & ~word.unsqueeze(1),
        "keys": words & (kind == KEY).unsqueeze(1),
        "values": words & (kind == VALUE).unsqueeze(1),
        "own item": words & same,
        "other items": words & ~same,
    }
    lower = -1
    for upper in DISTANCES:
        masks[f"distance ≤ {upper}"] = words & (distance > lower) & (distance <= upper)
        lower = upper
    masks[f"distance > {lower}"] = words & (distance > lower)
    shares = {
        name: torch.stack([(layer * mask.unsqueeze(1)).sum(dim=(0, 2, 3)) for layer in attention])
        for name, mask in masks.items()
    }
    return shares, int(word.sum())


def _sentence(found: dict[str, dict[str, np.ndarray]]) -> str:
    """How the share of attention that leaves the own item changes from the first to the last layer."""
    parts = []
    for name, shares in found.items():
        by_layer = shares["other items"].mean(axis=1)
        spread = shares["other items"].std(axis=1).mean()
        parts.append(
            f"{name}: {by_layer[0]:.0%} of a word's attention goes to other items in the first layer, "
            f"{by_layer[-1]:.0%} in the last (heads of a layer differ by a standard deviation of {spread:.0%})"
        )
    return "; ".join(parts) + "."


def _shares(found: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """One row per encoder, target, layer and head, both counted from 1."""
    rows = [
        (name, target, layer + 1, head + 1, round(float(share), 4))
        for name, targets in found.items()
        for target, shares in targets.items()
        for (layer, head), share in np.ndenumerate(shares)
    ]
    return pd.DataFrame(rows, columns=["encoder", "target", "layer", "head", "share_of_attention"])


def _markdown(found: dict[str, dict[str, np.ndarray]]) -> str:
    lines = ["Mean over heads, by layer.", "", f"| encoder | layer | {' | '.join(TARGETS)} |"]
    lines.append("| --- | ---: |" + " ---: |" * len(TARGETS))
    for name, shares in found.items():
        for layer in range(len(shares["start"])):
            values = " | ".join(f"{shares[target][layer].mean():.3f}" for target in TARGETS)
            lines.append(f"| {name} | {layer + 1} | {values} |")
    return "\n".join(lines) + "\n"


def _figure(found: dict[str, dict[str, np.ndarray]]) -> Any:
    from matplotlib.figure import Figure

    n_heads = max(shares["start"].shape[1] for shares in found.values())
    figure = Figure(figsize=(2.1 * len(TARGETS) + 1, 0.6 + 1.9 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), len(TARGETS), squeeze=False, sharex=True)
    for row, (name, shares) in enumerate(found.items()):
        for column, target in enumerate(TARGETS):
            drawn = axes[row, column].imshow(shares[target], vmin=0, vmax=1, aspect="auto", cmap="viridis")
            axes[row, column].set(title=target if row == 0 else "", yticks=range(len(shares[target])))
            axes[row, column].set_yticklabels(range(1, len(shares[target]) + 1) if column == 0 else [])
        axes[row, 0].set_ylabel(f"{name}\nlayer")
    for axis in axes[-1]:
        axis.set(xlabel="head", xticks=[0, n_heads - 1], xticklabels=["1", str(n_heads)])
    figure.colorbar(drawn, ax=axes, label="share of a word's attention")
    return figure
