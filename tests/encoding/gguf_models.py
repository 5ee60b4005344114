"""A GGUF file small enough to be written anew in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = ["<unk>", "<s>", "</s>", "▁a", "▁b", "▁c"]


def write_tiny_llama(gguf: Any, folder: Path) -> Path:
    """Write ``tiny.gguf``, a random Llama, and the same as a folder for ``from_pretrained``; returns the folder.

    Heads have two dimensions, for which the order of rows that GGUF keeps query and key weights in is the usual one.
    """
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    torch.manual_seed(0)
    shape: dict[str, int] = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1}
    config = LlamaConfig(
        vocab_size=len(WORDS), num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=32, **shape
    )
    model = LlamaModel(config)
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_context_length(32)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(16)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(2)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    writer.add_token_types([2, 3, 3, 1, 1, 1])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    names = {
        "embed_tokens.weight": "token_embd.weight",
        "norm.weight": "output_norm.weight",
        "layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
        "layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
        **{f"layers.0.self_attn.{part}_proj.weight": f"blk.0.attn_{part}.weight" for part in "qkv"},
        "layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
        **{f"layers.0.mlp.{part}_proj.weight": f"blk.0.ffn_{part}.weight" for part in ("gate", "up", "down")},
    }
    for name, weight in model.state_dict().items():
        writer.add_tensor(names[name], weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.save_pretrained(folder / "whole")
    AutoTokenizer.from_pretrained(folder, gguf_file="tiny.gguf").save_pretrained(folder / "whole")
    return folder / "whole"
