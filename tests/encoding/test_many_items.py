"""A large catalogue: every different text once, the vectors in memory once, and an interrupted call goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from encode_runs import Encoded, run, texts_done
from tiny_models import write_items

from recbole_ext.encoding.shards import ShardFolder
from recbole_ext.hashing import sha256_of
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.folder import read_meta

MEASURED = """
import json, sys
from pathlib import Path
import torch
from sentence_transformers import SentenceTransformer
from recbole_ext.data.dataset import Dataset
from recbole_ext.encoding import Compute
from recbole_ext.encoding.encoder import PROBES
from recbole_ext.machine import peak_memory_mb
from recbole_ext.vectors.encoder import Encoder

folder, encoder, width = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
encoded = []

def encode(model, texts, **options):
    encoded.extend(text for text in texts if text not in PROBES)
    return torch.ones(len(texts), width) * torch.tensor([[float(len(text))] for text in texts])

SentenceTransformer.encode = encode
source = Encoder(encoder=encoder, template=("{title}",))
few = Dataset.named("few", folder, configs=folder)
source.make(few, folder / "warm", folder, Compute(devices=("cpu",)))  # what is loaded is loaded
encoded.clear()
before = peak_memory_mb()
source.make(Dataset.named("many", folder, configs=folder), folder / "store", folder, Compute(devices=("cpu",)))
print(json.dumps({"grew": peak_memory_mb() - before, "encoded": len(encoded), "different": len(set(encoded))}))
"""
ITEMS, DIFFERENT, WIDTH = 60_000, 40_000, 1024


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory since a point in time is read from /proc")
def test_the_vectors_of_a_large_catalogue_lie_in_memory_once_and_each_text_is_encoded_once(
    tiny_bert: Path, tmp_path: Path
) -> None:
    write_items(tmp_path, [(f"i{n}", f"thing {n % DIFFERENT}", "") for n in range(ITEMS)], "many")
    write_items(tmp_path, [("i0", "thing", "")], "few")
    command = [sys.executable, "-c", MEASURED, str(tmp_path), str(tiny_bert), str(WIDTH)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["encoded"] == found["different"] == DIFFERENT
    matrix = ITEMS * WIDTH * 4 / 2**20  # 234 MiB
    assert matrix < found["grew"] + 50 and found["grew"] < 1.7 * matrix
    meta = read_meta(tmp_path / "store")
    assert (meta["items"], meta["dim"], meta["unique_texts"]) == (ITEMS, WIDTH, DIFFERENT)


def test_items_of_one_text_have_one_vector_whatever_the_shards(
    tiny_bert: Path, tmp_path: Path, encoded: Encoded
) -> None:
    rows = [(f"i{n}", f"thing {n % 7}" + " more" * (n % 3), "acme") for n in range(60)]
    data_path = write_items(tmp_path / "data", rows)
    run(data_path, tiny_bert, tmp_path / "store", shard_size=4, batch_size=3)
    assert len(encoded.texts) == len(set(encoded.texts)) == 21
    store = ItemEmbeddingStore.load(tmp_path / "store")
    for _, title, _ in rows:
        same = [row for row, (_, other, _) in enumerate(rows) if other == title]
        assert (store.embeddings[same] == store.embeddings[same[0]]).all()


def test_an_interrupted_call_keeps_the_seconds_of_its_shards(tiny_bert: Path, tmp_path: Path, encoded: Encoded) -> None:
    data_path = write_items(tmp_path / "data", [(f"i{n}", "word " * (n + 1), "") for n in range(12)])
    encoded.fail_after = 8
    with pytest.raises(KeyboardInterrupt):
        run(data_path, tiny_bert, tmp_path / "store", shard_size=4)
    request = json.loads((tmp_path / "store.partial" / "request.json").read_text())["request"]
    shards = ShardFolder(tmp_path / "store.partial", request, texts=12, shard_size=4)
    before = [shard.seconds for number in range(2) if (shard := shards.read(number))]
    encoded.fail_after = None
    assert len(before) == 2 and texts_done(run(data_path, tiny_bert, tmp_path / "store", shard_size=4)) == 4
    cost = read_meta(tmp_path / "store")["cost"]
    assert cost["vectors"] == 12 and cost["seconds"] > sum(before) > 0


@pytest.mark.parametrize("value", [{"b": [1, 2.5, None], "a": "ä\ud800"}, [], "x", [["i0", 'a "text"'], ["i1", ""]]])
def test_a_hash_made_piece_by_piece_is_that_of_the_whole(value: object) -> None:
    import hashlib

    whole = json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert sha256_of(value) == hashlib.sha256(whole).hexdigest()
