"""``recbole-ext bench encode``: the encode stage against sentence-transformers' own ``encode`` on the same texts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.bench.measuring import take_turns
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding import EncodingSettings, load_encoder, resolve_encoder
from recbole_ext.encoding.texts import item_texts
from recbole_ext.vectors.encoder import Encoder


def run_encoding_contest(dataset: Dataset, encoder: str, repeats: int) -> dict[str, Any]:
    """Encode all items' texts both ways, in turns; returns the result.

    The stage's time is that of a call (loading the encoder, encoding, writing the store), the other's that of
    ``model.encode`` alone on the rendered texts with a loaded model and the same batch size. The items' file is read,
    rendered and hashed before, and so are the encoder's files: a process keeps what it knows of a file. A
    second call of the stage, which finds its store up to date, is timed too. ``tokens`` counts what the encoder reads
    of all texts, special tokens included and padding not, for both ways.

    Raises:
        SourceDataError, EncoderError: see :class:`recbole_ext.vectors.encoder.Encoder`.
    """
    from recbole_ext.machine import device_in_words

    texts = list(item_texts(dataset).of_item.values())
    source = Encoder(encoder=encoder)
    model = load_encoder(resolve_encoder(encoder), EncodingSettings())
    read = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    with tempfile.TemporaryDirectory() as name:
        folder, numbers = Path(name), count()

        def stage() -> None:
            # Two calls go to one store: the first makes it, the second finds it.
            source.make(dataset, folder / f"store{next(numbers) // 2}", folder)

        work: dict[str, Callable[[], Any]] = {
            "sentence-transformers": lambda: model.encode(texts, batch_size=64, show_progress_bar=False),
            "recbole-ext": stage,
            "second call": stage,
        }
        seconds = take_turns(work, repeats, dataset.name)
    medians = {name: median(values) for name, values in seconds.items()}
    return {
        "dataset": dataset.name,
        "encoder": encoder,
        "texts": len(texts),
        "unique_texts": len(set(texts)),
        "tokens": sum(map(len, read)),
        "device": device_in_words(model.device),
        "seconds": seconds,
        "medians": medians,
        "throughput_ratio": medians["sentence-transformers"] / medians["recbole-ext"],
    }


def encoding_table(result: dict[str, Any]) -> list[str]:
    """The medians as a Markdown table."""
    lines = [
        f"| {result['dataset']}, {result['texts']:,} texts, {result['tokens']:,} tokens "
        "| seconds | texts per second | tokens per second |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, value in result["medians"].items():
        rates = ["–", "–"] if name == "second call" else [f"{result[of] / value:,.0f}" for of in ("texts", "tokens")]
        lines.append(f"| {name} | {value:.2f} | {' | '.join(rates)} |")
    return lines
