"""Encoders and datasets small enough to be made anew in a second."""

from __future__ import annotations

import string
from pathlib import Path

import torch

ITEM_ROWS = [
    ("a", "red car", "acme"),
    ("b", "blue car with a roof", "acme"),
    ("c", "red car", "acme"),  # the text of a
    ("d", "", ""),  # no text
    ("e", 'the "great" lake & a very long story about it', "nobody"),
    ("f", '"unbalanced', ""),
    ("g", "x", "y"),
]


def write_items(data_path: Path, rows: list[tuple[str, str, str]] = ITEM_ROWS, name: str = "tiny") -> Path:
    folder = data_path / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["item_id:token\ttitle:token_seq\tbrand:token_seq", *("\t".join(row) for row in rows)]
    (folder / f"{name}.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data_path


def save_tiny_bert(folder: Path, seed: int = 0) -> Path:
    """A randomly initialised BERT (hidden size 32, 2 layers) with a tokenizer of single letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [prefix + letter for letter in string.ascii_lowercase + string.digits for prefix in ("", "##")]
    vocabulary = {token: number for number, token in enumerate(special + letters)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder
