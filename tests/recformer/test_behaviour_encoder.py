"""The behaviour encoder: names, embeddings, saving, checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import EncoderError
from recbole_ext.recformer.encoder import BehaviourEncoder, load_behaviour_encoder
from recbole_ext.recformer.item_tokens import ItemTokens

ATTRIBUTES = [[("title", f"thing number {n} " * (1 + n % 4)), ("brand", "acme")] for n in range(12)]
SEQUENCES = [np.array([1, 2, 3, 4, 5]), np.array([6]), np.array([7, 8, 9])]


def load(path: Path) -> tuple[BehaviourEncoder, Any]:
    encoder, tokenizer, _ = load_behaviour_encoder(resolve_encoder(str(path)))
    return encoder.eval(), tokenizer


def randomise_added(encoder: BehaviourEncoder) -> None:
    """Untuned, the added embeddings are zeros; give them values, so that their use shows."""
    embeddings = encoder._embeddings
    torch.manual_seed(1)
    with torch.no_grad():
        embeddings.item_position_embeddings.weight.normal_()
        embeddings.token_type_embeddings.weight.normal_()


@pytest.fixture
def longformer(tiny_encoders: dict[str, Path]) -> tuple[BehaviourEncoder, Any]:
    encoder, tokenizer = load(tiny_encoders["longformer"])
    randomise_added(encoder)
    return encoder, tokenizer


def test_a_longformers_parameters_have_the_names_of_the_public_checkpoints(longformer: Any) -> None:
    names = set(longformer[0].state_dict())
    assert {
        "longformer.embeddings.word_embeddings.weight",
        "longformer.embeddings.position_embeddings.weight",
        "longformer.embeddings.token_type_embeddings.weight",
        "longformer.embeddings.item_position_embeddings.weight",
        "longformer.embeddings.LayerNorm.weight",
        "longformer.encoder.layer.0.attention.self.query_global.weight",
        "longformer.encoder.layer.1.output.dense.bias",
    } <= names
    assert longformer[0].state_dict()["longformer.embeddings.token_type_embeddings.weight"].shape == (4, 32)
    assert longformer[0].state_dict()["longformer.embeddings.item_position_embeddings.weight"].shape == (51, 32)


def by_hugging_face(encoder: BehaviourEncoder, batch: dict[str, torch.Tensor], window: int) -> torch.Tensor:
    """The same weights through Hugging Face's own windowed Longformer; embeddings summed here, independently."""
    from transformers import LongformerModel

    config = encoder.base.config.__class__.from_dict(encoder.base.config.to_dict())
    config.attention_window = [window] * config.num_hidden_layers
    reference = LongformerModel(config, add_pooling_layer=False).eval()
    state = {k.removeprefix("longformer."): v for k, v in encoder.state_dict().items() if "item_position" not in k}
    reference.load_state_dict(state)
    table = encoder.state_dict()
    inputs = (
        table["longformer.embeddings.word_embeddings.weight"][batch["input_ids"]]
        + table["longformer.embeddings.item_position_embeddings.weight"][batch["item_position_ids"]]
    )
    only_first = torch.zeros_like(batch["attention_mask"])
    only_first[:, 0] = 1
    return reference(
        inputs_embeds=inputs,
        attention_mask=batch["attention_mask"],
        token_type_ids=batch["token_type_ids"],
        global_attention_mask=only_first,
    ).last_hidden_state


@pytest.mark.parametrize("window", [8, 256])  # narrower and wider than the sequences
def test_a_longformer_reads_sequences_as_hugging_faces_does_its_embeddings_summed(longformer: Any, window: int) -> None:
    encoder, tokenizer = longformer
    for layer in encoder.base.encoder.layer:
        layer.attention.self.one_sided_attn_window_size = window // 2
    batch = ItemTokens.of(ATTRIBUTES, tokenizer).batch(SEQUENCES)
    inside = batch["attention_mask"].bool()
    assert (inside.sum(1) > 8).any()
    with torch.no_grad():
        found, expected = encoder(batch), by_hugging_face(encoder, batch, window)
    assert found.shape == (3, batch["input_ids"].shape[1], 32)
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)


def windows(encoder: BehaviourEncoder) -> list[int]:
    """What each layer's tokens see around them."""
    return [2 * layer.attention.self.one_sided_attn_window_size for layer in encoder.base.encoder.layer]


@pytest.mark.parametrize(
    ("own", "wanted", "found"),
    [(512, None, [64, 64]), ([8, 512], None, [8, 64]), (512, 16, [16, 16]), (8, 16, [16, 16])],
)
def test_a_longformer_has_recformers_window_a_narrower_one_of_its_own_or_the_one_that_is_wanted(
    own: int | list[int], wanted: int | None, found: list[int], tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_encoders["longformer"], tmp_path / "longformer"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attention_window": own}))
    encoder, tokenizer, _ = load_behaviour_encoder(resolve_encoder(str(folder)), attention_window=wanted)
    assert windows(encoder) == found
    # A tuned one keeps what it was tuned with, whatever that is.
    encoder.base.config.attention_window = [128, 256]
    encoder.save(tmp_path / "saved", tokenizer, {"attribute_tokens": 8, "max_tokens": 64})
    assert windows(load(tmp_path / "saved")[0]) == [128, 256]


def test_a_window_is_refused_where_no_token_sees_one(tiny_encoders: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match=r"attention_window: .* is a bert, and only a Longformer's"):
        load_behaviour_encoder(resolve_encoder(str(tiny_encoders["bert"])), attention_window=64)


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "longformer"])
def test_item_position_and_token_type_change_the_output(tiny_encoders: dict[str, Path], name: str) -> None:
    encoder, tokenizer = load(tiny_encoders[name])
    randomise_added(encoder)
    batch = ItemTokens.of(ATTRIBUTES, tokenizer).batch(SEQUENCES)
    with torch.no_grad():
        plain = encoder.pool(batch)
        moved = encoder.pool({**batch, "item_position_ids": batch["item_position_ids"].flip(1)})
        retyped = encoder.pool({**batch, "token_type_ids": batch["token_type_ids"].clamp(max=1)})
    assert (plain - moved).abs().max() > 1e-3
    assert (plain - retyped).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["bert", "roberta", "longformer"])
def test_before_tuning_the_encoder_reads_as_the_plm_always_did(tiny_encoders: dict[str, Path], name: str) -> None:
    from transformers import AutoModel

    encoder, tokenizer = load(tiny_encoders[name])
    plm = AutoModel.from_pretrained(tiny_encoders[name]).eval()
    batch = ItemTokens.of(ATTRIBUTES, tokenizer).batch(SEQUENCES[1:2])
    extra = {"global_attention_mask": (batch["word"] < 0).long()} if name == "longformer" else {}
    with torch.no_grad():
        expected = plm(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **extra).last_hidden_state
        torch.testing.assert_close(encoder(batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "modernbert", "longformer"])
def test_a_saved_encoder_loads_as_it_was_and_by_from_pretrained(
    tiny_encoders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    from transformers import AutoModel

    encoder, tokenizer = load(tiny_encoders[name])
    randomise_added(encoder)
    encoder.save(tmp_path / "saved", tokenizer, {"attribute_tokens": 8, "max_tokens": 64})
    again, _, reading = load_behaviour_encoder(resolve_encoder(str(tmp_path / "saved")))
    assert reading["attribute_tokens"] == 8 and reading["pooling"] == "cls"
    for key, value in encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, msg=key)
    assert AutoModel.from_pretrained(tmp_path / "saved").config.hidden_size == 32


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_a_public_checkpoint_loads_without_conversion(
    longformer: Any, tiny_encoders: Any, tmp_path: Path, suffix: str
) -> None:
    encoder, tokenizer = longformer
    state = {**encoder.state_dict(), "item_embedding.weight": torch.zeros(3, 32)}
    state["longformer.embeddings.position_ids"] = torch.arange(300).unsqueeze(0)
    path = tmp_path / f"seqrec_pretrain_ckpt{suffix}"
    if suffix == ".bin":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    fresh, _ = load(tiny_encoders["longformer"])
    fresh.load_checkpoint(path)
    batch = ItemTokens.of(ATTRIBUTES, tokenizer).batch(SEQUENCES)
    with torch.no_grad():
        torch.testing.assert_close(fresh.pool(batch), encoder.pool(batch))


def test_a_checkpoint_of_another_architecture_is_refused_by_its_keys(
    longformer: Any, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "other.bin"
    torch.save(load(tiny_encoders["bert"])[0].state_dict(), path)
    with pytest.raises(EncoderError, match="Missing: longformer.embeddings.word_embeddings.weight"):
        longformer[0].load_checkpoint(path)
    narrower = {name: value[..., :16] for name, value in longformer[0].state_dict().items()}
    torch.save(narrower, path)
    with pytest.raises(EncoderError, match=r"Other shape: longformer\.embeddings\.word_embeddings\.weight .*16"):
        longformer[0].load_checkpoint(path)
    path.write_bytes(b"not a tensor in sight")
    with pytest.raises(EncoderError, match="not a state dict"):
        longformer[0].load_checkpoint(path)


def test_many_sequences_are_encoded_as_one_by_one(tiny_encoders: dict[str, Path]) -> None:
    encoder, tokenizer = load(tiny_encoders["bert"])
    tokens = ItemTokens.of(ATTRIBUTES, tokenizer)
    together = encoder.encode_sequences(tokens, SEQUENCES, batch_tokens=40)
    with torch.no_grad():
        for row, sequence in enumerate(SEQUENCES):
            torch.testing.assert_close(together[row], encoder.pool(tokens.batch([sequence]))[0], rtol=1e-4, atol=1e-5)
    matrix = encoder.encode_items(tokens)
    assert matrix.shape == (13, 32) and not matrix[0].any()


def test_pooling_comes_from_the_published_model_unless_said(tiny_encoders: dict[str, Path]) -> None:
    assert load_behaviour_encoder(resolve_encoder("minilm"))[0].pooling == "mean"
    assert load(tiny_encoders["bert"])[0].pooling == "cls"


def test_a_tuned_encoder_of_the_hub_loads_with_its_reading_its_added_embeddings_and_its_pooling(
    tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    """In a process of its own: the libraries look for their cache when they are imported."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshots = {name: tmp_path / "hub" / f"models--org--{name}" / "snapshots" / commit for name in ("tuned", "mean")}
    encoder, tokenizer = load(tiny_encoders["bert"])
    randomise_added(encoder)
    encoder.save(snapshots["tuned"], tokenizer, {"attribute_tokens": 8, "max_tokens": 64})
    shutil.copytree(tiny_encoders["bert"], snapshots["mean"])
    (snapshots["mean"] / "1_Pooling").mkdir()
    (snapshots["mean"] / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    script = (
        "from recbole_ext.encoders.source import resolve_encoder\n"
        "from recbole_ext.recformer.encoder import load_behaviour_encoder\n"
        "encoder, _, reading = load_behaviour_encoder(resolve_encoder('org/tuned'))\n"
        "print(reading['attribute_tokens'], *(round(float(table.sum()), 3) for table in encoder.added_embeddings))\n"
        "print(load_behaviour_encoder(resolve_encoder('org/mean'))[0].pooling)"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    expected = [8, *(round(float(table.sum()), 3) for table in encoder.added_embeddings)]
    assert done.stdout.split() == [*map(str, expected), "mean"], done.stderr


def test_a_tuned_encoder_without_the_table_of_item_positions_is_refused(
    tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    encoder, tokenizer = load(tiny_encoders["bert"])
    encoder.save(tmp_path / "saved", tokenizer, {"attribute_tokens": 8, "max_tokens": 64})
    weights = tmp_path / "saved" / "model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if "item_position" not in k}, weights, {"format": "pt"})
    with pytest.raises(EncoderError, match=r"saved: item_position_embeddings\.weight stands in none"):
        load_behaviour_encoder(resolve_encoder(str(tmp_path / "saved")))


def test_weights_that_the_config_does_not_describe_are_an_error_and_what_is_left_over_makes_no_noise(
    tiny_encoders: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_encoders["bert"], tmp_path / "deeper")
    config = json.loads((tmp_path / "deeper" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "deeper" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}), encoding="utf-8")
    with pytest.raises(EncoderError, match=r"another architecture.*Missing: encoder\.layer\.2"):
        load_behaviour_encoder(resolve_encoder(str(tmp_path / "deeper")))
    capfd.readouterr()
    load_behaviour_encoder(resolve_encoder("minilm"))
    assert "UNEXPECTED" not in "".join(capfd.readouterr())
