"""The stage on small encoders: the right vector for each token, on one device and on several."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from encode_runs import TEMPLATE, TEXTS, Encoded, reference, run
from safetensors.torch import load_file
from tiny_models import write_items

from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding import resolve_encoder
from recbole_ext.encoding.texts import item_texts
from recbole_ext.store import ItemEmbeddingStore


def test_each_token_has_the_vector_of_its_own_text(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    made = run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=3)
    store = ItemEmbeddingStore.load(tmp_path / "store")
    assert store.items == list(TEXTS)
    expected = reference(tiny_bert, list(TEXTS.values()))
    torch.testing.assert_close(store.embeddings, expected, atol=1e-5, rtol=1e-5)
    assert (made.store, made.items, made.dim, made.up_to_date) == (tmp_path / "store", 6, 32, False)
    assert made.notes[0] == "5 of 5 different texts encoded now"


def test_the_packaged_minilm_gives_what_sentence_transformers_gives(data_path: Path, tmp_path: Path) -> None:
    run(data_path, "minilm", tmp_path / "store")
    store = ItemEmbeddingStore.load(tmp_path / "store")
    expected = reference(resolve_encoder("minilm").location, list(TEXTS.values()))
    torch.testing.assert_close(store.embeddings, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(store.embeddings.norm(dim=1), torch.ones(6), atol=1e-5, rtol=0)
    assert store.meta["encoder_modules"] == ["Transformer", "Pooling", "Normalize"]
    assert store.meta["encoder_identity"].startswith("sha256:53aa51172d142c89")


def test_the_meta_file_says_where_the_vectors_come_from(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run(data_path, tiny_bert, tmp_path / "store", pooling="cls")
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    expected = {
        "dataset": "tiny",
        "encoder": str(tiny_bert),
        "encoder_identity": resolve_encoder(str(tiny_bert)).identity,
        "encoder_modules": ["Transformer", "Pooling"],
        "pooling": "cls",
        "max_tokens": 64,
        "dim": 32,
        "dtype": "float32",
        "items": 6,
        "items_without_text": 1,
        "unique_texts": 5,
    }
    assert {key: meta[key] for key in expected} == expected
    assert {"identity", "date", "version", "fingerprint"} <= set(meta)
    assert (meta["request"]["template"], meta["request"]["pooling"]) == (TEMPLATE, "cls")


def test_without_a_template_all_text_fields_are_encoded(
    data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded
) -> None:
    run(data_path, tiny_bert, tmp_path / "store", template=None)
    assert sorted(encoded.texts) == sorted(set(TEXTS.values()))


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_reduced_precision_is_stored_as_asked(precision: str, data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run(data_path, tiny_bert, tmp_path / "store", precision=precision)
    stored = load_file(tmp_path / "store" / "embeddings.safetensors")["item_embeddings"]
    assert stored.dtype == getattr(torch, precision)
    expected = reference(tiny_bert, list(TEXTS.values()))
    loaded = ItemEmbeddingStore.load(tmp_path / "store").embeddings
    torch.testing.assert_close(loaded, expected, atol=0.05, rtol=0.05)


@pytest.fixture
def pool_of_threads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """sentence-transformers' own pool with threads for processes, whose start takes no half minute.

    Returns:
        The devices of each pool that was started; a stopped pool is taken out again.
    """
    from sentence_transformers import SentenceTransformer

    started: list[list[str]] = []

    def start(model: Any, devices: list[str]) -> dict[str, Any]:
        started.append(devices)
        pool: dict[str, Any] = {"input": queue.Queue(), "output": queue.Queue(), "processes": []}
        for device in devices:
            arguments = (device, model, pool["input"], pool["output"])
            worker = threading.Thread(target=SentenceTransformer._multi_process_worker, args=arguments, daemon=True)
            worker.start()
            pool["processes"].append(worker)
        return pool

    def stop(pool: dict[str, Any]) -> None:
        started.pop()

    monkeypatch.setattr(SentenceTransformer, "start_multi_process_pool", start)
    monkeypatch.setattr(SentenceTransformer, "stop_multi_process_pool", staticmethod(stop))
    return started


def test_several_devices_share_the_texts_and_give_the_vectors_of_one(
    data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded, pool_of_threads: list[list[str]]
) -> None:
    run(data_path, tiny_bert, tmp_path / "one")
    one_by_one, encoded.texts = encoded.texts, []
    run(data_path, tiny_bert, tmp_path / "two", devices=["cpu", "cpu"], batch_size=1, shard_size=3)
    one, two = (ItemEmbeddingStore.load(tmp_path / name) for name in ("one", "two"))
    assert one.items == two.items
    torch.testing.assert_close(one.embeddings, two.embeddings, atol=1e-5, rtol=1e-5)
    assert sorted(encoded.texts) == sorted(one_by_one)
    assert pool_of_threads == []


def test_the_pool_is_stopped_when_encoding_fails(
    data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded, pool_of_threads: list[list[str]]
) -> None:
    encoded.fail_after = 3
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", devices=["cpu", "cpu"], shard_size=3)
    assert pool_of_threads == []


def test_processes_of_their_own_give_the_vectors_of_one(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run(data_path, tiny_bert, tmp_path / "one")
    run(data_path, tiny_bert, tmp_path / "two", devices=["cpu", "cpu"], batch_size=1)
    one, two = (ItemEmbeddingStore.load(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(one.embeddings, two.embeddings, atol=1e-5, rtol=1e-5)


def test_the_texts_of_two_catalogues_are_kept_in_memory_and_no_more(tmp_path: Path) -> None:
    folders = [write_items(tmp_path / str(number), [("a", f"number {number}", "acme")]) for number in range(3)]
    first, second, third = [Dataset.named("tiny", folder, configs=folder) for folder in folders]
    read = item_texts(first), item_texts(second)
    assert item_texts(first) is read[0] and item_texts(second) is read[1]
    assert item_texts(first) is not item_texts(third)
    assert item_texts(first) is read[0] and item_texts(second) is not read[1]
