"""Key–value tokens: what an item and a sequence look like to the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.errors import EncoderError
from recbole_ext.recformer.item_tokens import KEY, PADDING, START, VALUE, ItemTokens

ITEMS = [
    [("title", "unbelievably red pencils"), ("brand", "Staedtler")],
    [("title", "glue")],
    [],
    [("title", "a very long title " * 20), ("brand", "x")],
]


@pytest.fixture(scope="module")
def tokens(tokenizer: Any) -> ItemTokens:
    return ItemTokens.of(ITEMS, tokenizer, attribute_tokens=8, max_items=3, max_tokens=30)


def words(tokens: ItemTokens, row: int, tokenizer: Any) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokens.ids[tokens.offset[row] : tokens.offset[row + 1]].tolist())


def test_an_item_is_its_attributes_as_key_and_value_tokens(tokens: ItemTokens, tokenizer: Any) -> None:
    assert words(tokens, 2, tokenizer) == ["title", "glue"]
    begin, end = tokens.offset[2], tokens.offset[3]
    assert tokens.types[begin:end].tolist() == [KEY, VALUE]
    assert words(tokens, 3, tokenizer) == []


def test_an_attribute_is_cut_and_the_next_one_kept(tokens: ItemTokens, tokenizer: Any) -> None:
    assert words(tokens, 4, tokenizer)[:2] == ["title", "a"]
    assert words(tokens, 4, tokenizer)[8:] == ["brand", "x"]


def test_a_sequence_is_its_newest_items_newest_first_after_a_start_token(tokens: ItemTokens, tokenizer: Any) -> None:
    batch = tokens.batch([np.array([4, 1, 2, 3, 2]), np.array([2])])
    ids = batch["input_ids"][0]
    expected = [
        tokenizer.cls_token_id,
        *tokens.ids[tokens.offset[2] : tokens.offset[3]],
        *tokens.ids[tokens.offset[2] : tokens.offset[3]],
    ]
    assert ids.tolist() == expected  # items 2, 3 (no text), 2: the maximum of three
    assert batch["item_position_ids"][0].tolist() == [0, 1, 1, 3, 3]
    assert batch["token_type_ids"][0].tolist() == [START, KEY, VALUE, KEY, VALUE]
    assert batch["attention_mask"][1].tolist() == [1, 1, 1, 0, 0]
    assert batch["token_type_ids"][1].tolist() == [START, KEY, VALUE, PADDING, PADDING]


def test_word_numbers_join_the_pieces_of_a_word(tokens: ItemTokens, tokenizer: Any) -> None:
    batch = tokens.batch([np.array([1])])
    pieces = tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    number = batch["word"][0].tolist()
    assert number[0] == -1
    for before, after, piece in zip(number, number[1:], pieces[1:], strict=False):
        assert after == before + (0 if piece.startswith("##") else 1)


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=9), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_lengths_foretell_what_a_batch_holds(tokens: ItemTokens, drawn: list[list[int]]) -> None:
    sequences = [np.array(sequence) for sequence in drawn]
    batch = tokens.batch(sequences)
    assert batch["attention_mask"].sum(1).tolist() == tokens.lengths(sequences).tolist()
    assert batch["input_ids"].shape[1] <= 30


def test_a_tokenizer_without_a_start_token_is_refused_with_a_way_out(tokenizer: Any) -> None:
    class Without:
        cls_token_id = bos_token_id = None
        is_fast = True

    with pytest.raises(EncoderError, match="pairs"):
        ItemTokens.of(ITEMS, Without())
