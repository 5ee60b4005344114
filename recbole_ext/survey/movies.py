"""The data of the survey: ml-100k as RecBole's wheel holds it, and a slice of it."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from recbole_ext.compat import recbole_folder
from recbole_ext.store import ItemEmbeddingStore

WHOLE, SLICE = "movies", "movies-slice"
"""Names of the two datasets. RecBole gives the name ml-100k keys of its own, which no other dataset has."""
USERS_OF_SLICE = 40
VECTOR_WIDTH = 64


def write_movies(folder: Path) -> None:
    """Write ml-100k as ``movies`` and its first users as ``movies-slice``, and a store of made-up vectors."""
    source = recbole_folder() / "dataset_example" / "ml-100k"
    draw = random.Random(0)
    graph = [line.split("\t") for line in _lines(source / "ml-100k.kg")[1:]]
    entities = sorted({part for head, _, tail in graph for part in (head, tail)})
    relations = sorted({relation for _, relation, _ in graph})
    interactions = _lines(source / "ml-100k.inter")
    few = [line for line in interactions[1:] if int(line.split("\t")[0]) <= USERS_OF_SLICE]
    for name, chosen in {WHOLE: interactions[1:], SLICE: few}.items():
        files = {kind: _lines(source / f"ml-100k.{kind}") for kind in ("user", "item", "kg", "link")}
        files["inter"] = [interactions[0], *chosen]
        files["ent"] = ["ent_id:token\tent_emb:float_seq", *(f"{entity}\t{_vector(draw)}" for entity in entities)]
        files["rel"] = ["rel_id:token\trel_emb:float_seq", *(f"{name}\t{_vector(draw)}" for name in relations)]
        (folder / name).mkdir(parents=True)
        for kind, lines in files.items():
            (folder / name / f"{name}.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    items = [line.split("\t")[0] for line in _lines(source / "ml-100k.item")[1:]]
    vectors = torch.randn(len(items), VECTOR_WIDTH, generator=torch.Generator().manual_seed(0))
    ItemEmbeddingStore(vectors, items, {"made_by": "random numbers, to try models"}).save(folder / "store")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _vector(draw: random.Random) -> str:
    return " ".join(f"{draw.gauss(0, 0.1):.4f}" for _ in range(VECTOR_WIDTH))
