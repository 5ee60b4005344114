"""What the encoder of a variant costs: its parameters, and how long an item's text takes."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from recbole_ext.encoding.encoder import encoding_options, load_encoder
from recbole_ext.errors import ConfigurationError
from recbole_ext.machine import device_in_words
from recbole_ext.vectors.encoder import Encoder

if TYPE_CHECKING:
    from recbole_ext.benchmark import Resolved

TEXTS = 64
"""Items whose texts are timed, drawn once and the same for every encoder; few, so that a pass is short."""
ROUNDS = 8
"""In each every encoder takes its turn; its fastest pass counts, which other work on the machine disturbs least."""


def encoder_costs(resolved: Resolved) -> pd.DataFrame:
    """Parameters and milliseconds per item of every encoder of a benchmark that reads plain text, cut as it is used.

    A layer that is left out is neither counted nor computed. A head that is left out is both: it is silenced, not
    removed. Variants without such an encoder have no row. All encoders are in memory at the same time, to take turns.

    Returns:
        Columns ``dataset, variant``, ``encoder_parameters``, ``ms_per_item``, ``timed_on`` (device).

    Raises:
        ConfigurationError: no variant has one.
        EncoderError, SourceDataError: an encoder or the item text can't be read.
    """
    artifacts = resolved.benchmark.artifacts
    cells: dict[tuple[str, str], tuple[Any, list[str], dict[str, Any]]] = {}
    for row in resolved.rows:
        source, dataset = row.variant.source, resolved.datasets[row.key.dataset]
        if not isinstance(source, Encoder) or (dataset.name, row.key.variant) in cells:
            continue
        encoder = source.resolved(dataset, artifacts)
        if encoder.key_value_reading is None:
            model = load_encoder(encoder, source)
            texts = list(source.texts(dataset).of_item.values())
            drawn = random.Random(0).sample(texts, min(TEXTS, len(texts)))
            cells[dataset.name, row.key.variant] = model, drawn, encoding_options(model, source)
    if not cells:
        raise ConfigurationError("encoder_costs: no initialisation has an encoder that reads plain text; leave it out.")
    fastest = dict.fromkeys(cells, float("inf"))
    for cell in tqdm(list(cells) * ROUNDS, desc="timing encoders", disable=None):
        model, texts, options = cells[cell]
        began = time.perf_counter()
        model.encode(texts, batch_size=TEXTS, show_progress_bar=False, **options)
        fastest[cell] = min(fastest[cell], time.perf_counter() - began)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "variant": variant,
            "encoder_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "ms_per_item": 1000 * fastest[dataset, variant] / len(texts),
            "timed_on": device_in_words(model.device),
        }
        for (dataset, variant), (model, texts, _) in cells.items()
    )
