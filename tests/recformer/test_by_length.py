"""Parts of a batch hold every token once, and what is computed by parts is what is computed at once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.recformer.by_length import SIMILAR, parts_by_length
from recbole_ext.recformer.encoder import BehaviourEncoder, load_behaviour_encoder
from recbole_ext.recformer.item_tokens import ItemTokens

lengths_of_a_batch = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def batch_of(lengths: list[int]) -> dict[str, torch.Tensor]:
    inside = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    ids = torch.arange(inside.numel()).view(inside.shape) + 1
    return {"attention_mask": inside.long(), "input_ids": ids * inside}


@given(lengths=lengths_of_a_batch, least=st.integers(0, 100))
def test_every_row_is_in_one_part_with_all_its_tokens(lengths: list[int], least: int) -> None:
    batch = batch_of(lengths)
    rows, tokens = [], []
    for part_rows, part in parts_by_length(batch, least):
        rows += part_rows.tolist()
        tokens += part["input_ids"][part["attention_mask"].bool()].tolist()
        assert part["attention_mask"].sum(1).tolist() == [lengths[row] for row in part_rows]
        assert part["attention_mask"].shape[1] == max(lengths[row] for row in part_rows)
    assert sorted(rows) == list(range(len(lengths)))
    assert sorted(tokens) == sorted(batch["input_ids"][batch["attention_mask"].bool()].tolist())


@given(lengths=lengths_of_a_batch)
def test_without_a_least_size_no_sequence_is_padded_by_more_than_a_quarter(lengths: list[int]) -> None:
    for _, part in parts_by_length(batch_of(lengths), 0):
        assert int(part["attention_mask"].sum(1).min()) >= SIMILAR * part["attention_mask"].shape[1]


@given(lengths=lengths_of_a_batch, least=st.integers(1, 100))
def test_all_parts_but_the_last_have_the_least_size(lengths: list[int], least: int) -> None:
    sizes = [part["attention_mask"].numel() for _, part in parts_by_length(batch_of(lengths), least)]
    assert all(size >= least for size in sizes[:-1])


@pytest.mark.parametrize("name", ["bert", "modernbert", "longformer"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooled_by_parts_in_the_batchs_order(
    tiny_encoders: dict[str, Path], name: str, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, tokenizer, _ = load_behaviour_encoder(resolve_encoder(str(tiny_encoders[name])), pooling=pooling)
    attributes = [[("title", "one word or two " * (1 + 3 * (n % 5)))] for n in range(10)]
    batch = ItemTokens.of(attributes, tokenizer).batch([np.array([n]) for n in range(1, 11)])
    vectors = []
    for least in (1, sys.maxsize):
        monkeypatch.setattr(BehaviourEncoder, "tokens_per_pass", least)
        with torch.no_grad():
            vectors.append(encoder.eval().pool(batch))
    torch.testing.assert_close(*vectors, rtol=1e-4, atol=1e-4)
