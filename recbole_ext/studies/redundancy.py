"""``study redundancy``: how alike heads and layers are (the paper's section 3, "wasted" parts of a PLM)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from recbole_ext.recformer.item_tokens import Batch
from recbole_ext.studies.reading import readings, sequences_of
from recbole_ext.studies.settings import StudySettings
from recbole_ext.studies.written import Findings


class Settings(StudySettings):
    """Nothing beyond what all studies of encoders share."""


def run(settings: Settings, command: str) -> Findings:
    """Distances between heads, similarities between layers, for each encoder."""
    corpus = sequences_of(settings)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in settings.encoders:
        sums: dict[str, torch.Tensor] = {}
        alignment = LayerAlignment()
        n_queries = 0
        for reading in readings(name, settings, corpus):
            for measure, value in head_distances(reading.attention, reading.batch).items():
                sums[measure] = sums.get(measure, torch.zeros(())) + value
            inside = reading.batch["attention_mask"].bool()
            n_queries += int(inside.sum())
            alignment.add([state[inside].float() for state in reading.hidden])
        found[name] = {measure: (value / n_queries).numpy() for measure, value in sums.items()}
        found[name]["cka"] = alignment.similarities()
    return Findings(
        title="How alike heads and layers are",
        sentence=_sentence(found),
        table=_pairs(found),
        text=_markdown(found),
        figures={"redundancy": _figure(found)},
    )


def head_distances(attention: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    """Summed over all tokens (as queries) of the batch, padding left out:

    ``heads_jensen_shannon``, ``heads_cosine``: between the attention distributions of two heads of a layer,
    ``[layers, heads, heads]``; ``layers_jensen_shannon``, ``layers_cosine``: between the head-averaged distributions of
    two layers, ``[layers, layers]``. Jensen–Shannon divergence in bits: 0 for equal, 1 for disjoint distributions.
    """
    inside = batch["attention_mask"].bool()
    by_layer = [layer.transpose(1, 2)[inside].float() for layer in attention]  # [queries, heads, L]
    averaged = torch.stack([layer.mean(dim=1) for layer in by_layer], dim=1)  # [queries, layers, L]
    return {
        "heads_jensen_shannon": torch.stack([_jensen_shannon(layer) for layer in by_layer]),
        "heads_cosine": torch.stack([_cosine(layer) for layer in by_layer]),
        "layers_jensen_shannon": _jensen_shannon(averaged),
        "layers_cosine": _cosine(averaged),
    }


class LayerAlignment:
    """Linear centred kernel alignment (Kornblith et al., 2019, equation 5) of every two layers, a batch at a time.

    Holds one ``[width, width]`` matrix for every two layers, however many tokens there are.
    """

    def __init__(self) -> None:
        self._tokens = 0
        self._means: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []
        self._products: dict[tuple[int, int], torch.Tensor] = {}

    def add(self, layers: list[torch.Tensor]) -> None:
        """The outputs of all layers for the same tokens, ``[tokens, width]`` each."""
        if not self._means:  # an encoder's outputs are far from zero, which sums of their products would be made of
            self._means = [layer.mean(dim=0) for layer in layers]
            self._sums = [torch.zeros_like(mean, dtype=torch.float64) for mean in self._means]
        self._tokens += len(layers[0])
        shifted = [layer - mean for layer, mean in zip(layers, self._means, strict=True)]
        for first, x in enumerate(shifted):
            self._sums[first] += x.sum(dim=0)
            for second in range(first, len(shifted)):
                product = (x.T @ shifted[second]).double()
                before = self._products.get((first, second))
                self._products[first, second] = product if before is None else before.add_(product)

    def similarities(self) -> np.ndarray:
        """``[layers, layers]``, from 0 to 1."""
        norms = torch.zeros(len(self._sums), len(self._sums), dtype=torch.float64)
        for (first, second), product in self._products.items():
            covariance = product - torch.outer(self._sums[first], self._sums[second]) / self._tokens
            norms[first, second] = norms[second, first] = covariance.norm()
        alone = norms.diagonal()
        return (norms.square() / torch.outer(alone, alone)).numpy()


def _jensen_shannon(distributions: torch.Tensor) -> torch.Tensor:
    """Summed over the first dimension of ``[queries, n, L]``: divergence of every two of the n, ``[n, n]``."""
    n = distributions.shape[1]
    entropy = _entropy(distributions)
    result = torch.zeros(n, n)
    for first in range(n):
        middle = (distributions[:, first : first + 1] + distributions[:, first:]) / 2
        divergence = _entropy(middle) - (entropy[:, first : first + 1] + entropy[:, first:]) / 2
        result[first, first:] = result[first:, first] = divergence.sum(0)
    return result.clamp_min(0)


def _entropy(distributions: torch.Tensor) -> torch.Tensor:
    return -(distributions * distributions.clamp_min(1e-12).log2()).sum(-1)


def _cosine(distributions: torch.Tensor) -> torch.Tensor:
    unit = normalize(distributions, dim=-1)
    return (unit @ unit.transpose(1, 2)).sum(0)


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Entries of square matrices, ``[..., n, n]``, without their diagonals, ``[..., n * (n - 1)]``."""
    return matrix[..., ~np.eye(matrix.shape[-1], dtype=bool)]


def _sentence(found: dict[str, dict[str, np.ndarray]]) -> str:
    parts = []
    for name, measures in found.items():
        heads = off_diagonal(measures["heads_jensen_shannon"]).mean(axis=-1)
        neighbours = np.diagonal(measures["cka"], offset=1)[1:]
        parts.append(
            f"{name}: two heads of a layer differ by {heads.mean():.2f} bits on average (least in layer "
            f"{int(heads.argmin()) + 1}, {heads.min():.2f}), outputs of adjacent layers have a CKA of "
            f"{neighbours.mean() if len(neighbours) else 1:.2f}"
        )
    return "; ".join(parts) + "."


def _pairs(found: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """One row per encoder, measure and pair of heads or layers; ``cka`` counts the word embeddings as layer 0."""
    rows = []
    for name, measures in found.items():
        for measure, values in measures.items():
            first = 0 if measure == "cka" else 1
            of_heads = measure.startswith("heads_")
            for place, value in np.ndenumerate(values):
                one, other = place[-2] + first, place[-1] + first
                if one < other:
                    pair = {"layer": place[0] + 1, "head": one, "other_head": other}
                    pair = pair if of_heads else {"layer": one, "other_layer": other}
                    rows.append({"encoder": name, "measure": measure, **pair, "value": round(float(value), 4)})
    columns = ["encoder", "measure", "layer", "other_layer", "head", "other_head", "value"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:6], "Int64"))


def _markdown(found: dict[str, dict[str, np.ndarray]]) -> str:
    lines = [
        "Means over pairs of heads of a layer, and between a layer and the next.",
        "",
        "| encoder | layer | heads: Jensen–Shannon, bits | heads: cosine | next layer: CKA "
        "| next layer: Jensen–Shannon, bits |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, m in found.items():
        heads, cosine = (off_diagonal(m[key]).mean(axis=-1) for key in ("heads_jensen_shannon", "heads_cosine"))
        for layer in range(len(heads)):
            following = (
                f"{m['cka'][layer + 1, layer + 2]:.3f} | {m['layers_jensen_shannon'][layer, layer + 1]:.3f}"
                if layer + 1 < len(heads)
                else "– | –"
            )
            lines.append(f"| {name} | {layer + 1} | {heads[layer]:.3f} | {cosine[layer]:.3f} | {following} |")
    return "\n".join(lines) + "\n"


def _figure(found: dict[str, dict[str, np.ndarray]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.5 + 2.9 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 3, squeeze=False)
    for row, (name, m) in enumerate(found.items()):
        heads = off_diagonal(m["heads_jensen_shannon"])
        axes[row, 0].boxplot(list(heads), showfliers=False)
        axes[row, 0].set(
            ylim=(0, 1), xlabel="layer", ylabel=f"{name}\nbits", title="heads of a layer" if not row else ""
        )
        for column, (measure, title) in enumerate(
            (("layers_jensen_shannon", "layers: Jensen–Shannon, bits"), ("cka", "layers' outputs: CKA")), start=1
        ):
            drawn = axes[row, column].imshow(m[measure], vmin=0, vmax=1, cmap="viridis")
            axes[row, column].set(title=title if not row else "", xlabel="layer")
            figure.colorbar(drawn, ax=axes[row, column])
    return figure
