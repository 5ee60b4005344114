"""The fast path's objective is RecBole's: loss and every gradient, on histories below and above the maximum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.training import choose_samples
from recbole_ext.training.objective import row_loss
from recbole_ext.training.rows import UserRowLoader, UserRows, batches_by_length, split_by_sum, target_fields
from recbole_ext.training.transformer import fuse_kernels

Build = Callable[..., SimpleNamespace]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}


def stock_loss_and_gradients(built: SimpleNamespace) -> tuple[float, dict[str, torch.Tensor]]:
    """Sum over all of RecBole's samples, padded to the maximum, through the model's own ``calculate_loss``."""
    dataset = built.loaders.train._dataset
    n = len(dataset)
    built.model.zero_grad()
    loss = built.model.calculate_loss(dataset[np.arange(n)]) * n
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in built.model.named_parameters() if p.grad is not None}


def row_loss_and_gradients(built: SimpleNamespace) -> tuple[float, dict[str, torch.Tensor]]:
    loader = UserRowLoader(built.config, built.loaders.train._dataset, built.loaders.train._sampler)
    built.model.zero_grad()
    total = 0.0
    for parts in loader:
        for part in parts:
            loss = row_loss(built.model, part) * len(part["target_row"])
            loss.backward()
            total += loss.item()
    return total, {name: p.grad.clone() for name, p in built.model.named_parameters() if p.grad is not None}


def assert_equal_objectives(built: SimpleNamespace) -> None:
    built.model.double().train()
    expected_loss, expected = stock_loss_and_gradients(built)
    fuse_kernels(built.model)
    loss, found = row_loss_and_gradients(built)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert found.keys() == expected.keys() and len(expected) > 3
    largest = max(gradient.norm() for gradient in expected.values())
    for name, gradient in expected.items():
        # The gradient of a key's bias is zero but for rounding: softmax does not see a shift of all scores.
        error = (found[name] - gradient).norm() / gradient.norm().clamp_min(1e-9 * largest)
        assert error < 1e-5, name


@pytest.mark.parametrize("maximum", [4, 12, 50], ids=["windows slide", "some slide", "none slides"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "ESASRec", "HSTU", "GSASRec"])
def test_loss_and_gradients_equal_recboles_over_the_same_samples(build: Build, model: str, maximum: int) -> None:
    assert_equal_objectives(build(model, MAX_ITEM_LIST_LENGTH=maximum, **NO_DROPOUT))


@pytest.mark.parametrize("dataset", ["Scientific", "Office"])
def test_loss_and_gradients_equal_recboles_on_real_sequences(build: Build, dataset: str, tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / dataset
    if not source.is_dir():
        pytest.skip(f"{dataset} is not at ../shared/data/{dataset}")
    from recbole_ext.convert import convert

    convert(source, "lcrec", dataset, tmp_path)
    # The longest histories and some short ones; a maximum of 20 makes the long ones slide.
    lines = (tmp_path / dataset / f"{dataset}.inter").read_text().splitlines()
    users = [line.split("\t", 1)[0] for line in lines[1:]]
    names, counts = np.unique(users, return_counts=True)
    kept = set(names[np.argsort(counts)][-6:]) | set(names[:20])
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    chosen = [line for line, user in zip(lines[1:], users, strict=True) if user in kept]
    (tiny / "tiny.inter").write_text("\n".join([lines[0], *chosen]) + "\n")
    built = build("SASRec", data_path=str(tmp_path), MAX_ITEM_LIST_LENGTH=20, **NO_DROPOUT)
    lengths = built.loaders.train._dataset.inter_feat["item_length"]
    assert (lengths == 20).sum() > 50 and (lengths < 20).sum() > 50
    assert_equal_objectives(built)


def test_bpr_with_sampled_negatives_equals_recboles_for_the_same_negatives(build: Build) -> None:
    sampling = {"distribution": "uniform", "sample_num": 1}
    built = build("SASRec", loss_type="BPR", train_neg_sample_args=sampling, **NO_DROPOUT)
    built.model.double().train()
    dataset = built.loaders.train._dataset
    loader = UserRowLoader(built.config, dataset, built.loaders.train._sampler)
    rows = loader.batch(np.arange(len(loader.rows)))
    assert (rows["neg_item_id"] != rows["item_id"]).all() and rows["neg_item_id"].min() > 0
    start = torch.from_numpy(loader.rows.start)[rows["target_row"]]
    length = rows["target_position"] + 1
    samples = {**dataset.padded_histories(start, length), "item_length": length}
    from recbole.data.interaction import Interaction

    prefixes = Interaction({**samples, "item_id": rows["item_id"], "neg_item_id": rows["neg_item_id"]})
    assert row_loss(built.model, rows).item() == pytest.approx(built.model.calculate_loss(prefixes).item(), rel=1e-6)


def test_every_training_target_is_predicted_exactly_once_per_epoch(build: Build) -> None:
    built = build("SASRec", MAX_ITEM_LIST_LENGTH=8, train_batch_size=32)
    dataset = built.loaders.train._dataset
    loader = UserRowLoader(built.config, dataset, None)
    for _ in range(2):
        found = torch.cat([part["item_id"] for parts in loader for part in parts])
        assert sorted(found.tolist()) == sorted(dataset.inter_feat["item_id"].tolist())


def test_batches_hold_about_train_batch_size_targets_and_differ_between_epochs(build: Build) -> None:
    built = build("SASRec", train_batch_size=64)
    loader = UserRowLoader(built.config, built.loaders.train._dataset, None)
    epochs = [[sum(len(p["item_id"]) for p in parts) for parts in loader] for _ in range(2)]
    assert len(loader) == len(epochs[0]) and all(20 <= size <= 110 for size in epochs[0])
    first = [next(iter(loader))[0]["item_id_list"].shape for _ in range(3)]
    assert len(set(first)) > 1


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(build: Build) -> None:
    def first_epoch(seed: int) -> list[list[int]]:
        built = build("SASRec", seed=seed, train_batch_size=64)
        loader = UserRowLoader(built.config, built.loaders.train._dataset, None)
        return [part["item_id"].tolist() for parts in loader for part in parts]

    assert first_epoch(1) == first_epoch(1) != first_epoch(2)


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_window_stride_keeps_every_target_and_bounds_its_context(build: Build, stride: int) -> None:
    built = build("SASRec", MAX_ITEM_LIST_LENGTH=8)
    dataset = built.loaders.train._dataset
    exact, rows = UserRows(dataset), UserRows(dataset, stride)
    assert sorted(rows.item_index) == sorted(exact.item_index)
    context = rows.position + 1
    begin = dataset.user_start[rows.item_index]
    full = np.minimum(rows.item_index - begin, 8)
    assert (context <= full).all() and (context >= np.minimum(full, 8 - stride + 1)).all()
    assert rows.length.max() <= 8
    if stride == 1:
        assert (context == full).all()
    else:
        assert len(rows) < len(exact)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=300),
    st.integers(1, 200),
    st.integers(0, 100),
)
@settings(max_examples=50, deadline=None)
def test_batches_by_length_hold_every_row_once(rows: list[tuple[int, int]], size: int, seed: int) -> None:
    lengths, targets = np.array(rows).T
    batches = batches_by_length(lengths, targets, size, np.random.default_rng(seed))
    found = np.concatenate([part for parts in batches for part in parts])
    assert sorted(found) == list(range(len(rows)))


@given(st.lists(st.integers(1, 40), max_size=200), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_split_by_sum_keeps_order_and_everything(sizes: list[int], limit: int) -> None:
    values = np.arange(len(sizes))
    parts = split_by_sum(values, np.array(sizes, dtype=int), limit)
    assert np.array_equal(np.concatenate([*parts, values[:0]]), values)
    for part in parts:
        assert sum(sizes[i] for i in part) <= 2 * limit + 40


EXPECTED_PATHS = {
    "SASRec": ("user", True),
    "GRU4Rec": ("user", True),
    "BERT4Rec": ("user", True),
    "ESASRec": ("user", True),
    "GSASRec": ("user", True),
    "HSTU": ("user", True),
    "NARM": ("prefix", True),
    "STAMP": ("augmented", False),
    "Caser": ("augmented", False),
    "LightSANs": ("augmented", False),
    "FEARec": ("augmented", False),
    "NextItNet": ("augmented", False),
}


@pytest.mark.parametrize("model", EXPECTED_PATHS)
def test_each_model_takes_the_fastest_path_that_is_exact_for_it(build: Build, model: str) -> None:
    built = build(model)
    samples = choose_samples(built.config, built.model, built.loaders)
    assert (samples.name, built.loaders.test._dataset.trim_padding) == EXPECTED_PATHS[model]


def test_a_model_whose_loss_reads_more_than_its_output_is_not_trained_on_rows(build: Build) -> None:
    built = build("SASRec")

    class WithAuxiliaryLoss(type(built.model)):  # type: ignore[misc]
        def calculate_loss(self, interaction: Any) -> torch.Tensor:
            return super().calculate_loss(interaction) + interaction[self.ITEM_SEQ].float().mean()

    built.model.__class__ = WithAuxiliaryLoss
    assert choose_samples(built.config, built.model, built.loaders).name == "augmented"


def test_a_bidirectional_model_is_not_trained_on_rows(build: Build) -> None:
    built = build("SASRec")
    built.model.get_attention_mask = lambda seq: type(built.model).get_attention_mask(built.model, seq, True)
    built.model.trm_encoder.__class__ = type("Other", (type(built.model.trm_encoder),), {})
    assert choose_samples(built.config, built.model, built.loaders).name == "prefix"


def test_asking_for_rows_where_they_are_wrong_is_an_error(build: Build) -> None:
    from recbole_ext.errors import ConfigurationError

    built = build("NARM", training_samples="user")
    with pytest.raises(ConfigurationError, match="training_samples.*NARM"):
        choose_samples(built.config, built.model, built.loaders)
    built = build("SASRec", training_samples="users")
    with pytest.raises(ConfigurationError, match="'users' is unknown"):
        choose_samples(built.config, built.model, built.loaders)


def test_few_targets_of_long_rows_say_which_positions_are_read() -> None:
    row, position = np.array([0, 0, 2]), np.array([3, 7, 5])
    fields = target_fields(row, position, n_rows=3, longest=8)
    read, slot = fields["read_positions"], fields["target_slot"]
    assert read.tolist() == [[3, 7], [0, 0], [5, 0]]
    assert torch.equal(read[fields["target_row"], slot], fields["target_position"])
    assert "read_positions" not in target_fields(row, position, n_rows=3, longest=3), "more than half of a row"
    assert "read_positions" not in target_fields(row[:0], position[:0], n_rows=3, longest=8)
