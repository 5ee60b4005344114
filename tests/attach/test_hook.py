from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_ext.attach import MODES, attach_item_embedding, new_item_rows
from recbole_ext.errors import AttachError, ConfigurationError, StoreError
from recbole_ext.store import ItemEmbeddingStore

Build = Callable[..., SimpleNamespace]
WITH_ITEM_EMBEDDING = ["SASRec", "BERT4Rec", "GRU4Rec", "NARM", "LightSANs", "CORE", "FEARec", "STAMP", "BPR"]


def make_store(tokens: list[str], width: int = 16) -> ItemEmbeddingStore:
    """A store whose vector says which token it belongs to: token ``i7`` has vector ``7.0 + column / 100``."""
    values = torch.tensor([float(token[1:]) for token in tokens]).unsqueeze(1)
    return ItemEmbeddingStore(values + torch.arange(width) / 100, tokens, {"dim": width})


def shuffled_tokens() -> list[str]:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3)).tolist()
    return [f"i{item}" for item in order]


def expected_rows(dataset: Any, width: int = 16) -> torch.Tensor:
    return make_store(list(dataset.field2id_token["item_id"][1:]), width).embeddings


def attach(built: SimpleNamespace, store: Any, **keys: Any) -> Any:
    config = defaultdict(lambda: None, {"item_embedding": store, "seed": 42, **keys})
    return attach_item_embedding(built.model, built.loaders.train._dataset, config)


@pytest.mark.parametrize("model", WITH_ITEM_EMBEDDING)
def test_every_model_with_an_item_embedding_gets_each_item_its_own_vector(build: Build, model: str) -> None:
    settings = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}} if model == "BPR" else {}
    built = build(model, **settings)
    coverage = attach(built, make_store(shuffled_tokens()))
    expected = expected_rows(built.dataset)
    assert torch.equal(built.model.item_embedding.weight[1 : 1 + len(expected)], expected)
    assert coverage.covered == coverage.items == len(expected) and coverage.missing == 0


def test_a_store_shifted_by_one_row_gives_other_vectors(build: Build) -> None:
    """The alignment test proper: were rows taken by position, or the tokens off by one, this would pass unseen."""
    built = build("SASRec")
    tokens = shuffled_tokens()
    right = make_store(tokens)
    shifted = ItemEmbeddingStore(right.embeddings.roll(1, dims=0), tokens)
    attach(built, shifted)
    rows = built.model.item_embedding.weight[1:61]
    assert not (rows == expected_rows(built.dataset)).any()
    by_token = dict(zip(tokens, shifted.embeddings, strict=True))
    for token, row in zip(built.dataset.field2id_token["item_id"][1:], rows, strict=True):
        assert torch.equal(row, by_token[token])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_padding_and_mask_rows_are_left_alone_in_every_mode(build: Build, model: str, mode: str) -> None:
    built = build(model)
    before = built.model.item_embedding.weight.detach().clone()
    attach(built, make_store(shuffled_tokens()), item_embedding_mode=mode)
    after = built.model.item_embedding.weight
    assert after.shape == before.shape
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[61:], before[61:]) and len(after[61:]) == (1 if model == "BERT4Rec" else 0)


def train_a_step(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    before = model.item_embedding.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    target = torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    (model.item_embedding.weight * target).sum().backward()
    optimizer.step()
    return before, model.item_embedding.weight.detach()


@pytest.mark.parametrize("mode", MODES)
def test_what_a_training_step_changes_is_what_the_mode_says(build: Build, mode: str) -> None:
    built = build("BERT4Rec")
    attach(built, make_store(shuffled_tokens()), item_embedding_mode=mode)
    built.model.eval()  # nothing is drawn
    before, after = train_a_step(built.model)
    changed = (before != after).any(dim=1)
    assert changed[0] and changed[61], "padding and mask rows stay trainable"
    assert changed[1:61].all() if mode != "frozen" else not changed[1:61].any()


def differences(built: SimpleNamespace) -> torch.Tensor:
    """How far each item has gone from its vector, ``[items]``."""
    return (built.model.item_embedding.weight[1:61] - expected_rows(built.dataset)).norm(dim=1)


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("bound", [None, 0.0, 0.01, 2.0])
def test_bounded_rows_never_go_further_than_the_bound(build: Build, bound: float | None, optimiser: Any) -> None:
    built = build("SASRec")
    attach(built, make_store(shuffled_tokens()), item_embedding_mode="bounded", item_embedding_bound=bound)
    assert torch.equal(built.model.item_embedding.weight[1:61], expected_rows(built.dataset))
    radius = (0.5 if bound is None else bound) * expected_rows(built.dataset).norm(dim=1).mean()
    steps = optimiser(built.model.parameters(), lr=3.0)
    target = torch.randn(61, 16, generator=torch.Generator().manual_seed(1))
    reached = []
    for _ in range(30):
        steps.zero_grad()
        (built.model.item_embedding.weight * target).sum().backward()
        steps.step()
        reached.append(differences(built))
        assert (reached[-1] <= radius * (1 + 1e-4) + 1e-6).all()
    assert reached[-1].max() == 0 if bound == 0 else reached[-1].min() > 0.9 * min(float(radius), 20)


def test_bounded_at_zero_is_frozen(build: Build) -> None:
    trained = []
    for keys in ({"item_embedding_mode": "frozen"}, {"item_embedding_mode": "bounded", "item_embedding_bound": 0}):
        built = build("SASRec")
        attach(built, make_store(shuffled_tokens()), **keys)
        torch.manual_seed(0)
        optimiser, dataset = torch.optim.Adam(built.model.parameters(), lr=0.01), built.loaders.train._dataset
        for _ in range(5):
            optimiser.zero_grad()
            built.model.calculate_loss(dataset[torch.arange(200)]).backward()
            optimiser.step()
        trained.append(built.model.eval().full_sort_predict(dataset[torch.arange(50)]))
    assert torch.equal(*trained)


def test_inside_its_bound_a_difference_takes_the_steps_that_the_vectors_themselves_would(build: Build) -> None:
    rows = []
    for keys in ({}, {"item_embedding_mode": "bounded", "item_embedding_bound": 1e6}):
        built = build("SASRec", hidden_dropout_prob=0, attn_dropout_prob=0)
        attach(built, make_store(shuffled_tokens()), **keys)
        built.model.double()
        optimiser, dataset = torch.optim.Adam(built.model.parameters(), lr=0.01), built.loaders.train._dataset
        for _ in range(5):
            optimiser.zero_grad()
            built.model.calculate_loss(dataset[torch.arange(200)]).backward()
            optimiser.step()
        rows.append(built.model.item_embedding.weight.detach())
    assert torch.allclose(*rows, atol=1e-12)


def without_interactions(built: SimpleNamespace, items: list[int]) -> None:
    """Let the training split have no interaction of these internal item ids."""
    dataset = built.loaders.train._dataset
    matrix = dataset.inter_matrix(form="csr").tolil()
    matrix[:, items] = 0
    dataset.inter_matrix = lambda form: matrix.asformat(form)


def test_bounded_keeps_the_vector_of_an_item_that_training_never_sees(build: Build) -> None:
    built = build("SASRec")
    without_interactions(built, [3, 17])
    attach(built, make_store(shuffled_tokens()), item_embedding_mode="bounded")
    train_a_step(built.model)
    assert (differences(built) == 0).nonzero().flatten().tolist() == [2, 16]


def test_dual_has_the_models_own_rows_for_trained_items_and_mapped_vectors_for_the_others(build: Build) -> None:
    built = build("SASRec")
    own = built.model.item_embedding.weight.detach().clone()
    without_interactions(built, [3, 17])
    attach(built, make_store(shuffled_tokens(), width=24), item_embedding_mode="dual")
    function = built.model.item_embedding.parametrizations.weight[0]
    mapped = expected_rows(built.dataset, 24) @ function.project.weight.T + function.project.bias
    rows = built.model.eval().item_embedding.weight
    assert torch.allclose(rows[[3, 17]], mapped[[2, 16]], atol=1e-5)
    others = [item for item in range(61) if item not in (3, 17)]
    assert torch.equal(rows[others], own[others])


@pytest.mark.parametrize(("probability", "share"), [(None, 0.5), (0.2, 0.2), (0.0, 0.0), (1.0, 1.0)])
def test_in_training_dual_takes_the_map_as_often_as_asked_and_never_for_an_unseen_item(
    build: Build, probability: float | None, share: float
) -> None:
    built = build("SASRec")
    own = built.model.item_embedding.weight.detach().clone()
    without_interactions(built, [3, 17])
    keys = {"item_embedding_mode": "dual", "item_embedding_dense_probability": probability}
    attach(built, make_store(shuffled_tokens(), width=24), **keys)
    built.model.train()
    mapped = torch.stack([(built.model.item_embedding.weight != own).any(dim=1) for _ in range(200)])
    assert not mapped[:, [0, 3, 17]].any()
    seen = [item for item in range(1, 61) if item not in (3, 17)]
    assert mapped[:, seen].float().mean().item() == pytest.approx(share, abs=0.02)


def test_both_ways_of_dual_learn(build: Build) -> None:
    built = build("SASRec")
    attach(built, make_store(shuffled_tokens(), width=24), item_embedding_mode="dual")
    built.model.train()
    dataset = built.loaders.train._dataset
    built.model.calculate_loss(dataset[torch.arange(200)]).backward()
    weight = built.model.item_embedding.parametrizations.weight
    assert weight.original.grad.abs().max() > 0 and weight[0].project.weight.grad.abs().max() > 0


@pytest.mark.parametrize("mode", MODES)
def test_an_item_that_the_dataset_lacks_is_what_its_mode_makes_of_its_vector(build: Build, mode: str) -> None:
    built = build("SASRec")
    attach(built, make_store(shuffled_tokens()), item_embedding_mode=mode)
    new = torch.randn(4, 16)
    if mode in ("adapter", "dual"):
        project = built.model.item_embedding.parametrizations.weight[0].project
        assert torch.allclose(new_item_rows(built.model, new), new @ project.weight.T + project.bias, atol=1e-6)
    else:
        assert torch.equal(new_item_rows(built.model, new), new)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"item_embedding_mode": "bounded", "item_embedding_bound": -1}, "item_embedding_bound: -1 is not a number"),
        ({"item_embedding_mode": "bounded", "item_embedding_bound": "much"}, "item_embedding_bound: 'much'"),
        (
            {"item_embedding_mode": "dual", "item_embedding_dense_probability": 1.5},
            "item_embedding_dense_probability: 1.5 is not a number from 0 to 1",
        ),
    ],
)
def test_a_bound_or_probability_that_can_not_be_is_said(build: Build, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        attach(build("SASRec"), make_store(shuffled_tokens()), **keys)


def test_adapter_is_one_linear_map_shared_by_all_items_and_bridges_widths(build: Build) -> None:
    built = build("SASRec")
    attach(built, make_store(shuffled_tokens(), width=24), item_embedding_mode="adapter")
    project = built.model.item_embedding.parametrizations.weight[0].project
    expected = expected_rows(built.dataset, 24) @ project.weight.T + project.bias
    assert torch.allclose(built.model.item_embedding.weight[1:61], expected)
    item_parameters = sum(p.numel() for p in built.model.item_embedding.parameters())
    assert item_parameters == 24 * 16 + 16 + 16, "the map and the padding row, nothing per item"


def test_a_lookup_and_the_whole_matrix_agree_in_every_mode(build: Build) -> None:
    for mode in MODES:
        built = build("GRU4Rec")
        attach(built, make_store(shuffled_tokens()), item_embedding_mode=mode)
        built.model.eval()
        items = torch.tensor([[1, 5], [60, 0]])
        assert torch.equal(built.model.item_embedding(items), built.model.item_embedding.weight[items])


def test_transforms_are_applied_before_the_model_gets_the_vectors(build: Build) -> None:
    built = build("SASRec")
    wide = ItemEmbeddingStore(torch.randn(60, 40), shuffled_tokens())
    attach(built, wide, item_embedding_transform=["center", {"pca": 16}, {"scale": 0.02}])
    rows = built.model.item_embedding.weight[1:61]
    assert rows.std(correction=0).item() == pytest.approx(0.02, rel=1e-4)


@pytest.mark.parametrize("with_store", [True, False])
def test_a_scale_of_zero_is_refused(build: Build, with_store: bool) -> None:
    store = make_store(shuffled_tokens()) if with_store else None
    with pytest.raises(ConfigurationError, match="item_embedding_scale needs a number above 0"):
        attach(build("SASRec"), store, item_embedding_scale=0)


def test_vectors_that_are_one_number_have_no_scale_to_change(build: Build) -> None:
    store = ItemEmbeddingStore(torch.ones(60, 16), shuffled_tokens())
    with pytest.raises(ConfigurationError, match="the vectors are all the same number"):
        attach(build("SASRec"), store, item_embedding_transform=[{"scale": 0.02}])
    with pytest.raises(ConfigurationError, match="item_embedding_scale: the vectors are all the same number"):
        attach(build("SASRec"), store, item_embedding_transform=["center"], item_embedding_scale=0.02)


def test_a_model_without_item_vectors_has_none_to_scale(build: Build) -> None:
    with pytest.raises(AttachError, match="item_embedding_scale: LastItem keeps its items in no table"):
        attach(build("LastItem"), None, item_embedding_scale=0.1)


def test_without_the_key_nothing_is_touched_and_no_random_number_drawn(build: Build) -> None:
    built = build("SASRec")
    before, state = built.model.item_embedding.weight.detach().clone(), torch.get_rng_state()
    assert attach(built, None) is None
    assert torch.equal(built.model.item_embedding.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


def without_three(tokens: list[str]) -> list[str]:
    return [token for token in tokens if token not in ("i5", "i17", "i42")]


def missing_rows(built: SimpleNamespace) -> torch.Tensor:
    ids = [built.dataset.field2token_id["item_id"][token] for token in ("i5", "i17", "i42")]
    return built.model.item_embedding.weight[ids].detach()


def test_missing_items_are_an_error_by_default_that_names_them(build: Build) -> None:
    with pytest.raises(AttachError, match=r"3 of 60 items.*(i5|i17|i42).*item_embedding_missing"):
        attach(build("SASRec"), make_store(without_three(shuffled_tokens())))


def test_missing_items_get_the_mean_of_the_covered_ones_under_mean(build: Build) -> None:
    built = build("SASRec")
    store = make_store(without_three(shuffled_tokens()))
    coverage = attach(built, store, item_embedding_missing="mean")
    assert (coverage.covered, coverage.missing) == (57, 3)
    assert torch.allclose(missing_rows(built), store.embeddings.mean(0).expand(3, -1))


def test_missing_items_are_drawn_like_the_covered_ones_under_random(build: Build) -> None:
    drawn = []
    for seed in (1, 1, 2):
        built = build("SASRec")
        attach(built, make_store(without_three(shuffled_tokens())), item_embedding_missing="random", seed=seed)
        drawn.append(missing_rows(built))
        covered = [i for i in range(1, 61) if built.dataset.field2id_token["item_id"][i] not in ("i5", "i17", "i42")]
        expected = expected_rows(built.dataset)[[i - 1 for i in covered]]
        assert torch.equal(built.model.item_embedding.weight[covered], expected), "covered rows keep their vector"
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert len(drawn[0].unique(dim=0)) == 3


def test_a_store_of_another_dataset_is_an_error_under_every_policy(build: Build) -> None:
    foreign = ItemEmbeddingStore(torch.randn(5, 16), [f"x{i}" for i in range(5)])
    for policy in ("error", "mean", "random"):
        with pytest.raises(AttachError, match="another dataset"):
            attach(build("SASRec"), foreign, item_embedding_missing=policy)


def test_a_width_mismatch_says_how_to_bridge_it(build: Build) -> None:
    with pytest.raises(AttachError, match=r"24 wide.*16.*pca: 16.*adapter"):
        attach(build("SASRec"), make_store(shuffled_tokens(), width=24))


def test_a_model_without_item_embedding_is_named_in_the_error(build: Build) -> None:
    built = build("Pop", train_neg_sample_args={"distribution": "uniform", "sample_num": 1})
    with pytest.raises(AttachError, match="Pop"):
        attach(built, make_store(shuffled_tokens()))


def test_a_class_that_reads_the_store_itself_gets_it_no_second_time(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build("SASRec")
    monkeypatch.setattr(type(built.model), "needs_item_vectors", True, raising=False)
    before = built.model.item_embedding.weight.detach().clone()
    coverage = attach(built, make_store(shuffled_tokens()[:50]), item_embedding_missing="mean")
    assert torch.equal(built.model.item_embedding.weight, before)
    assert (coverage.covered, coverage.missing) == (50, 10)


def test_a_second_store_on_the_same_model_is_refused(build: Build) -> None:
    built = build("SASRec")
    attach(built, make_store(shuffled_tokens()), item_embedding_mode="bounded")
    with pytest.raises(AttachError, match="fresh model"):
        attach(built, make_store(shuffled_tokens()))


@pytest.mark.parametrize("key", ["item_embedding_mode", "item_embedding_missing"])
def test_an_unknown_choice_names_the_key_and_the_choices(build: Build, key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{key}: 'thawed'"):
        attach(build("SASRec"), make_store(shuffled_tokens()), **{key: "thawed"})


def test_a_store_is_read_from_the_path_in_the_config(build: Build, tmp_path: Path) -> None:
    make_store(shuffled_tokens()).save(tmp_path / "store")
    built = build("SASRec")
    attach(built, str(tmp_path / "store"))
    assert torch.equal(built.model.item_embedding.weight[1:61], expected_rows(built.dataset))
    with pytest.raises(StoreError):
        attach(build("SASRec"), str(tmp_path / "nowhere"))


def test_the_attached_model_survives_a_checkpoint(build: Build, tmp_path: Path) -> None:
    for mode in MODES:
        first = build("SASRec")
        attach(first, make_store(shuffled_tokens()), item_embedding_mode=mode)
        torch.save(first.model.state_dict(), tmp_path / "model.pth")
        second = build("SASRec")
        attach(second, make_store(shuffled_tokens()[::-1]), item_embedding_mode=mode)
        second.model.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
        first.model.eval(), second.model.eval()
        assert torch.equal(first.model.item_embedding.weight, second.model.item_embedding.weight)


PEAK = """
import sys
from types import SimpleNamespace
import numpy as np
from recbole_ext.attach import item_vectors
from recbole_ext.machine import peak_memory_mb

def attached(store, items):
    tokens = np.array(["[PAD]", *(f"i{item}" for item in range(items))])
    dataset = SimpleNamespace(iid_field="item_id", field2id_token={"item_id": tokens})
    keys = {"item_embedding_missing": "mean", "item_embedding_transform": sys.argv[3:], "seed": 1}
    return item_vectors(dataset, {"item_embedding": store, **keys})

attached(sys.argv[1], 2)
before = peak_memory_mb()
vectors, coverage = attached(sys.argv[2], 100_002)
print(peak_memory_mb() - before, vectors.numel() * 4 / 2**20, coverage.missing)
"""


@pytest.mark.parametrize("steps", [[], ["center", "l2"]])
def test_at_its_peak_attaching_holds_the_store_and_the_vectors_that_come_of_it(
    tmp_path: Path, steps: list[str]
) -> None:
    tokens = [f"i{item}" for item in range(100_000)]
    ItemEmbeddingStore(torch.rand(100_000, 512), tokens).save(tmp_path / "large")
    ItemEmbeddingStore(torch.rand(2, 512), tokens[:2]).save(tmp_path / "small")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large"), *steps]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, size, missing = map(float, done.stdout.split())
    assert missing == 2 and size > 190
    assert peak < 3.5 * size, "twice, and pieces and tokens on the way"


def test_what_training_changes_is_not_the_store_that_was_given(build: Build) -> None:
    for mode in MODES:
        built = build("SASRec")
        store = make_store(list(built.dataset.field2id_token["item_id"][1:]))
        before = store.embeddings.clone()
        attach(built, store, item_embedding_mode=mode)
        with torch.no_grad():
            for tensor in [*built.model.item_embedding.parameters(), *built.model.item_embedding.buffers()]:
                tensor.copy_(tensor + 1 if tensor.is_floating_point() else ~tensor)
        assert torch.equal(store.embeddings, before)
