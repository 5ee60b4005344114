"""The stage on small encoders: right vector for each token, nothing encoded twice, nothing half-written."""

from __future__ import annotations

import json
import queue
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import ITEM_ROWS, save_tiny_bert, write_items

from recbole_ext.encode import EncodeReport, encode, locate_item_file, resolve_encoder
from recbole_ext.encode.shards import ShardFolder
from recbole_ext.errors import ConfigurationError, EncoderError, SourceDataError, StoreError
from recbole_ext.store import ItemEmbeddingStore

TEMPLATE = ["{title}", "{brand}"]
TEXTS = {
    "a": "red car. acme",
    "b": "blue car with a roof. acme",
    "c": "red car. acme",
    "e": 'the "great" lake & a very long story about it. nobody',
    "f": '"unbalanced',
    "g": "x. y",
}


class Encoded:
    """Counts the texts that go through the real encoder, and may fail after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from sentence_transformers import SentenceTransformer

        self.texts: list[str] = []
        self.fail_after: int | None = None
        original = SentenceTransformer.encode

        def counted(model: Any, texts: list[str], **options: Any) -> Any:
            if self.fail_after is not None and len(self.texts) >= self.fail_after:
                raise KeyboardInterrupt
            self.texts += texts
            return original(model, texts, **options)

        monkeypatch.setattr(SentenceTransformer, "encode", counted)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    return Encoded(monkeypatch)


def run(data_path: Path, encoder: Path | str, out: Path, **options: Any) -> EncodeReport:
    options = {"template": TEMPLATE, "devices": ["cpu"]} | options
    return encode("tiny", data_path, str(encoder), out=out, **options)


def reference(encoder: Path | str, texts: list[str]) -> torch.Tensor:
    """Each text alone through sentence-transformers, so without padding and sorting."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(encoder), device="cpu")
    return torch.stack([torch.as_tensor(model.encode(text)) for text in texts])


# --- the right vector for each token ---


def test_each_token_has_the_vector_of_its_own_text(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    report = run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=3)
    store = ItemEmbeddingStore.load(tmp_path / "store")
    assert store.items == list(TEXTS)
    expected = reference(tiny_bert, list(TEXTS.values()))
    torch.testing.assert_close(store.embeddings, expected, atol=1e-5, rtol=1e-5)
    assert report == EncodeReport(tmp_path / "store", 6, 1, 5, 5, 32, False)


def test_the_packaged_minilm_gives_what_sentence_transformers_gives(data_path: Path, tmp_path: Path) -> None:
    run(data_path, "minilm", tmp_path / "store")
    store = ItemEmbeddingStore.load(tmp_path / "store")
    expected = reference(resolve_encoder("minilm").location, list(TEXTS.values()))
    torch.testing.assert_close(store.embeddings, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(store.embeddings.norm(dim=1), torch.ones(6), atol=1e-5, rtol=0)
    assert store.meta["encoder_modules"] == ["Transformer", "Pooling", "Normalize"]
    assert store.meta["encoder_sha256"].startswith("53aa51172d142c89")


def test_the_meta_file_says_where_the_vectors_come_from(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run(data_path, tiny_bert, tmp_path / "store", pooling="cls")
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    expected = {
        "dataset": "tiny",
        "encoder": str(tiny_bert),
        "encoder_sha256": resolve_encoder(str(tiny_bert)).sha256,
        "encoder_revision": None,
        "encoder_modules": ["Transformer", "Pooling"],
        "pooling": "cls",
        "max_tokens": 64,
        "template": TEMPLATE,
        "dim": 32,
        "dtype": "float32",
        "items": 6,
        "items_without_text": 1,
        "unique_texts": 5,
    }
    assert {key: meta[key] for key in expected} == expected
    assert {"texts_hash", "request", "date", "version", "fingerprint"} <= set(meta)


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


def test_ml_100k_is_found_inside_the_wheel_whatever_the_data_path() -> None:
    path = locate_item_file("ml-100k", "nowhere")
    assert path.name == "ml-100k.item"
    assert "dataset_example" in path.parts


# --- nothing twice ---


def test_identical_texts_are_encoded_once_and_longest_first(
    data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded
) -> None:
    run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=3)
    assert sorted(encoded.texts) == sorted(set(TEXTS.values()))
    assert encoded.texts == sorted(encoded.texts, key=len, reverse=True)


def test_a_second_call_does_nothing(data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded) -> None:
    first = run(data_path, tiny_bert, tmp_path / "store")
    encoded.texts.clear()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()}
    second = run(data_path, tiny_bert, tmp_path / "store", batch_size=1, shard_size=2)
    assert encoded.texts == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").iterdir()} == before
    assert (second.up_to_date, second.encoded_texts) == (True, 0)
    assert (second.items, second.dim, second.unique_texts) == (first.items, first.dim, first.unique_texts)
    assert "nothing to do" in second.lines()[0]


def test_a_second_call_imports_neither_torch_nor_transformers(data_path: Path, tmp_path: Path) -> None:
    run(data_path, "minilm", tmp_path / "store")
    code = (
        "import sys; from recbole_ext.encode import encode; "
        "report = encode('tiny', sys.argv[1], out=sys.argv[2], template=['{title}', '{brand}'], "
        "devices=['cpu']); assert report.up_to_date; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(data_path), str(tmp_path / "store")], check=True)


@pytest.mark.parametrize(
    "change", [{"pooling": "cls"}, {"precision": "bfloat16"}, {"template": ["{title}"]}, {"max_tokens": 8}]
)
def test_another_option_encodes_anew(
    change: dict[str, Any], data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded
) -> None:
    run(data_path, tiny_bert, tmp_path / "store")
    first = ItemEmbeddingStore.load(tmp_path / "store").fingerprint()
    assert not run(data_path, tiny_bert, tmp_path / "store", **change).up_to_date
    assert ItemEmbeddingStore.load(tmp_path / "store").fingerprint() != first


def test_another_text_another_token_or_other_weights_encode_anew(
    data_path: Path, tmp_path: Path, encoded: Encoded
) -> None:
    encoder = save_tiny_bert(tmp_path / "encoder", seed=0)
    run(data_path, encoder, tmp_path / "store")
    write_items(data_path, [("a", "red bus", "acme"), *ITEM_ROWS[1:]])
    assert not run(data_path, encoder, tmp_path / "store").up_to_date
    write_items(data_path, [("A", "red bus", "acme"), *ITEM_ROWS[1:]])
    assert not run(data_path, encoder, tmp_path / "store").up_to_date
    assert ItemEmbeddingStore.load(tmp_path / "store").items[0] == "A"
    save_tiny_bert(encoder, seed=1)
    assert not run(data_path, encoder, tmp_path / "store").up_to_date


@pytest.mark.parametrize("damage", ["truncated vectors", "other shape", "broken meta"])
def test_a_damaged_store_is_not_taken_for_finished(
    damage: str, data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run(data_path, tiny_bert, store)
    vectors = store / "embeddings.safetensors"
    if damage == "truncated vectors":
        vectors.write_bytes(vectors.read_bytes()[:-1])
    elif damage == "other shape":
        save_file({"item_embeddings": torch.ones(2, 32)}, vectors)
    else:
        (store / "meta.json").write_text("{")
    assert not run(data_path, tiny_bert, store).up_to_date
    assert ItemEmbeddingStore.load(store).items == list(TEXTS)


# --- interruptions ---


MANY = [(f"item{number}", "word " * (number + 1), "brand") for number in range(20)]


def test_an_interrupted_call_goes_on_and_repeats_at_most_one_shard(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded
) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    encoded.fail_after = 14
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    assert not (tmp_path / "store").exists()
    first, encoded.texts, encoded.fail_after = encoded.texts, [], None

    report = run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    repeated = set(first) & set(encoded.texts)
    assert len(first) == 14
    assert len(repeated) == 2 <= 4
    assert set(first) | set(encoded.texts) == {f"{('word ' * n).strip()}. brand" for n in range(1, 21)}
    assert report.encoded_texts == len(encoded.texts) == 8
    store = ItemEmbeddingStore.load(tmp_path / "store")
    expected = reference(tiny_bert, [f"{title.strip()}. {brand}" for _, title, brand in MANY])
    torch.testing.assert_close(store.embeddings, expected, atol=1e-5, rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "store"]


def test_a_resumed_call_keeps_the_shards_of_another_shard_size(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded
) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    encoded.fail_after = 12
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    encoded.fail_after = None
    assert run(data_path, tiny_bert, tmp_path / "store", shard_size=7).encoded_texts == 8


def test_shards_of_another_request_are_not_reused(tmp_path: Path, tiny_bert: Path, encoded: Encoded) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    encoded.fail_after = 12
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    encoded.fail_after = None
    report = run(data_path, tiny_bert, tmp_path / "store", pooling="cls", shard_size=4)
    assert report.encoded_texts == 20


@pytest.mark.parametrize("damage", ["truncated", "too few rows", "other tensor"])
def test_a_damaged_shard_is_encoded_again(damage: str, tmp_path: Path, tiny_bert: Path, encoded: Encoded) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    encoded.fail_after = 12
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    shard = sorted((tmp_path / "store.partial").glob("*.safetensors"))[1]
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-3])
    else:
        name = "text_embeddings" if damage == "too few rows" else "other"
        save_file({name: torch.zeros(3, 32)}, shard)
    encoded.fail_after = None
    assert run(data_path, tiny_bert, tmp_path / "store").encoded_texts == 12
    expected = reference(tiny_bert, [f"{title.strip()}. {brand}" for _, title, brand in MANY])
    vectors = ItemEmbeddingStore.load(tmp_path / "store").embeddings
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-5)


def test_a_full_disk_keeps_the_shards_and_the_next_call_goes_on(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    data_path = write_items(tmp_path / "data", MANY)
    save, written = safetensors.torch.save_file, 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(*arguments: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        save(*arguments)

    monkeypatch.setattr(safetensors.torch, "save_file", fill_up)
    try:
        with pytest.raises(StoreError, match="shard-00002.* can't be written.*goes on from there"):
            run(data_path, tiny_bert, tmp_path / "store", shard_size=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "store").exists()
    assert sorted(path.name for path in (tmp_path / "store.partial").iterdir()) == [
        "request.json",
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    assert run(data_path, tiny_bert, tmp_path / "store", shard_size=4).encoded_texts == 12


@pytest.mark.parametrize("victim", ["store.partial/shard-00001.safetensors", "store/embeddings.safetensors"])
def test_a_kill_in_the_middle_of_a_write_leaves_no_half_written_file(victim: str, tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
import torch, safetensors.torch
from recbole_ext.encode.shards import ShardFolder
from recbole_ext.store import ItemEmbeddingStore
folder, killed_at, writes, save = Path(sys.argv[1]), int(sys.argv[2]), 0, safetensors.torch.save_file
def save_half(tensors, path):
    global writes
    writes += 1
    save(tensors, path)
    if writes == killed_at:
        os.truncate(path, 100)
        os.kill(os.getpid(), signal.SIGKILL)
safetensors.torch.save_file = save_half
shards = ShardFolder(folder / "store.partial", "request", texts=6, shard_size=3)
for shard in range(2):
    shards.write(shard, torch.ones(3, 50))
ItemEmbeddingStore(torch.ones(6, 50), list("abcdef")).save(folder / "store")
"""
    killed_at = 2 if "shard" in victim else 3
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(killed_at)])
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / victim).exists()
    shards = ShardFolder(tmp_path / "store.partial", "request", texts=6, shard_size=3)
    whole = [shard for shard in range(2) if shards.read(shard) is not None]
    assert whole == list(range(killed_at - 1))


# --- bad input ---


def test_a_missing_item_file_is_named(tmp_path: Path, tiny_bert: Path) -> None:
    with pytest.raises(SourceDataError, match=r"tiny/tiny\.item: no such file.*recbole-ext convert"):
        run(tmp_path, tiny_bert, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_any_text_is_refused(tmp_path: Path, tiny_bert: Path) -> None:
    data_path = write_items(tmp_path / "data", [("a", "", "acme"), ("b", "", "")])
    with pytest.raises(SourceDataError, match=r"no item has any text with the template \['{title}'\]"):
        run(data_path, tiny_bert, tmp_path / "store", template=["{title}"])


def test_items_without_text_are_reported(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    report = run(data_path, tiny_bert, tmp_path / "store")
    assert "1 items have no text" in report.lines()[1]
    assert ItemEmbeddingStore.load(tmp_path / "store").rows(["d"]).tolist() == [-1]


def test_an_unknown_template_field_is_refused(data_path: Path, tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        run(data_path, tiny_bert, tmp_path / "store", template=["{colour}"])


def test_an_unknown_encoder_is_refused_before_anything_is_written(data_path: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="nowhere"):
        run(data_path, tmp_path / "nowhere", tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_something_else_in_the_place_of_the_store_is_left_alone_before_any_work(
    data_path: Path, tiny_bert: Path, tmp_path: Path, encoded: Encoded
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("all my work")
    with pytest.raises(StoreError, match="is no item embedding store"):
        run(data_path, tiny_bert, tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["thesis.tex"]
    assert encoded.texts == []


def test_something_else_in_the_place_of_the_partial_folder_is_left_alone(
    data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "thesis.tex").write_text("all my work")
    with pytest.raises(StoreError, match=r"store\.partial is needed"):
        run(data_path, tiny_bert, tmp_path / "store")
    assert (tmp_path / "store.partial" / "thesis.tex").exists()


def test_an_encoder_that_overflows_is_refused_and_the_text_named(
    data_path: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    def overflow(model: Any, texts: list[str], **options: Any) -> torch.Tensor:
        return torch.tensor([[torch.inf if text.startswith("blue") else 0.0] for text in texts])

    monkeypatch.setattr(SentenceTransformer, "encode", overflow)
    with pytest.raises(EncoderError, match="NaN or infinite.*'blue car with a roof"):
        run(data_path, tiny_bert, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0"),
        ({"shard_size": -1}, "shard_size: -1"),
        ({"pooling": "max"}, "pooling: 'max'"),
        ({"precision": "int8"}, "precision: 'int8'"),
        ({"devices": []}, "devices: the list is empty"),
        ({"devices": ["abacus"]}, "devices: 'abacus'"),
        ({"devices": ["cuda:99"]}, "devices: 'cuda:99'"),
    ],
)
def test_an_option_out_of_range_is_named(
    option: dict[str, Any], message: str, data_path: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(data_path, tiny_bert, tmp_path / "store", **option)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
