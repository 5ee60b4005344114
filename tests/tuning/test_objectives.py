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
from recbole_ext.tuning.objectives.contrast import in_batch_contrast, log_frequencies
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


# --- what is no negative, and popular negatives ---


def test_a_popular_item_is_a_weaker_negative_when_its_frequency_is_taken_off() -> None:
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([1, 2, 3])
    frequency = torch.log(torch.tensor([1.0, 0.1, 0.1, 0.8]))
    loss, _ = in_batch_contrast(vectors, vectors, rows, 0.5, frequency)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    expected = torch.nn.functional.cross_entropy(unit @ unit.T / 0.5 - frequency[rows], torch.arange(3))
    torch.testing.assert_close(loss, expected)


def test_frequencies_are_those_of_all_places_and_unseen_items_count_once() -> None:
    frequencies = log_frequencies([np.array([1, 2, 2]), np.array([2])], n_items=3).exp()
    torch.testing.assert_close(frequencies[1:], torch.tensor([1.0, 3.0, 1.0]) / 6)


def test_spared_items_have_no_say() -> None:
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([1, 2, 3])

    def spared(items: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[False, True, False]] * 3) & (items > 0)

    loss, _ = in_batch_contrast(vectors, vectors, rows, 0.5, spared=spared)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    scores = unit @ unit.T / 0.5
    scores[[0, 2], 1] = float("-inf")  # each one's own item counts, spared or not
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, torch.arange(3)))


def test_a_window_makes_pairs_of_items_further_apart(tiny_encoders: dict[str, Path]) -> None:
    objective = build("pairs", tiny_encoders["bert"], window=2)
    pairs = objective.examples([np.array([1, 2, 3]), np.array([4, 5])])
    assert sorted(tuple(pair) for pair in pairs) == [(1, 2), (1, 3), (2, 3), (4, 5)]


def test_known_neighbours_are_spared_in_both_directions(tiny_encoders: dict[str, Path]) -> None:
    """Sequences run over neighbouring rows: 1 and 2 are known, 1 and 3 are not."""
    objective = build("pairs", tiny_encoders["bert"], spare_neighbours=True)
    spared = objective._spared(torch.tensor([1, 2, 3]))(torch.tensor([1, 2, 3, 9]))
    assert spared.tolist() == [[False, True, False, False], [True, False, True, False], [False, True, False, False]]
    assert build("pairs", tiny_encoders["bert"])._spared(torch.tensor([1])) is None
    loss = objective(**objective.collate(numbered(objective.examples(SEQUENCES)[:8])))["loss"]
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["pairs", "contrast", "recformer"])
def test_debiasing_changes_the_loss_and_only_where_it_is_asked_for(name: str, tiny_encoders: dict[str, Path]) -> None:
    plain, none, debiased = (
        build(name, tiny_encoders["bert"], **more).eval() for more in ({}, {"debias": 0}, {"debias": 1})
    )
    batch = plain.collate(numbered(plain.examples(SEQUENCES)[:8]))
    losses = [float(objective(**batch)["loss"].detach()) for objective in (plain, none, debiased)]
    assert losses[0] == losses[1] != losses[2]
