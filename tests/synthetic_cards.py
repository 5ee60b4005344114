"""Score cards of a made-up suite, without any run."""

from __future__ import annotations

from typing import Any

from recbole_ext.records.card import Card, Cost, Gain, Geometry, OnDataset, Score, SuiteVersion, Unseen


def card(
    name: str = "minilm",
    gain: float = 8.0,
    milliseconds: float | None = 2.5,
    suite: str = "shops",
    version: int = 1,
    suite_hash: str = "a" * 64,
    fingerprint: str = "d" * 64,
    described_by: str = "k" * 64,
    random: float = 0.05,
    datasets: tuple[str, ...] = ("Toys", "Books"),
    **changes: Any,
) -> Card:
    """A card whose recommender is ``gain`` per cent above random vectors' 0.05 on every dataset."""
    of_gain = Gain(mean=gain, low=gain - 2, high=gain + 2)
    score = round(0.05 * (1 + gain / 100), 6)
    parts: dict[str, Any] = {"peak_memory_mb": 640.5, "parameters": 22_713_216, "device": "cpu (tiny)"}
    cost = Cost(milliseconds_per_item=milliseconds, **parts) if milliseconds else None
    vectors = Geometry(
        items=500,
        width=384,
        mean_cosine=0.21,
        effective_rank=120.5,
        first_axis=0.04,
        hubness=1.7,
        co_taken=0.08,
        co_taken_by_chance=0.01,
    )
    scores = []
    for dataset in datasets:
        unseen = Unseen(users=7, score=0.01, random=0.001)
        both: dict[str, Any] = {"dataset": dataset, "trials": 2, "chosen": {"item_embedding_scale": 0.1}}
        both["runs"] = [f"{dataset}-{name}-s{seed}" for seed in (42, 43, 44)]
        scores.append(Score(model="SASRec", score=score, random=random, gain=of_gain, unseen=unseen, seeds=3, **both))
        scores.append(Score(model="NearestNeighbour", score=0.03, seeds=1, **{**both, "chosen": {}, "trials": 1}))
    content: dict[str, Any] = {
        "name": name,
        "kind": "encoder",
        "vectors": f"encoder {name}",
        "source": {"encoder": name},
        "suite": SuiteVersion(name=suite, version=version, sha256=suite_hash),
        "metric": "ndcg@10",
        "score": score,
        "gain": of_gain,
        "scores": scores,
        "datasets": [
            OnDataset(
                dataset=dataset,
                fingerprint=fingerprint,
                described_by=described_by,
                users=300,
                items=510,
                covered=500,
                score=score,
                gain=of_gain,
                vectors=vectors,
                cost=cost,
            )
            for dataset in datasets
        ],
        "command": f"recbole-ext score {name} --suite shops.yaml",
        "date": "2026-11-24T10:00:00+00:00",
        "git_revision": "0b54aa7",
        "versions": {"python": "3.11.9"},
        "devices": ["cpu (tiny)"],
    }
    return Card.model_validate({**content, **changes})


def random_card(**changes: Any) -> Card:
    """Random vectors' own."""
    made = card("random", 0.0, None, **changes)
    nothing = Gain(mean=0.0)
    return made.model_copy(
        update={
            "kind": "random",
            "vectors": "random",
            "source": {},
            "gain": nothing,
            "scores": [s.model_copy(update={"gain": nothing}) for s in made.scores if s.model == "SASRec"],
            "datasets": [
                of.model_copy(update={"gain": nothing, "vectors": None, "covered": None}) for of in made.datasets
            ],
        }
    )
