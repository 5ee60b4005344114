"""BERT4Rec on masked rows: the same loss as RecBole's for the same masks, and masks drawn as the docstring says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext.training.masked import MaskedRowLoader, mask_ends_at_once, masked_loss
from recbole_ext.training.transformer import fuse_kernels

Build = Callable[..., SimpleNamespace]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}


def loader_of(built: SimpleNamespace) -> MaskedRowLoader:
    return MaskedRowLoader(built.config, built.loaders.train._dataset, built.loaders.train._sampler)


def epoch(loader: MaskedRowLoader) -> list[Interaction]:
    return [part for parts in loader for part in parts]


def as_recbole_pads_it(part: Interaction, negatives: torch.Tensor | None) -> Interaction:
    """The same masks in the form of RecBole's ``mask_itemseq``: a fixed number per row, padded with index 0."""
    row, position = part["target_row"], part["target_position"]
    n_rows, width = len(part["item_id_list"]), int(torch.bincount(row).max())
    fields = {
        name: torch.zeros(n_rows, width, dtype=torch.long) for name in ("MASK_INDEX", "Pos_item_id", "Neg_item_id")
    }
    used = [0] * n_rows
    for target, (r, p) in enumerate(zip(row.tolist(), position.tolist(), strict=True)):
        fields["MASK_INDEX"][r, used[r]] = p
        fields["Pos_item_id"][r, used[r]] = part["item_id"][target]
        if negatives is not None:
            fields["Neg_item_id"][r, used[r]] = negatives[target]
        used[r] += 1
    return Interaction({"Mask_item_id_list": part["item_id_list"], **fields})


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_loss_and_gradients_equal_recboles_for_the_same_masks(build: Build, loss_type: str) -> None:
    built = build("BERT4Rec", loss_type=loss_type, mask_ratio=0.4, **NO_DROPOUT)
    built.model.train()
    part = max(epoch(loader_of(built)), key=lambda part: len(part["item_id"]))
    # RecBole's loss leaves out a mask at position 0, which is its padding index.
    kept = part["target_position"] > 0
    of_targets = [name for name in part.columns if part[name].dim() == 1 and name != "target_slot"]
    part = Interaction({"item_id_list": part["item_id_list"], **{name: part[name][kept] for name in of_targets}})
    negatives = part["neg_item_id"] if loss_type == "BPR" else None
    expected = built.model.calculate_loss(as_recbole_pads_it(part, negatives))
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in built.model.named_parameters() if p.grad is not None}
    built.model.zero_grad()
    fuse_kernels(built.model)
    found = masked_loss(built.model, part)
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    largest = max(gradient.norm() for gradient in gradients.values())
    for name, p in built.model.named_parameters():
        if name in gradients:
            assert (p.grad - gradients[name]).norm() <= 1e-5 * largest, name


def test_masked_positions_hold_the_mask_and_the_target_is_what_stood_there(build: Build) -> None:
    built = build("BERT4Rec")
    loader = loader_of(built)
    dataset = built.loaders.train._dataset
    histories = {
        tuple(dataset.history["item_id"][begin : begin + length].tolist())
        for begin, length in zip(loader.begin, loader.length, strict=True)
    }
    prefixes = {history[:end] for history in histories for end in range(1, len(history) + 1)}
    for part in epoch(loader):
        rows = part["item_id_list"].clone()
        assert (rows[part["target_row"], part["target_position"]] == built.model.mask_token).all()
        rows[part["target_row"], part["target_position"]] = part["item_id"]
        for row in rows.tolist():
            assert tuple(item for item in row if item) in prefixes


def test_no_validation_or_test_item_of_a_user_is_ever_in_a_training_row(build: Build) -> None:
    built = build("BERT4Rec")
    loader, dataset = loader_of(built), built.loaders.train._dataset
    users = dataset.history["user_id"].numpy()
    ends = loader.begin + loader.length
    for end in ends:
        assert users[end] == users[end + 1] == users[end - 1], "two more items follow: validation and test"
        assert end + 2 == len(users) or users[end + 2] != users[end]


def test_every_row_masks_something_and_only_the_last_item_in_the_last_item_case(build: Build) -> None:
    built = build("BERT4Rec", ft_ratio=1.0)
    for part in epoch(loader_of(built)):
        length = (part["item_id_list"] != 0).sum(1)
        assert torch.equal(part["target_row"], torch.arange(len(length)))
        assert torch.equal(part["target_position"], length - 1)
    built = build("BERT4Rec", ft_ratio=0.0, mask_ratio=0.01)
    for part in epoch(loader_of(built)):
        assert torch.bincount(part["target_row"], minlength=len(part["item_id_list"])).min() >= 1


def test_random_masks_come_at_the_mask_ratio_and_anew_each_epoch(build: Build) -> None:
    built = build("BERT4Rec", ft_ratio=0.0, mask_ratio=0.3)
    loader = loader_of(built)
    counts = []
    for _ in range(20):
        parts = epoch(loader)
        masked = sum(len(part["item_id"]) for part in parts)
        counts.append(masked / sum(int((part["item_id_list"] != 0).sum()) for part in parts))
    assert np.mean(counts) == pytest.approx(0.3, abs=0.02) and len(set(counts)) > 1


def test_an_epoch_predicts_about_as_many_items_as_recboles_has_samples(build: Build) -> None:
    built = build("BERT4Rec")
    predicted = sum(len(part["item_id"]) for part in epoch(loader_of(built)))
    assert predicted == pytest.approx(len(built.loaders.train._dataset), rel=0.15)


def test_windows_of_long_histories_reach_every_item(build: Build) -> None:
    built = build("BERT4Rec", MAX_ITEM_LIST_LENGTH=5, ft_ratio=0.3)
    loader, dataset = loader_of(built), built.loaders.train._dataset
    longest = int(np.argmax(loader.length))
    wanted = set(
        dataset.history["item_id"][loader.begin[longest] : loader.begin[longest] + loader.length[longest]].tolist()
    )
    start, length, _ = loader._draw_windows(np.full(500, longest))
    assert length.max() == 5
    seen = {int(item) for s, n in zip(start, length, strict=True) for item in dataset.history["item_id"][s : s + n]}
    assert seen == wanted


def test_masks_are_put_behind_all_histories_where_recbole_puts_them_one_by_one(build: Build) -> None:
    model = build("BERT4Rec").model
    items, length = torch.tensor([[3, 4, 0], [5, 0, 0], [6, 7, 8]]), torch.tensor([2, 1, 3])
    expected = model.reconstruct_test_data(items, length)
    mask_ends_at_once(model)
    assert torch.equal(model.reconstruct_test_data(items, length), expected)
    assert (expected == model.mask_token).sum(dim=1).tolist() == [1, 1, 1]
