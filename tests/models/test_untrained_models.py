"""Baselines without training: known answers, and nothing but the training split counts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.errors import AttachError, ConfigurationError
from recbole_ext.models import model_class
from recbole_ext.models.transition_graph import places
from recbole_ext.models.untrained import training_interactions
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import build_trainer, choose_samples

Build = Callable[..., SimpleNamespace]
Written = Callable[..., Callable[..., SimpleNamespace]]
MODELS = ["LastItem", "RecentPop", "NearestNeighbour", "TransitionGraph"]


@pytest.fixture
def written(build: Build, tmp_path: Path) -> Written:
    """``written(histories)(model, **keys)`` builds on a dataset of these histories, one list of items per user."""

    def written(histories: list[list[str]], step: float = 1.0) -> Callable[..., SimpleNamespace]:
        (tmp_path / "tiny").mkdir(exist_ok=True)
        lines = ["user_id:token\titem_id:token\ttimestamp:float"]
        for user, items in enumerate(histories):
            lines += [f"u{user}\t{item}\t{place * step}" for place, item in enumerate(items)]
        (tmp_path / "tiny" / "tiny.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return lambda model, **keys: build(model, data_path=str(tmp_path), **keys)

    return written


def ids(built: SimpleNamespace, items: str | list[str]) -> torch.Tensor:
    return torch.tensor([built.dataset.field2token_id["item_id"][item] for item in items])


def ranked(built: SimpleNamespace, *history: str) -> list[str]:
    """All items by their score after this history, the best first."""
    items = ids(built, list(history)).unsqueeze(0)
    batch = {"item_id_list": torch.nn.functional.pad(items, (0, 3)), "item_length": torch.tensor([len(history)])}
    scores = built.model.full_sort_predict(batch)[0, 1:]
    assert len(scores.unique()) == len(scores), "no ties"
    tokens = built.dataset.field2id_token["item_id"][1:]
    return [str(tokens[item]) for item in scores.argsort(descending=True).tolist()]


def on_vectors(vectors: dict[str, list[float]]) -> dict[str, Any]:
    return {"item_embedding": ItemEmbeddingStore(torch.tensor(list(vectors.values())), list(vectors))}


# --- what is counted ---


def planted(step: float = 1.0) -> tuple[list[list[str]], list[str]]:
    """Histories whose two held-out items are markers that training has never beside each other."""
    histories = [["a", "b", "c", "d", f"v{user}", f"t{user}"] for user in range(6)]
    return histories, [f"{kind}{user}" for kind in "vt" for user in range(6)]


def test_recent_popularity_counts_no_held_out_item(written: Written) -> None:
    histories, markers = planted()
    built = written(histories, step=86_400 / 2)("RecentPop")
    assert set(ranked(built, "a", "b")[:4]) == set("abcd") and set(ranked(built, "a", "b")[4:]) == set(markers)
    built = written(histories, step=86_400 / 2)("RecentPop", recent_days=0.9)
    assert set(ranked(built, "a", "b")[:2]) == {"c", "d"}


def test_the_transition_graph_has_no_edge_of_a_held_out_item(written: Written) -> None:
    histories, markers = planted()
    model = written(histories)("TransitionGraph").model
    built = written(histories)("TransitionGraph")
    rows, columns = model.walk.nonzero()
    edges = {(int(a), int(b)) for a, b in zip(rows, columns, strict=True)}
    a, b, c, d = ids(built, "abcd").tolist()
    assert edges == {(a, b), (b, c), (c, d)}
    assert ranked(built, "b")[:2] == ["c", "d"] and set(markers) < set(ranked(built, "b")[2:])


@pytest.mark.parametrize("model", MODELS)
def test_held_out_interactions_change_no_score(written: Written, model: str) -> None:
    """Two datasets that differ in which of the markers is whose held-out item, and in nothing else."""
    scores = []
    for turn in (0, 1):
        histories, markers = planted()
        all_seen = [*markers, "a", "b"]  # a user who fixes the order in which items get their ids
        held_out = [[*h[:-2], f"v{(user + turn) % 6}", f"t{(user + turn) % 6}"] for user, h in enumerate(histories)]
        vectors = {item: [math.cos(place), math.sin(place)] for place, item in enumerate([*"abcd", *markers])}
        built = written([all_seen, *held_out])(model, **on_vectors(vectors))
        scores.append(ranked(built, "a", "c"))
    assert scores[0] == scores[1]


def test_training_interactions_are_those_of_the_training_split(build: Build) -> None:
    dataset = build("SASRec").loaders.train._dataset
    users, items, times = training_interactions(dataset)
    assert times is not None
    matrix = dataset.inter_matrix(form="csr").toarray()
    found = np.zeros_like(matrix)
    np.add.at(found, (users, items), 1)
    assert (found == matrix).all()
    for user in np.unique(users):
        assert sorted(times[users == user]) == list(range(int((users == user).sum())))


# --- last item ---


def test_the_users_items_come_first_the_newest_before_all(written: Written) -> None:
    built = written([list("abcdef"), list("fedcba")])("LastItem")
    assert ranked(built, "c", "a", "b", "a")[:3] == ["a", "b", "c"]


def test_other_items_stand_in_a_random_order_that_the_seed_fixes(written: Written) -> None:
    histories = [[chr(97 + (place + user) % 20) for place in range(20)] for user in range(3)]
    orders = [ranked(written(histories)("LastItem", seed=seed), "a")[1:] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2] != sorted(orders[2])


# --- recent popularity ---


def test_days_count_back_from_the_last_training_interaction(written: Written) -> None:
    histories = [["a", "a", "a", "b", "x", "y"], ["c", "a", "a", "b", "x", "y"]]
    built = written(histories, step=86_400)("RecentPop", recent_days=1.5)
    assert set(ranked(built, "x")[:2]) == {"a", "b"} and built.model.place[ids(built, "c")] < 4
    built = written(histories, step=86_400)("RecentPop", recent_days=0.5)
    assert ranked(built, "x")[0] == "b"


def test_each_users_last_training_interactions_count(written: Written) -> None:
    histories = [["a", "a", "b", "x", "y"], ["a", "a", "c", "b", "x", "y"], ["a", "c", "b", "x", "y"]]
    assert ranked(written(histories)("RecentPop", recent_per_user=1), "x")[0] == "b"
    assert ranked(written(histories)("RecentPop", recent_per_user=2), "x")[:3] == ["b", "c", "a"]
    assert ranked(written(histories)("RecentPop", recent_per_user=9), "x")[:3] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"recent_days": 7, "recent_per_user": 2}, "recent_days and recent_per_user: RecentPop takes one of them"),
        ({"recent_per_user": 0}, "recent_per_user: 0 is not a whole number above 0"),
        ({"recent_per_user": 1.5}, "recent_per_user: 1.5 is not a whole number"),
        ({"recent_days": "week"}, "recent_days: 'week' is not a number above 0"),
        ({"recent_days": 7}, "recent_days: the times are no more than each"),
        ({"recent_interactions": 7}, "recent_interactions: the times are no more than each"),
    ],
)
def test_what_can_not_be_recent_is_said(build: Build, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build("RecentPop", **keys)


HOURS: dict[str, list[float]] = {
    "old": [0, 1, 2, 3],
    "older": [1, 2, 3, 4],
    "now": [1000, 1001, 1002, 1003],
    "new": [1000.5, 1001.5, 1002.5],
}
"""When users did something: two of them a thousand hours before the others."""


@pytest.fixture
def years(build: Build, tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """``years(**keys)`` builds RecentPop on ``HOURS``, whose items tell user and place, and item ``x`` between."""
    (tmp_path / "tiny").mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user, hours in HOURS.items():
        lines += [f"{user}\t{user}{place}\t{3600 * hour:.0f}" for place, hour in enumerate(hours)]
    lines += [f"{user}\tx\t{3600 * (hours[0] + 0.2):.0f}" for user, hours in HOURS.items()]
    (tmp_path / "tiny" / "tiny.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lambda **keys: build("RecentPop", data_path=str(tmp_path), **keys)


def counted(built: SimpleNamespace) -> set[str]:
    """The items that stand before those which were never counted: as many as ``place`` can tell from chance."""
    return set(ranked(built, "x")[:4])


@pytest.mark.parametrize("normalised", [False, True])
def test_days_and_interactions_are_those_of_the_files_times(
    years: Callable[..., SimpleNamespace], normalised: bool
) -> None:
    """Leave-one-out trains on each user's first three of five rows, and on two of ``new``'s four."""
    late = {"x", "now0", "now1", "new0"}
    for keys in ({"recent_days": 7}, {"recent_interactions": 5}):
        assert counted(years(normalize_all=normalised, **keys)) == late


def test_under_temporal_the_last_interactions_are_those_of_all_users_together(
    years: Callable[..., SimpleNamespace],
) -> None:
    split = {"temporal": {"valid": 3600 * 1001.2, "test": 3600 * 1002.2}}
    args = {"split": split, "group_by": "user", "order": "TO", "mode": "full"}
    assert counted(years(eval_args=args, recent_interactions=5)) == {"x", "now0", "now1", "new0"}
    per_user = years(eval_args=args, recent_per_user=1)
    assert {"old3", "older3"} < counted(per_user), "what they did last, a thousand hours ago"


def test_of_files_that_are_split_already_the_last_interactions_are_those_of_the_first(
    build: Build, tmp_path: Path
) -> None:
    (tmp_path / "tiny").mkdir()
    for part, hours in (("train", (0, 1000)), ("valid", (2000, 2001)), ("test", (3000, 3001))):
        lines = ["user_id:token\titem_id:token\ttimestamp:float"]
        for user in range(4):
            lines += [f"u{user}\t{part}{n}\t{3600 * hour + user}" for n, hour in enumerate(hours)]
        (tmp_path / "tiny" / f"tiny.{part}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given: dict[str, Any] = {"benchmark_filename": ["train", "valid", "test"], "data_path": str(tmp_path)}
    for keys in ({"recent_days": 7}, {"recent_interactions": 4}):
        built = build("RecentPop", **given, **keys)
        assert ranked(built, "train0")[0] == "train1"


def test_more_interactions_than_there_are_is_said(years: Callable[..., SimpleNamespace]) -> None:
    with pytest.raises(ConfigurationError, match="recent_interactions: there are 11 training interactions"):
        years(recent_interactions=11)


# --- nearest neighbour ---


def test_items_stand_by_the_cosine_to_the_last_item_with_the_mean_taken_off(build_on_vectors: Build) -> None:
    built = build_on_vectors("NearestNeighbour")
    dataset = built.loaders.test._dataset
    samples = dataset[torch.arange(len(dataset))]
    scores = built.model.full_sort_predict(samples)
    centred = built.vectors - built.vectors.mean(0)
    last = samples["item_id_list"][torch.arange(len(samples)), samples["item_length"] - 1]
    expected = torch.cosine_similarity(centred[last - 1].unsqueeze(1), centred.unsqueeze(0), dim=-1)
    expected[torch.arange(len(last)), last - 1] = -2
    assert torch.allclose(scores[:, 1:], expected, atol=1e-5)
    assert (scores[:, 1:].argmin(dim=1) + 1 == last).all()
    assert built.model.item_vector_coverage.covered == 60


@pytest.mark.parametrize(
    ("model", "transform"),
    [
        ("NearestNeighbour", None),
        ("NearestNeighbour", ["center"]),
        ("NearestNeighbour", ["center", "l2"]),
        ("TransitionGraph", ["center"]),
    ],
)
def test_items_that_the_store_lacks_have_no_direction_after_centring(
    build_on_vectors: Build, store: ItemEmbeddingStore, model: str, transform: list[str] | None
) -> None:
    part = ItemEmbeddingStore(store.embeddings[:50], store.items[:50])
    keys = {"item_embedding_missing": "mean", "item_embedding_transform": transform}
    built = build_on_vectors(model, item_embedding=part, **keys)
    norms = built.model.directions.norm(dim=1)
    lacking = ids(built, store.items[50:])
    assert not norms[lacking].any()
    assert torch.allclose(norms[ids(built, store.items[:50])], torch.ones(50), atol=1e-6)


def test_without_vectors_there_are_no_neighbours(build: Build) -> None:
    with pytest.raises(AttachError, match="NearestNeighbour is made of item vectors"):
        build("NearestNeighbour")


# --- transition graph ---

GRAPH = [
    ["a", "b", "x", "y"],
    ["a", "b", "x", "y"],
    ["a", "c", "x", "y"],
    ["b", "d", "e", "x", "y"],
    ["c", "e", "x", "y"],
]
# a → b (twice), a → c, b → d, d → e, c → e: around a the rings are {b, c}, {d, e}, {}.
ANGLES = {"a": 0.0, "b": 1.0, "c": 0.2, "d": 0.9, "e": 0.5, "x": 0.1, "y": 0.3}
VECTORS = {item: [math.cos(angle), math.sin(angle)] for item, angle in ANGLES.items()}


def test_rings_come_in_their_places_and_the_rest_by_cosine(written: Written) -> None:
    built = written(GRAPH)("TransitionGraph", ring_places=[1, 1], edge_weight=0.0, **on_vectors(VECTORS))
    # one of ring 1 (c is nearer than b), one of ring 2 (e), what is left of both, then x and y, a itself at the end
    assert ranked(built, "x", "a") == ["c", "e", "b", "d", "x", "y", "a"]


def test_how_often_an_item_followed_counts_beside_the_cosine(written: Written) -> None:
    built = written(GRAPH)("TransitionGraph", ring_places=[2], edge_weight=5.0, **on_vectors(VECTORS))
    assert ranked(built, "a")[:2] == ["b", "c"]
    within, _ = built.model.rings(ids(built, "a"))
    bonus = [float(within[0, ids(built, item)]) - math.cos(ANGLES[item]) for item in "bc"]
    assert bonus == pytest.approx([5.0, 5.0 * math.log(2) / math.log(3)], abs=1e-5)


def test_a_ring_that_is_too_small_gives_its_places_to_what_earlier_rings_have_left(written: Written) -> None:
    built = written(GRAPH)("TransitionGraph", ring_places=[1, 3, 1], edge_weight=0.0, **on_vectors(VECTORS))
    # ring 2 has two items for three places: b of ring 1 goes in front of them
    assert ranked(built, "a") == ["c", "b", "e", "d", "x", "y", "a"]


def test_without_vectors_a_ring_stands_by_the_random_walk(written: Written) -> None:
    built = written(GRAPH)("TransitionGraph", ring_places=[7, 2, 1])
    order = ranked(built, "a")
    # after a: b 2/3, c 1/3; two steps: d 2/3 · 1, e 1/3 · 1
    assert order[:4] == ["b", "c", "d", "e"] and order[-1] == "a" and set(order[4:6]) == {"x", "y"}


def test_an_item_that_nothing_followed_in_training_falls_back_on_the_rest(written: Written) -> None:
    built = written(GRAPH)("TransitionGraph", **on_vectors(VECTORS))
    assert ranked(built, "x") == ["c", "a", "y", "e", "d", "b", "x"]


def reference_list(within: list[float], ring: list[int], parts: list[int]) -> list[int]:
    """The public code's way of filling a list, written out, and the rest after it."""
    by_score = sorted(range(len(within)), key=lambda item: -within[item])
    result: list[int] = []
    overflow: list[int] = []
    for number, wanted in enumerate(parts):
        picks = [item for item in by_score if ring[item] == number]
        taken = min(len(overflow), max(0, wanted - len(picks)))
        result += overflow[:taken]
        overflow = overflow[taken:]
        result += picks[: wanted - taken]
        overflow += picks[wanted - taken :]
    return result + overflow + [item for item in by_score if ring[item] == len(parts)]


@pytest.mark.parametrize("seed", range(20))
def test_the_list_is_filled_as_in_the_public_code(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts = [7, 2, 1]
    weights = torch.tensor([[4.0, 8, 2, 20], [1, 1, 1, 1], [0, 5, 0, 9], [9, 0, 3, 1]])
    ring = torch.multinomial(weights, 40, replacement=True, generator=generator)
    within = torch.rand(4, 40, generator=generator, dtype=torch.float64)
    order = places(within, ring, parts).argsort(dim=1)
    for row in range(4):
        assert order[row].tolist() == reference_list(within[row].tolist(), ring[row].tolist(), parts)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ring_places": []}, "ring_places: .* is not a list"),
        ({"ring_places": [3, -1]}, "ring_places: .* is not a list"),
        ({"edge_weight": "much"}, "edge_weight: 'much' is not a number"),
    ],
)
def test_what_can_not_be_a_graphs_key_is_said(build: Build, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build("TransitionGraph", **keys)


# --- all of them ---


@pytest.mark.parametrize("model", MODELS)
def test_it_is_evaluated_without_an_epoch_of_training(build_on_vectors: Build, model: str, tmp_path: Path) -> None:
    built = build_on_vectors(model, epochs=50)
    samples = choose_samples(built.config, built.model, built.loaders)
    assert samples.name == "none"
    trainer = build_trainer(built.config, built.model, tmp_path / "best.pth")
    _, validation = trainer.fit(samples.loader, built.loaders.valid, verbose=False)
    test = trainer.evaluate(built.loaders.test, load_best_model=True)
    assert len(trainer.curve) == 1 and trainer.curve[0]["train_loss"] == 0
    assert 0 <= validation["ndcg@10"] <= 1 and 0 <= test["ndcg@10"] <= 1


@pytest.mark.parametrize("model", MODELS)
def test_one_item_alone_has_the_score_that_it_has_among_all(build_on_vectors: Build, model: str) -> None:
    built = build_on_vectors(model)
    dataset = built.loaders.test._dataset
    samples = dataset[torch.arange(len(dataset))]
    scores = built.model.full_sort_predict(samples)
    assert scores.shape == (len(samples), 61) and scores.dtype == torch.float32
    assert torch.equal(built.model.predict(samples), scores[range(len(samples)), samples["item_id"]])


@pytest.mark.parametrize("model", MODELS)
def test_its_file_names_its_paper_or_says_that_there_is_none(model: str) -> None:
    text = inspect.getdoc(inspect.getmodule(model_class(model))) or ""
    assert ("arXiv" in text and "Left out" in text) or "here is no paper" in text
