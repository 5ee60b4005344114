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

TEXTS = 64
"""Items whose texts are timed, drawn once and the same for every encoder; few, so that a pass is short."""
ROUNDS = 8
"""In each every encoder takes its turn; its fastest pass counts, which other work on the machine disturbs least."""


def encoder_costs(benchmark: Benchmark) -> pd.DataFrame:
    """Parameters and milliseconds per item of every encoder of ``benchmark`` that reads plain text, cut as it is used.

    A layer that is left out is neither counted nor computed. A head that is left out is both: it is silenced, not
    removed. Initialisations without such an encoder have no row. All encoders are in memory at the same time, to take
    turns.

    Returns:
        Columns ``dataset, value`` (the initialisation), ``encoder_parameters``, ``ms_per_item``, ``timed_on`` (device).

    Raises:
        ConfigurationError: no initialisation has one.
        EncoderError, SourceDataError: an encoder or the item text can't be read.
    """
    cells = [(dataset, name) for dataset in benchmark.datasets for name in benchmark.initialisations]
    models = {cell: model for cell in cells if (model := _encoder(benchmark, *cell)) is not None}
    if not models:
        raise ConfigurationError("encoder_costs: no initialisation has an encoder that reads plain text; leave it out.")
    texts = {cell: _texts(benchmark, *cell) for cell in models}
    fastest = dict.fromkeys(models, float("inf"))
    for cell in tqdm(list(models) * ROUNDS, desc="timing encoders", disable=None):
        began = time.perf_counter()
        models[cell].encode(texts[cell], batch_size=TEXTS, show_progress_bar=False)
        fastest[cell] = min(fastest[cell], time.perf_counter() - began)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "value": name,
            "encoder_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "ms_per_item": 1000 * fastest[dataset, name] / len(texts[dataset, name]),
            "timed_on": device_in_words(model.device),
        }
        for (dataset, name), model in models.items()
    )


def _encoder(benchmark: Benchmark, dataset: str, name: str) -> Any:
    init = benchmark.initialisations[name]
    source = resolve_encoder(encoder_path(benchmark, dataset, name)) if init.encoder else None
    if source is None or source.key_value_reading is not None:
        return None
    drop = [str(part) for part in init.drop]
    return load_encoder(source, init.pooling, init.precision, max_tokens=init.max_tokens, layers=init.layers, drop=drop)


def _texts(benchmark: Benchmark, dataset: str, name: str) -> list[str]:
    template, settings = benchmark.initialisations[name].template, dataset_settings(benchmark, dataset)
    fields = read_item_fields(locate_item_file(dataset, benchmark.data_path), settings.get("ITEM_ID_FIELD", "item_id"))
    texts = render_texts(fields, template or settings.get("item_text") or default_template(fields))
    texts = texts[texts != ""]
    return list(texts.sample(min(TEXTS, len(texts)), random_state=0))
