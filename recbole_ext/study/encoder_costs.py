"""What the encoder of an initialisation costs: its parameters, and how long an item's text takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from recbole_ext.encode import load_encoder, resolve_encoder
from recbole_ext.encode.item_file import locate_item_file
from recbole_ext.errors import ConfigurationError
from recbole_ext.run.machine import device_in_words
from recbole_ext.run.spec import dataset_settings, encoder_path
from recbole_ext.text import default_template, read_item_fields, render_texts

if TYPE_CHECKING:
    from recbole_ext.run.benchmark import Benchmark

TEXTS = 256
"""Items whose texts are timed, drawn once and the same for every encoder."""
PASSES = 3
"""Times that they are encoded; the fastest counts, which other work on the machine disturbs least."""


def encoder_costs(benchmark: Benchmark) -> pd.DataFrame:
    """Parameters and milliseconds per item of every encoder of ``benchmark`` that reads plain text, cut as it is used.

    A layer that is left out is neither counted nor computed. A head that is left out is both: it is silenced, not
    removed. Initialisations without such an encoder have no row.

    Returns:
        Columns ``dataset, value`` (the initialisation), ``encoder_parameters``, ``ms_per_item``, ``timed_on`` (device).

    Raises:
        ConfigurationError: no initialisation has one.
        EncoderError, SourceDataError: an encoder or the item text can't be read.
    """
    names = [(dataset, name) for dataset in benchmark.datasets for name in benchmark.initialisations]
    rows = []
    for dataset, name in tqdm(names, desc="timing encoders", disable=None):
        init = benchmark.initialisations[name]
        source = resolve_encoder(encoder_path(benchmark, dataset, name)) if init.encoder else None
        if source is None or source.key_value_reading is not None:
            continue
        drop = [str(part) for part in init.drop]
        model = load_encoder(
            source, init.pooling, init.precision, max_tokens=init.max_tokens, layers=init.layers, drop=drop
        )
        texts = _texts(benchmark, dataset, init.template)
        rows.append(
            {
                "dataset": dataset,
                "value": name,
                "encoder_parameters": sum(parameter.numel() for parameter in model.parameters()),
                "ms_per_item": 1000 * _seconds(model, texts) / len(texts),
                "timed_on": device_in_words(model.device),
            }
        )
    if not rows:
        raise ConfigurationError("encoder_costs: no initialisation has an encoder that reads plain text; leave it out.")
    return pd.DataFrame(rows)


def _texts(benchmark: Benchmark, dataset: str, template: list[str] | None) -> list[str]:
    settings = dataset_settings(benchmark, dataset)
    fields = read_item_fields(locate_item_file(dataset, benchmark.data_path), settings.get("ITEM_ID_FIELD", "item_id"))
    texts = render_texts(fields, template or settings.get("item_text") or default_template(fields))
    texts = texts[texts != ""]
    return list(texts.sample(min(TEXTS, len(texts)), random_state=0))


def _seconds(model: Any, texts: list[str]) -> float:
    """Of the fastest pass over ``texts``, on the model's device; vectors are brought back from it."""
    taken = []
    for _ in range(PASSES):
        began = time.perf_counter()
        model.encode(texts, batch_size=64, show_progress_bar=False)
        taken.append(time.perf_counter() - began)
    return min(taken)
