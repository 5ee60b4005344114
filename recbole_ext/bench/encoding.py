"""``recbole-ext bench encode``: the encode stage against sentence-transformers' own ``encode`` on the same texts."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from recbole_ext.encode import encode, load_encoder, locate_item_file, resolve_encoder
from recbole_ext.text import default_template, read_item_fields, render_texts
from recbole_ext.writing import write_json

log = logging.getLogger(__name__)


def run_encoding_contest(
    dataset: str, data_path: str, template: list[str] | None, encoder: str, repeats: int, out: Path, command: str
) -> dict[str, Any]:
    """Encode all items' texts both ways, in turns, and write ``out``; returns what it wrote.

    The stage's time is that of a whole call (reading, rendering, loading the encoder, encoding, writing the store),
    the other's that of ``model.encode`` alone on the rendered texts with a loaded model and the same batch size. A
    second call of the stage, which finds its store up to date, is timed too.

    Raises:
        SourceDataError, EncoderError: see :func:`recbole_ext.encode.encode`.
    """
    from recbole_ext.run.machine import device_in_words, git_revision, versions

    fields = read_item_fields(locate_item_file(dataset, data_path))
    texts = [text for text in render_texts(fields, template or default_template(fields)) if text]
    seconds: dict[str, list[float]] = {"sentence-transformers": [], "recbole-ext": [], "second call": []}
    model = load_encoder(resolve_encoder(encoder))
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            store = Path(folder) / f"store{repeat}"

            def stage(store: Path = store) -> None:
                encode(dataset, data_path, encoder, out=store, template=template)

            began = time.perf_counter()
            model.encode(texts, batch_size=64, show_progress_bar=False)
            seconds["sentence-transformers"].append(time.perf_counter() - began)
            for name in ("recbole-ext", "second call"):
                began = time.perf_counter()
                stage()
                seconds[name].append(time.perf_counter() - began)
            log.info("repeat %d: %s", repeat + 1, {name: round(values[-1], 2) for name, values in seconds.items()})
    medians = {name: median(values) for name, values in seconds.items()}
    result = {
        "dataset": dataset,
        "encoder": encoder,
        "texts": len(texts),
        "unique_texts": len(set(texts)),
        "command": command,
        "device": device_in_words(model.device),
        "versions": versions(),
        "git_revision": git_revision(),
        "seconds": seconds,
        "medians": medians,
        "throughput_ratio": medians["sentence-transformers"] / medians["recbole-ext"],
    }
    write_json(out, result)
    return result


def encoding_table(result: dict[str, Any]) -> list[str]:
    """The medians as a Markdown table."""
    lines = [
        f"| {result['dataset']}, {result['texts']:,} texts | seconds | texts per second |",
        "| --- | ---: | ---: |",
    ]
    for name, value in result["medians"].items():
        rate = "–" if name == "second call" else f"{result['texts'] / value:,.0f}"
        lines.append(f"| {name} | {value:.2f} | {rate} |")
    return lines
