"""A tokenizer with a chat template: who published the encoder says whether its texts are read in conversations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.encoding.encoder import load_encoder
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives.attribute_contrast import AttributeContrast
from recbole_ext.tuning.objectives.pairs import Pairs
from recbole_ext.tuning.settings import AttributeContrastSettings, PairsSettings

TEMPLATE = "{% for m in messages %}you are helpful {{ m['content'] }} {% endfor %}"
TEXTS = ["thing number one", "a longer thing of another brand"]


@pytest.fixture
def chatty(tiny_encoders: dict[str, Path], tmp_path: Path) -> Path:
    """A decoder as transformers saves it, whose tokenizer has a chat template."""
    folder = tmp_path / "chatty"
    shutil.copytree(tiny_encoders["gpt2"], folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["model_input_names"] = ["input_ids", "attention_mask"]  # a BERT's tokenizer gives token types as well
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def vectors(folder: Path) -> Any:
    return load_encoder(resolve_encoder(str(folder)), device="cpu").encode(TEXTS)


def published(folder: Path, out: Path, **how: Any) -> Path:
    """The same, saved by sentence-transformers as a model that reads conversations."""
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(folder), device="cpu", **how).save(str(out), create_model_card=False)
    return out


def test_a_language_model_reads_the_text_itself_whatever_chat_template_its_tokenizer_has(chatty: Path) -> None:
    found = vectors(chatty)
    (chatty / "chat_template.jinja").unlink()
    np.testing.assert_allclose(found, vectors(chatty), rtol=1e-5, atol=1e-6)


def test_what_sentence_transformers_saved_for_conversations_reads_them(chatty: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = published(chatty, tmp_path / "published")
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS[:1])
    np.testing.assert_allclose(vectors(folder)[:1], theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(vectors(folder) - vectors(chatty)).max() > 1e-3


def test_the_template_is_part_of_what_identifies_an_encoder(chatty: Path) -> None:
    before = resolve_encoder(str(chatty)).identity
    (chatty / "chat_template.jinja").write_text(TEMPLATE + "!", encoding="utf-8")
    assert resolve_encoder(str(chatty)).identity != before


@pytest.mark.parametrize("kind", ["plain", "of conversations", "with a prompt", "with a prompt that is not pooled"])
def test_a_tuning_reads_what_encode_reads(
    kind: str, chatty: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    folder = chatty
    if kind == "of conversations":
        folder = published(chatty, tmp_path / "published")
    elif kind.startswith("with a prompt"):
        prompt = {"prompts": {"item": "an item of "}, "default_prompt_name": "item"}
        folder = published(tiny_encoders["bert"], tmp_path / "prompted", **prompt)
        if kind.endswith("not pooled"):
            pooled = vectors(folder)
            pooling = folder / "1_Pooling" / "config.json"
            pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "include_prompt": False}))
            assert np.abs(vectors(folder) - pooled).max() > 1e-3
    corpus = Corpus([[("title", text)] for text in TEXTS], TEXTS, [np.array([1, 2])], 0, [[text] for text in TEXTS])
    objective = Pairs.build(resolve_encoder(str(folder)), corpus, PairsSettings(), None).eval()
    with torch.no_grad():
        found = objective.item_vectors(np.array([1, 2]))
    np.testing.assert_allclose(found.numpy(), vectors(folder), rtol=1e-4, atol=1e-5)
    contrast = AttributeContrast.build(resolve_encoder(str(folder)), corpus, AttributeContrastSettings(), None).eval()
    for copy in contrast.copies(np.array([1, 2]), 0):  # of one attribute, which is kept: the text itself
        with torch.no_grad():
            np.testing.assert_allclose(contrast.vectors_of(copy).numpy(), vectors(folder), rtol=1e-4, atol=1e-5)
    objective.save(tmp_path / "saved")
    np.testing.assert_allclose(vectors(tmp_path / "saved"), vectors(folder), rtol=1e-4, atol=1e-5)
