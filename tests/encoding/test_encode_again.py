"""Later calls and interrupted ones: nothing encoded twice, nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from encode_runs import TEXTS, Encoded, reference, run, texts_done
from safetensors.torch import save_file
from tiny_models import ITEM_ROWS, save_tiny_bert, write_items

from recbole_ext.encoding.shards import ShardFolder
from recbole_ext.errors import WriteError
from recbole_ext.store import ItemEmbeddingStore


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
    assert second.up_to_date and not first.up_to_date
    assert (second.items, second.dim) == (first.items, first.dim)
    assert "nothing to do" in second.lines()[0]


def test_a_second_call_imports_neither_torch_nor_transformers(data_path: Path, tmp_path: Path) -> None:
    run(data_path, "minilm", tmp_path / "store")
    code = """
import sys
from pathlib import Path
from recbole_ext.data.dataset import Dataset
from recbole_ext.vectors.encoder import Encoder
folder = Path(sys.argv[1])
dataset = Dataset.named("tiny", folder / "data", configs=folder)
source = Encoder(encoder="minilm", template=("{title}", "{brand}"))
assert source.make(dataset, folder / "store", folder / "artifacts").up_to_date
assert not {"torch", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize(
    "change",
    [{"pooling": "cls"}, {"precision": "bfloat16"}, {"template": ["{title}"]}, {"max_tokens": 8}, {"prompt": "x: "}],
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
    assert texts_done(report) == len(encoded.texts) == 8
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
    assert texts_done(run(data_path, tiny_bert, tmp_path / "store", shard_size=7)) == 8


def test_shards_of_another_request_are_not_reused(tmp_path: Path, tiny_bert: Path, encoded: Encoded) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    encoded.fail_after = 12
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    encoded.fail_after = None
    report = run(data_path, tiny_bert, tmp_path / "store", pooling="cls", shard_size=4)
    assert texts_done(report) == 20


@pytest.fixture
def disk_fills_up(no_room: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``disk_fills_up(n)``: from now on the ``n``-th file of vectors finds a full disk; 0 for none."""
    import safetensors.torch

    save, left = safetensors.torch.save_file, 0

    def save_or_fail(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            with no_room(100):
                save(*arguments)
        save(*arguments)

    def disk_fills_up(writes: int) -> None:
        nonlocal left
        left = writes

    monkeypatch.setattr(safetensors.torch, "save_file", save_or_fail)
    return disk_fills_up


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
    assert texts_done(run(data_path, tiny_bert, tmp_path / "store")) == 12
    expected = reference(tiny_bert, [f"{title.strip()}. {brand}" for _, title, brand in MANY])
    vectors = ItemEmbeddingStore.load(tmp_path / "store").embeddings
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-5)


def test_a_full_disk_keeps_the_shards_and_the_next_call_goes_on(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded, disk_fills_up: Callable[[int], None]
) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    disk_fills_up(3)
    with pytest.raises(WriteError, match="shard-00002.* can't be written.*kept in .*store.partial.*goes on from there"):
        run(data_path, tiny_bert, tmp_path / "store", shard_size=4)
    assert not (tmp_path / "store").exists()
    assert sorted(path.name for path in (tmp_path / "store.partial").iterdir()) == [
        "request.json",
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    disk_fills_up(0)
    assert texts_done(run(data_path, tiny_bert, tmp_path / "store", shard_size=4)) == 12


def test_a_disk_that_is_full_before_the_first_shard_leaves_nothing(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded, disk_fills_up: Callable[[int], None]
) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    before = sorted(tmp_path.iterdir())
    disk_fills_up(1)
    with pytest.raises(WriteError, match="Nothing half-written was left"):
        run(data_path, tiny_bert, tmp_path / "store", shard_size=4)
    assert sorted(tmp_path.iterdir()) == before


def test_a_call_that_ends_before_the_first_shard_leaves_nothing(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded
) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    before = sorted(tmp_path.iterdir())
    encoded.fail_after = 2
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", batch_size=2, shard_size=4)
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_that_finds_no_room_keeps_every_shard_and_says_so(
    tmp_path: Path, tiny_bert: Path, encoded: Encoded, disk_fills_up: Callable[[int], None]
) -> None:
    data_path = write_items(tmp_path / "data", MANY)
    disk_fills_up(6)  # after the five shards
    with pytest.raises(WriteError, match="store can't be written.*kept in .*store.partial"):
        run(data_path, tiny_bert, tmp_path / "store", shard_size=4)
    assert not (tmp_path / "store").exists()
    disk_fills_up(0)
    assert texts_done(run(data_path, tiny_bert, tmp_path / "store", shard_size=4)) == 0


@pytest.mark.parametrize("victim", ["store.partial/shard-00001.safetensors", "store/embeddings.safetensors"])
def test_a_kill_in_the_middle_of_a_write_leaves_no_half_written_file(victim: str, tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
import torch, safetensors.torch
from recbole_ext.encoding.shards import Shard, ShardFolder
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
    shards.write(shard, Shard(torch.ones(3, 50), 1.0))
ItemEmbeddingStore(torch.ones(6, 50), list("abcdef")).save(folder / "store")
"""
    killed_at = 2 if "shard" in victim else 3
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(killed_at)])
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / victim).exists()
    shards = ShardFolder(tmp_path / "store.partial", "request", texts=6, shard_size=3)
    whole = [shard for shard in range(2) if shards.read(shard) is not None]
    assert whole == list(range(killed_at - 1))
