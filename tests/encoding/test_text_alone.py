"""A vector is that of its text: not of its neighbours, the batch size, or what a tokenizer forgot to say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.encoders.positions import readable_tokens
from recbole_ext.encoding import EncodingSettings, encode_texts, load_encoder, resolve_encoder
from recbole_ext.encoding.settings import Compute
from recbole_ext.errors import EncoderError

TEXTS = ["thing", "a much longer text about the thing, with brand and colour", "two things", "blue"]
LONG = "word " * 1000


def with_tokenizer(encoder: Path, folder: Path, **changes: Any) -> Path:
    """A copy of ``encoder`` whose tokenizer says something else; ``None`` takes a key out."""
    shutil.copytree(encoder, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


def vectors(encoder: Path, work: Path, texts: list[str], batch_size: int, **options: Any) -> torch.Tensor:
    settings = EncodingSettings(**options)
    compute = Compute(batch_size=batch_size, devices=("cpu",))
    return encode_texts(resolve_encoder(str(encoder)), settings, texts, work, compute).vectors


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [
        *(("gpt2", pooling) for pooling in ("mean", "last")),
        *((name, pooling) for name in ("bert", "roberta", "modernbert") for pooling in ("mean", "last", "cls")),
    ],
)
def test_the_batch_size_changes_no_vector(
    architecture: str, side: str, pooling: str, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = with_tokenizer(tiny_encoders[architecture], tmp_path / "encoder", padding_side=side)
    alone = vectors(encoder, tmp_path / "a", TEXTS, 1, pooling=pooling)
    together = vectors(encoder, tmp_path / "b", TEXTS, 4, pooling=pooling)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_the_first_token_of_a_decoder_which_has_read_no_other_is_refused_as_its_vector(
    tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match="one and the same vector for all 4 different texts.* another pooling"):
        vectors(tiny_encoders["gpt2"], tmp_path / "a", TEXTS, 4, pooling="cls")


def test_gpt2_padded_on_the_left_gives_what_transformers_gives_for_each_text_alone(
    tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoModel, AutoTokenizer

    encoder = with_tokenizer(tiny_encoders["gpt2"], tmp_path / "encoder", padding_side="left")
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()
    with torch.no_grad():
        expected = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1] for text in TEXTS]
    got = vectors(encoder, tmp_path / "work", TEXTS, 4, pooling="last")
    torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_the_side_that_an_encoder_wants_is_kept_where_it_makes_no_difference(
    tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoders["bert"], padding_side="left")
    torch.manual_seed(0)
    shape: dict[str, int] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, num_key_value_heads=2, **shape)
    LlamaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_encoder(resolve_encoder(str(tmp_path)), device="cpu").tokenizer.padding_side == "left"
    gpt2 = with_tokenizer(tiny_encoders["gpt2"], tmp_path / "gpt2", padding_side="left")
    assert load_encoder(resolve_encoder(str(gpt2)), device="cpu").tokenizer.padding_side == "right"


def test_an_encoder_that_looks_beside_the_text_is_refused(
    tiny_encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    pool = Pooling.forward

    def over_the_batch(self: Any, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        pooled = pool(self, features, **options)
        pooled["sentence_embedding"] = pooled["sentence_embedding"] - pooled["sentence_embedding"].mean(0) / 2
        return pooled

    monkeypatch.setattr(Pooling, "forward", over_the_batch)
    with pytest.raises(EncoderError, match="changes with the text beside it"):
        load_encoder(resolve_encoder(str(tiny_encoders["bert"])), device="cpu")


@pytest.mark.parametrize(("architecture", "tokens"), [("roberta", 299), ("longformer", 299), ("bert", 300)])
def test_a_text_is_cut_where_the_positions_end_though_the_tokenizer_says_nothing(
    architecture: str, tokens: int, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    encoder = with_tokenizer(tiny_encoders[architecture], tmp_path / "encoder", model_max_length=None)
    model = load_encoder(resolve_encoder(str(encoder)), device="cpu")
    assert model.max_seq_length == tokens
    assert model.encode([LONG], convert_to_tensor=True).isfinite().all()
    cut = load_encoder(resolve_encoder(str(encoder)), EncodingSettings(max_tokens=tokens), "cpu")
    torch.testing.assert_close(cut.encode([LONG], convert_to_tensor=True), model.encode([LONG], convert_to_tensor=True))


def test_mpnet_reads_as_many_tokens_as_it_has_positions() -> None:
    from transformers import MPNetConfig, MPNetModel

    shape: dict[str, int] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = MPNetModel(MPNetConfig(vocab_size=30, intermediate_size=16, max_position_embeddings=20, **shape)).eval()
    assert readable_tokens(model) == 18
    assert model(torch.full((1, 18), 5)).last_hidden_state.isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, 19), 5))


@given(texts=st.lists(st.text("abcdefg ", min_size=1, max_size=60), min_size=1, max_size=6), batch=st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_every_text_has_the_vector_that_it_has_alone(
    texts: list[str], batch: int, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    together = vectors(tiny_bert, tmp_path_factory.mktemp("together") / "w", texts, batch)
    for text, vector in zip(texts, together, strict=True):
        alone = vectors(tiny_bert, tmp_path_factory.mktemp("alone") / "w", [text], 1)
        torch.testing.assert_close(alone[0], vector, atol=1e-5, rtol=1e-4)
