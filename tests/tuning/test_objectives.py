"""The objectives: what is contrasted, what is masked, and that an encoder learns from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import EncoderError
from recbole_ext.recformer.item_tokens import ItemTokens
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.objectives import OBJECTIVES, objective_class
from recbole_ext.tuning.objectives.contrast import in_batch_contrast
from recbole_ext.tuning.objectives.masking import mask_words

ATTRIBUTES = [[("title", f"thing number {n} for some purpose"), ("brand", "acme")] for n in range(20)]
TEXTS = [f"thing number {n}" for n in range(20)]
SEQUENCES = [np.arange(1 + start, 7 + start) for start in range(10)]
CORPUS = Corpus(ATTRIBUTES, TEXTS, SEQUENCES, 0)


def numbered(examples: list[np.ndarray], epoch: int = 0) -> list[tuple[int, np.ndarray]]:
    return [(epoch * len(examples) + n, example) for n, example in enumerate(examples)]


def drawn_from(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, encoder: Path, **given: Any) -> Any:
    torch.manual_seed(0)
    settings = OBJECTIVES[name].settings(max_tokens=64, **given)
    return objective_class(name).build(resolve_encoder(str(encoder)), CORPUS, settings, None)


def test_contrast_is_the_cross_entropy_of_cosines_over_the_temperature() -> None:
    queries, items = torch.eye(3), 2 * torch.eye(3)
    loss, hits = in_batch_contrast(queries, items, torch.tensor([1, 2, 3]), temperature=0.5)
    expected = -torch.log(torch.tensor(2.0).exp() / (torch.tensor(2.0).exp() + 2))
    torch.testing.assert_close(loss, expected)
    assert int(hits) == 3


def test_another_occurrence_of_the_target_is_not_a_negative() -> None:
    vectors = torch.randn(3, 4)
    items = vectors[[0, 0, 2]]
    alone, _ = in_batch_contrast(vectors[[0, 2]], items[[0, 2]], torch.tensor([5, 7]), 0.1)
    twice, _ = in_batch_contrast(vectors[[0, 0, 2]], items, torch.tensor([5, 5, 7]), 0.1)
    rows = [in_batch_contrast(vectors[[0, 2]], items[[0, 2]], torch.tensor([5, 7]), 0.1)[0]]
    torch.testing.assert_close(rows[0], alone)
    # Rows 0 and 1 each see only row 2 as a negative; row 2 sees both copies.
    similarity = torch.nn.functional.normalize(vectors, dim=-1)
    cosine = similarity[0] @ similarity[2] / 0.1
    first = torch.nn.functional.softplus(cosine - 10)
    last = torch.log(torch.tensor(10.0).exp() + 2 * cosine.exp()) - 10
    torch.testing.assert_close(twice, (2 * first + last) / 3, rtol=1e-4, atol=1e-5)


@given(probability=st.floats(0.05, 0.9), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_masks_hide_whole_words_and_at_least_one(tokenizer: Any, probability: float, seed: int) -> None:
    tokens = ItemTokens.of(ATTRIBUTES, tokenizer)
    batch = tokens.batch(SEQUENCES[:4])
    ids, hidden = mask_words(batch, probability, tokenizer.mask_token_id, len(tokenizer), drawn_from(seed))
    assert hidden.any(1).all()
    assert not hidden[batch["word"] < 0].any()
    assert torch.equal(ids[~hidden], batch["input_ids"][~hidden])
    for row in range(4):
        for word in batch["word"][row].unique():
            assert len(hidden[row][batch["word"][row] == word].unique()) == 1


def test_about_the_wanted_share_of_words_is_masked_and_most_of_them_by_the_mask(tokenizer: Any) -> None:
    batch = ItemTokens.of(ATTRIBUTES * 10, tokenizer).batch([np.arange(1, 51)] * 20)
    ids, hidden = mask_words(batch, 0.15, tokenizer.mask_token_id, len(tokenizer), drawn_from(0))
    inside = batch["word"] >= 0
    assert hidden[inside].float().mean() == pytest.approx(0.15, abs=0.02)
    assert (ids[hidden] == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (ids[hidden] == batch["input_ids"][hidden]).float().mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("name", ["recformer", "contrast", "mlm", "pairs"])
def test_an_encoder_learns_its_objective(tiny_encoders: dict[str, Path], name: str) -> None:
    objective = build(name, tiny_encoders["bert"])
    examples = objective.examples(SEQUENCES)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    torch.manual_seed(1)
    losses = []
    for step in range(40):
        loss = objective(**objective.collate(numbered(examples[:16], step)))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.99 * np.mean(losses[:5])
    assert objective.tokens_read > 0


def test_the_recformer_loss_is_its_halves_weighted(tiny_encoders: dict[str, Path]) -> None:
    objective = build("recformer", tiny_encoders["bert"], mlm_weight=0.3).eval()
    parts = objective(**objective.collate(numbered(SEQUENCES)))
    torch.testing.assert_close(parts["loss"], parts["contrast"] + 0.3 * parts["mlm"])


def test_the_number_of_a_draw_decides_all_that_is_random_in_it(tiny_encoders: dict[str, Path]) -> None:
    objective = build("recformer", tiny_encoders["bert"])
    first, again, other = (objective.collate(numbered(SEQUENCES, epoch)) for epoch in (0, 0, 1))
    assert torch.equal(first["context"]["masked_ids"], again["context"]["masked_ids"])
    assert torch.equal(first["item_rows"], again["item_rows"])
    assert not torch.equal(first["item_rows"], other["item_rows"])


def test_word_embeddings_stay_frozen_unless_told_otherwise(tiny_encoders: dict[str, Path]) -> None:
    for name in OBJECTIVES:
        assert not build(name, tiny_encoders["bert"]).base.get_input_embeddings().weight.requires_grad
        thawed = build(name, tiny_encoders["bert"], freeze_words=False)
        assert thawed.base.get_input_embeddings().weight.requires_grad


def test_the_contrasted_item_follows_what_is_read(tiny_encoders: dict[str, Path]) -> None:
    objective = build("contrast", tiny_encoders["bert"])
    for draw in range(20):
        batch = objective.collate([(draw, SEQUENCES[0])])
        item = int(batch["item_rows"][0])
        n_read = int(batch["context"]["item_position_ids"][0].max())
        assert SEQUENCES[0][n_read] == item and n_read >= 2  # cut in the second half


def test_pairs_are_neighbours_and_never_an_item_with_itself(tiny_encoders: dict[str, Path]) -> None:
    objective = build("pairs", tiny_encoders["bert"])
    pairs = objective.examples([np.array([1, 2, 2, 3])])
    assert [tuple(pair) for pair in pairs] == [(1, 2), (2, 3)]


@pytest.mark.parametrize("name", ["recformer", "mlm"])
def test_an_encoder_without_a_mask_token_is_refused_where_words_are_masked(
    tiny_encoders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    import shutil

    from transformers import PreTrainedTokenizerFast

    shutil.copytree(tiny_encoders["bert"], tmp_path / "maskless")
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (tmp_path / "maskless" / file).unlink(missing_ok=True)
    from transformers import AutoTokenizer

    full = AutoTokenizer.from_pretrained(tiny_encoders["bert"])
    bare = PreTrainedTokenizerFast(
        tokenizer_object=full.backend_tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )
    bare.save_pretrained(tmp_path / "maskless")
    with pytest.raises(EncoderError, match="no mask token"):
        build(name, tmp_path / "maskless")
    assert build("contrast", tmp_path / "maskless") is not None


def test_decoders_are_tuned_on_pairs(tiny_encoders: dict[str, Path]) -> None:
    objective = build("pairs", tiny_encoders["gpt2"], pooling="last")
    loss = objective(**objective.collate(numbered(objective.examples(SEQUENCES)[:8])))["loss"]
    loss.backward()
    assert torch.isfinite(loss)
