"""The dataset of views reads, field by field, what RecBole's dataset of copies holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.dataset import SequentialDataset

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.training import load

Build = Callable[..., SimpleNamespace]


def splits(dataset: SequentialDataset) -> list[SequentialDataset]:
    return dataset.build()


@pytest.mark.parametrize("maximum", [3, 10, 50])
def test_every_split_reads_recboles_samples_in_recboles_order(build: Build, maximum: int) -> None:
    config = build("SASRec", MAX_ITEM_LIST_LENGTH=maximum).config
    loaders = load(config)
    stock = splits(SequentialDataset(config))
    for ours, theirs in zip((loaders.train, loaders.valid, loaders.test), stock, strict=True):
        found, expected = ours._dataset[np.arange(len(theirs))], theirs[np.arange(len(theirs))]
        assert set(found.columns) == set(expected.columns)
        for field in expected.columns:
            assert torch.equal(found[field], expected[field]), field


@pytest.mark.parametrize("mode", ["valid_and_test", "valid_only", "test_only"])
def test_every_way_of_leaving_out_gives_recboles_rows_in_recboles_order(
    build: Build, mode: str, tmp_path: Path
) -> None:
    """Users with one, two, three and more interactions, in mixed order of appearance."""
    rows = [
        ("c", 5),
        ("a", 1),
        ("b", 2),
        ("a", 3),
        ("d", 4),
        ("a", 6),
        ("b", 7),
        ("a", 8),
        ("e", 1),
        ("e", 2),
        ("e", 3),
    ]
    lines = [f"{user}\ti{number}\t{time}" for number, (user, time) in enumerate(rows)]
    (tmp_path / "tiny").mkdir()
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (tmp_path / "tiny" / "tiny.inter").write_text("\n".join([header, *lines]) + "\n")
    eval_args = {"split": {"LS": mode}, "order": "TO", "group_by": "user", "mode": "full"}
    config = build("SASRec").config
    config["data_path"], config["eval_args"] = str(tmp_path / "tiny"), eval_args
    for ours, theirs in zip(SequenceViewDataset(config).build(), SequentialDataset(config).build(), strict=True):
        for field in ("user_id", "item_id", "item_length"):
            assert ours.inter_feat[field].tolist() == theirs.inter_feat[field].tolist()


def test_one_sample_reads_like_one_of_recboles(build: Build) -> None:
    config = build("SASRec").config
    ours, theirs = SequenceViewDataset(config).build()[0], SequentialDataset(config).build()[0]
    for index in (torch.tensor([1]), np.array([0, 5]), slice(2, 4)):
        found, expected = ours[index], theirs[index]
        assert all(torch.equal(found[field], expected[field]) for field in expected.columns)


def test_trimming_cuts_padding_alone(build: Build) -> None:
    dataset = build("SASRec").loaders.train._dataset
    samples = np.arange(10)
    padded = dataset[samples]["item_id_list"]
    dataset.trim_padding = True
    trimmed = dataset[samples]["item_id_list"]
    width = int(dataset.inter_feat["item_length"][:10].max())
    assert trimmed.shape == (10, width) and torch.equal(padded[:, :width], trimmed)
    assert not padded[:, width:].any()


def test_the_interaction_matrix_of_each_split_is_recboles(build: Build) -> None:
    config = build("SASRec").config
    loaders = load(config)
    stock = splits(SequentialDataset(config))
    for ours, theirs in zip((loaders.train, loaders.valid, loaders.test), stock, strict=True):
        assert (ours._dataset.inter_matrix() != theirs.inter_matrix()).nnz == 0


def test_memory_is_linear_in_interactions_not_in_padded_samples(build: Build) -> None:
    dataset = build("SASRec").dataset
    held = [*dataset.history.interaction.values(), *dataset.inter_feat.interaction.values()]
    assert sum(tensor.numel() for tensor in held) <= 9 * len(dataset.history)


def test_a_model_that_reads_all_padded_lists_at_once_gets_recboles(build: Build) -> None:
    config = build("SASRec").config
    ours, theirs = load(config).train._dataset, splits(SequentialDataset(config))[0]
    for field in ("item_id_list", "timestamp_list"):
        assert torch.equal(ours.inter_feat[field], theirs.inter_feat[field])
    with pytest.raises(KeyError):
        ours.inter_feat["no_such_list"]
