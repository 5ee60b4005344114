"""Items and sequences of items as RECFORMER reads them: attributes flattened to key–value tokens.

An item is its attributes one after the other, each a key ("title") and a value, cut to a number of tokens; a sequence
is a leading ``<s>`` and its items, newest first. Every token carries a type (key or value) and the position of its
item. Items are tokenised once; a batch of sequences is put together from the tokens of its items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_ext.errors import EncoderError

START, KEY, VALUE, PADDING = range(4)
"""Token types, numbered as in the public RECFORMER checkpoints."""
N_TOKEN_TYPES = 4

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class ItemTokens:
    """The tokens of all items, flat; row 0 is RecBole's padding item and has none.

    Attributes:
        ids: tokens of all items one after the other, ``[tokens]``.
        types: ``KEY`` or ``VALUE`` of each, ``[tokens]``.
        starts_word: whether the token begins a word (for whole-word masks), ``[tokens]``.
        offset: where each row's tokens begin, ``[rows + 1]``.
        start_id, pad_id, mask_id: special tokens of the tokenizer; ``mask_id`` is ``None`` where it has no mask.
        max_items: items of a sequence that are read, the newest ones.
        max_tokens: tokens of a sequence that are read, ``<s>`` included.
    """

    ids: np.ndarray
    types: np.ndarray
    starts_word: np.ndarray
    offset: np.ndarray
    start_id: int
    pad_id: int
    mask_id: int | None
    max_items: int
    max_tokens: int

    @classmethod
    def of(
        cls,
        attributes: Sequence[Sequence[tuple[str, str]]],
        tokenizer: Any,
        attribute_tokens: int = 32,
        max_items: int = 50,
        max_tokens: int = 1024,
    ) -> ItemTokens:
        """Tokenise items once.

        Args:
            attributes: per item its ``(key, value)`` pairs in order, ``[items]``; see ``text.key_values``.
            tokenizer: a fast Hugging Face tokenizer.
            attribute_tokens: tokens kept of an attribute, its key's included.

        Raises:
            EncoderError: the tokenizer has no token to start a sequence with, or is not a fast one.
        """
        start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        if start is None:
            raise EncoderError(
                f"{type(tokenizer).__name__} has neither a cls nor a bos token to pool at: choose an encoder that has "
                "one, or the objective `pairs`."
            )
        if not tokenizer.is_fast:
            raise EncoderError(f"{type(tokenizer).__name__} is not a fast tokenizer: words can't be told from tokens.")
        texts = sorted({text for item in attributes for pair in item for text in pair})
        pieces = dict(zip(texts, _tokenise(texts, tokenizer), strict=True))
        ids: list[int] = []
        types: list[int] = []
        begins: list[bool] = []
        offset = [0, 0]
        for item in attributes:
            for key, value in item:
                key_ids, key_begins = pieces[key]
                value_ids, value_begins = pieces[value]
                ids += (key_ids + value_ids)[:attribute_tokens]
                types += ([KEY] * len(key_ids) + [VALUE] * len(value_ids))[:attribute_tokens]
                begins += (key_begins + value_begins)[:attribute_tokens]
            offset.append(len(ids))
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else start
        return cls(
            np.asarray(ids, dtype=np.int64),
            np.asarray(types, dtype=np.int64),
            np.asarray(begins, dtype=bool),
            np.asarray(offset),
            start,
            pad,
            tokenizer.mask_token_id,
            max_items,
            max_tokens,
        )

    @property
    def n_items(self) -> int:
        """Rows, the padding item not counted."""
        return len(self.offset) - 2

    def lengths(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Tokens of each sequence as :meth:`batch` lays it out, ``[sequences]``."""
        of_item = np.diff(self.offset)
        total = [1 + int(of_item[sequence[-self.max_items :]].sum()) for sequence in sequences]
        return np.minimum(total, self.max_tokens)

    def batch(self, sequences: Sequence[np.ndarray]) -> Batch:
        """A padded batch of item sequences, oldest item first as RecBole has them.

        Args:
            sequences: rows of this table, each ``[items of the sequence]``.

        Returns:
            ``input_ids``, ``token_type_ids``, ``item_position_ids``, ``attention_mask`` and ``word`` (the number of
            the word a token belongs to, -1 for ``<s>`` and padding), all ``[sequences, longest]``.
        """
        lengths = self.lengths(sequences)
        shape = (len(sequences), int(lengths.max()))
        token = np.full(shape, self.pad_id)
        kind = np.full(shape, PADDING)
        position = np.full(shape, self.max_items)
        word = np.full(shape, -1)
        token[:, 0], kind[:, 0], position[:, 0] = self.start_id, START, 0
        for row, sequence in enumerate(sequences):
            newest_first = np.asarray(sequence[-self.max_items :])[::-1]
            begin, end = self.offset[newest_first], self.offset[newest_first + 1]
            sizes = end - begin
            last = int(lengths[row])
            source = (np.arange(sizes.sum()) + np.repeat(begin - (sizes.cumsum() - sizes), sizes))[: last - 1]
            token[row, 1:last] = self.ids[source]
            kind[row, 1:last] = self.types[source]
            position[row, 1:last] = np.repeat(np.arange(1, len(sizes) + 1), sizes)[: last - 1]
            word[row, 1:last] = self.starts_word[source].cumsum() - 1
        inside = np.arange(shape[1]) < lengths[:, None]
        fields = {
            "input_ids": token,
            "token_type_ids": kind,
            "item_position_ids": position,
            "attention_mask": inside.astype(np.int64),
            "word": word,
        }
        return {name: torch.from_numpy(values) for name, values in fields.items()}


def _tokenise(texts: list[str], tokenizer: Any) -> list[tuple[list[int], list[bool]]]:
    if not texts:
        return []
    # A space before each text: byte-level tokenizers write a word's beginning into it.
    encoded = tokenizer([f" {text}" for text in texts], add_special_tokens=False)
    pieces = []
    for row, ids in enumerate(encoded["input_ids"]):
        words = encoded.word_ids(row)
        begins = [position == 0 or words[position] != words[position - 1] for position in range(len(ids))]
        pieces.append((list(ids), begins))
    return pieces
