"""The objectives: what is contrasted, what is masked, and that an encoder learns from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_corpus import ATTRIBUTES, CORPUS, DECODERS, PARTS, SEQUENCES, numbered

from recbole_ext.encoders.source import resolve_encoder
from recbole_ext.errors import EncoderError, TuningError
from recbole_ext.recformer.item_tokens import ItemTokens
from recbole_ext.tuning.corpus import Corpus
from recbole_ext.tuning.dropout import set_dropout
from recbole_ext.tuning.objectives import OBJECTIVES, objective_class
from recbole_ext.tuning.objectives.contrast import in_batch_contrast, log_frequencies
from recbole_ext.tuning.objectives.hard_negatives import nearest_strangers
from recbole_ext.tuning.objectives.masking import mask_words
from recbole_ext.tuning.settings import NEAREST


def drawn_from(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, encoder: Path, **given: Any) -> Any:
    """The objective of these settings on ``CORPUS``, or on the ``corpus`` among them."""
    torch.manual_seed(0)
    corpus = given.pop("corpus", CORPUS)
    settings = OBJECTIVES[name].settings(max_tokens=64, **given)
    return objective_class(name).build(resolve_encoder(str(encoder)), corpus, settings, None)


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


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_an_encoder_learns_its_objective(tiny_encoders: dict[str, Path], name: str) -> None:
    objective = build(name, tiny_encoders[DECODERS.get(name, "bert")])
    objective.train()
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
    for (_, part), (_, same) in zip(first["context"], again["context"], strict=True):
        assert torch.equal(part["masked_ids"], same["masked_ids"])
    assert torch.equal(first["item_rows"], again["item_rows"])
    assert not torch.equal(first["item_rows"], other["item_rows"])


def test_word_embeddings_stay_frozen_unless_told_otherwise(tiny_encoders: dict[str, Path]) -> None:
    for name in OBJECTIVES:
        encoder = tiny_encoders[DECODERS.get(name, "bert")]
        assert not build(name, encoder).base.get_input_embeddings().weight.requires_grad
        thawed = build(name, encoder, freeze_words=False)
        assert thawed.base.get_input_embeddings().weight.requires_grad


def test_the_contrasted_item_follows_what_is_read(tiny_encoders: dict[str, Path]) -> None:
    objective = build("contrast", tiny_encoders["bert"])
    for draw in range(20):
        batch = objective.collate([(draw, SEQUENCES[0])])
        item = int(batch["item_rows"][0])
        ((_, context),) = batch["context"]
        n_read = int(context["item_position_ids"][0].max())
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
    torch.testing.assert_close(frequencies, torch.tensor([1 / 3, 1 / 5, 3 / 5, 1 / 5]))


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
    assert spared.tolist() == [[True, True, False, False], [True, True, True, False], [False, True, True, False]]


def test_an_item_is_no_negative_of_itself(tiny_encoders: dict[str, Path]) -> None:
    objective = build("pairs", tiny_encoders["bert"])
    assert objective._spared(torch.tensor([1, 2]))(torch.tensor([1, 2, 3])).tolist() == [
        [True, False, False],
        [False, True, False],
    ]
    loss = objective(**objective.collate(numbered(objective.examples(SEQUENCES)[:8])))["loss"]
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["pairs", "contrast", "recformer"])
def test_debiasing_changes_the_loss_and_only_where_it_is_asked_for(name: str, tiny_encoders: dict[str, Path]) -> None:
    plain = build(name, tiny_encoders["bert"]).eval()
    none, debiased = (build(name, tiny_encoders["bert"], debias=strength).eval() for strength in (0, 1))
    batch = plain.collate(numbered(plain.examples(SEQUENCES)[:8]))
    losses = [float(objective(**batch)["loss"].detach()) for objective in (plain, none, debiased)]
    assert losses[0] == losses[1] != losses[2]


# --- hard negatives ---


def test_more_negatives_are_negatives_of_every_query_and_the_target_among_them_is_not() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors, more = torch.randn(2, 4, generator=draw), torch.randn(2, 4, generator=draw)
    loss, hits = in_batch_contrast(vectors, vectors, torch.tensor([1, 2]), 0.5, more=(more, torch.tensor([7, 2])))
    unit, beside = (torch.nn.functional.normalize(side, dim=-1) for side in (vectors, more))
    scores = torch.cat([unit @ unit.T, unit @ beside.T], dim=1) / 0.5
    scores[1, 3] = float("-inf")  # item 2 is the second query's own
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, torch.arange(2)))
    assert int(hits) == 2


def test_more_negatives_are_taken_for_drawn_uniformly_however_frequent_they_are() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors, more = torch.randn(2, 4, generator=draw), torch.randn(2, 4, generator=draw)
    frequency = log_frequencies([np.array([1, 2, 2, 3])], n_items=4)

    def loss(of_third: float) -> torch.Tensor:
        frequency[3] = of_third
        items = torch.tensor([1, 2]), 0.5, frequency
        return in_batch_contrast(vectors, vectors, *items, more=(more, torch.tensor([3, 4])))[0]

    assert loss(-9) == loss(-1)
    unit, beside = (torch.nn.functional.normalize(side, dim=-1) for side in (vectors, more))
    off = torch.cat([frequency[torch.tensor([1, 2])], torch.full((2,), 1 / 4).log()])
    scores = torch.cat([unit @ unit.T, unit @ beside.T], dim=1) / 0.5 - off
    torch.testing.assert_close(loss(-1), torch.nn.functional.cross_entropy(scores, torch.arange(2)))


def test_hard_negatives_are_the_nearest_of_the_same_domain_that_are_no_pair_with_the_item() -> None:
    vectors = torch.randn(2001, 8, generator=torch.Generator().manual_seed(0))
    domains = [range(1, 1501), range(1501, 2001)]
    known = np.array([[3, 5], [5, 3], [1600, 1700], [1700, 1600]])
    found = nearest_strangers(lambda rows: vectors[torch.from_numpy(rows)], domains, known, np.arange(2001))
    assert found.shape == (2001, NEAREST) and not found[0].any()
    for item in (1, 3, 5, 1024, 1025, 1500, 1501, 1600, 2000):
        (own,) = (items for items in domains if item in items)
        of_domain = vectors[own.start : own.stop]
        unit = torch.nn.functional.normalize(of_domain - of_domain.mean(0), dim=-1)
        order = (unit @ unit[item - own.start]).argsort(descending=True) + own.start
        barred = {item, *known[known[:, 0] == item][:, 1]}
        assert found[item].tolist() == [row for row in order.tolist() if row not in barred][:NEAREST]


def test_a_small_domain_has_fewer_hard_negatives_and_one_of_neighbours_alone_has_none() -> None:
    vectors = torch.eye(6)
    known = np.array([[a, b] for a in (1, 2) for b in (1, 2) if a != b])
    found = nearest_strangers(
        lambda rows: vectors[torch.from_numpy(rows)], [range(1, 3), range(3, 6)], known, np.arange(6)
    )
    assert not found[1:3].any()
    assert [sorted(row[row > 0].tolist()) for row in found[3:]] == [[4, 5], [3, 5], [3, 4]]


def test_an_item_with_the_very_text_is_no_hard_negative() -> None:
    vectors = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    vectors[5] = vectors[2]
    same = np.array([0, 1, 2, 3, 4, 2, 6, 7, 8])
    found = nearest_strangers(lambda rows: vectors[torch.from_numpy(rows)], [range(1, 9)], np.empty((0, 2), int), same)
    assert 5 not in found[2] and 2 not in found[5] and 5 in found[1]


@pytest.mark.parametrize("spare", [False, True])
def test_a_known_neighbour_is_no_hard_negative_of_the_batch(tiny_encoders: dict[str, Path], spare: bool) -> None:
    objective = build("pairs", tiny_encoders["bert"], hard_negatives=1, spare_neighbours=spare)
    first = torch.tensor([1, 4])  # items follow each other by their numbers
    items = torch.tensor([2, 5, 2, 7])
    assert objective._spared(first, 2)(items)[0].tolist() == [spare, False, True, False]


def test_hard_negatives_follow_from_the_draw_and_only_add_to_the_loss(tiny_encoders: dict[str, Path]) -> None:
    hard, plain = (build("pairs", tiny_encoders["bert"], hard_negatives=number).eval() for number in (3, 0))
    hard.prepare(CORPUS)
    plain.prepare(CORPUS)
    examples = numbered(hard.examples(SEQUENCES)[:6])
    batches = [objective.collate(examples) for objective in (hard, hard, plain)]
    assert torch.equal(batches[0]["hard_rows"], batches[1]["hard_rows"]) and "hard" not in batches[2]
    first = batches[0]["rows"][:, 0].tolist()
    neighbours = {second for row in first for second in (row - 1, row + 1)}
    assert not set(batches[0]["hard_rows"].tolist()) <= neighbours
    others = {
        tuple(hard.collate(numbered(hard.examples(SEQUENCES)[:6], epoch))["hard_rows"].tolist()) for epoch in range(5)
    }
    assert len(others) > 1
    assert float(hard(**batches[0])["loss"]) > float(plain(**batches[2])["loss"])


def test_more_hard_negatives_than_a_domain_has_items_are_refused_and_too_few_strangers_said(
    tiny_encoders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    small = Corpus(CORPUS.attributes[:6], CORPUS.texts[:6], [np.array([1, 2, 3])], 0, CORPUS.parts[:6])
    greedy, modest = (
        build("pairs", tiny_encoders["bert"], corpus=small, hard_negatives=number).eval() for number in (6, 5)
    )
    with pytest.raises(TuningError, match="hard_negatives: 6 are wanted, but an item of these sources has 5 others"):
        greedy.prepare(small)
    modest.prepare(small)
    assert "hard_negatives: 3 of 6 items have fewer than 5" in caplog.text


# --- LLM2Rec ---


def test_the_loss_of_next_title_is_that_of_every_prefix_s_next_title(tiny_encoders: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    objective = build("next-title", tiny_encoders["gpt2"], item_tokens=3).eval()
    model = AutoModelForCausalLM.from_pretrained(tiny_encoders["gpt2"]).eval()
    sequence = np.array([4, 9, 2])
    loss = objective(**objective.collate([(0, sequence)]))["loss"]
    total, tokens = 0.0, 0
    for place in (1, 2):
        before = [token for row in sequence[:place] for token in objective.titles[row]]
        title = objective.titles[sequence[place]]
        labels = torch.tensor([[-100] * len(before) + title])
        with torch.no_grad():
            own = model(input_ids=torch.tensor([before + title]), labels=labels).loss
        total, tokens = total + float(own) * len(title), tokens + len(title)
    assert float(loss) == pytest.approx(total / tokens, rel=1e-4)
    padded = objective(**objective.collate(numbered([sequence, sequence[:2]])))["loss"]
    short = objective(**objective.collate([(0, sequence[:2])]))["loss"]
    n = len(objective.titles[9])
    assert float(padded) == pytest.approx((float(loss) * tokens + float(short) * n) / (tokens + n), rel=1e-4)


def test_long_sequences_are_read_in_pieces_in_which_every_item_but_the_first_is_written_once(
    tiny_encoders: dict[str, Path],
) -> None:
    objective = build("next-title", tiny_encoders["gpt2"], max_items=4)
    pieces = objective.examples([np.arange(1, 12), np.array([5, 6])])
    assert [piece.tolist() for piece in pieces] == [[1, 2, 3, 4], [4, 5, 6, 7], [7, 8, 9, 10], [10, 11], [5, 6]]
    longer = build("next-title", tiny_encoders["gpt2"], max_items=4).collate(numbered([np.arange(1, 20)]))
    assert longer["batch"]["input_ids"].shape[1] == 64, "cut at max_tokens"
    assert longer["column"][longer["row"] == 0].tolist() == list(range(1, 64)), "all but the first token"


def test_next_title_needs_a_decoder_with_a_head(tiny_encoders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2Model

    with pytest.raises(EncoderError, match="next-title needs a decoder"):
        build("next-title", tiny_encoders["bert"])
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoders["gpt2"])
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=300, tie_word_embeddings=False
    )
    for name, model in (("headless", GPT2Model(config)), ("whole", GPT2LMHeadModel(config))):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    with pytest.raises(EncoderError, match="no language-model head"):
        build("next-title", tmp_path / "headless")
    objective = build("next-title", tmp_path / "whole")
    head = AutoModelForCausalLM.from_pretrained(tmp_path / "whole").get_output_embeddings().weight
    torch.testing.assert_close(objective.own_head, head)
    assert not objective.own_head.requires_grad


def test_item_contrast_reads_each_item_twice_and_equal_texts_are_no_negatives(tiny_encoders: dict[str, Path]) -> None:
    objective = build("item-contrast", tiny_encoders["bert"])
    assert [int(row[0]) for row in objective.examples([np.array([3, 1, 3]), np.array([2, 1])])] == [1, 2, 3]
    twins = Corpus(ATTRIBUTES, ["one", "two", "one"], SEQUENCES, 0, PARTS)
    same = objective_class("item-contrast")(objective.model, [[], *[[101, 2, 102]] * 3], objective.settings, twins)  # type: ignore[call-arg]
    assert same.collate(numbered([np.array([row]) for row in (1, 2, 3)]))["rows"].tolist() == [1, 2, 1]
    objective.train()
    set_dropout(objective.base, 0.2)
    batch = objective.collate(numbered(objective.examples(SEQUENCES)[:8]))
    assert torch.equal(batch["first"]["input_ids"], batch["second"]["input_ids"])
    torch.manual_seed(0)
    one, two = objective.vectors_of(batch["first"]), objective.vectors_of(batch["second"])
    assert not torch.allclose(one, two)
    torch.manual_seed(0)
    expected, _ = in_batch_contrast(one, two, batch["rows"], 0.05)
    torch.testing.assert_close(objective(**batch)["loss"], expected)
    with pytest.raises(ValueError, match="dropout"):
        OBJECTIVES["item-contrast"].settings(dropout=0)


# --- LLMEmb ---


def test_attribute_contrast_reads_copies_without_some_of_the_attributes_in_any_order(
    tiny_encoders: dict[str, Path],
) -> None:
    objective = build("attribute-contrast", tiny_encoders["bert"])
    generator = np.random.default_rng(0)
    copies = {objective._augmented(["red pen", "acme", "office"], generator) for _ in range(60)}
    two_of_three = {f"{a}. {b}" for a in ("red pen", "acme", "office") for b in ("red pen", "acme", "office") if a != b}
    assert copies == two_of_three
    for left_out, parts, kept in ((0.9, 1, 1), (0.99, 3, 1), (0.0, 3, 3), (0.5, 3, 2)):
        objective.settings = objective.settings.model_copy(update={"left_out": left_out})
        assert len(objective._augmented(list("abc")[:parts], generator).split(". ")) == kept
    batches = [objective.collate(numbered(objective.examples(SEQUENCES)[:6], epoch)) for epoch in (0, 0, 1)]
    assert torch.equal(batches[0]["first"]["input_ids"], batches[1]["first"]["input_ids"])
    assert not torch.equal(batches[0]["first"]["input_ids"], batches[2]["first"]["input_ids"])


def test_attribute_contrast_goes_both_ways(tiny_encoders: dict[str, Path]) -> None:
    objective = build("attribute-contrast", tiny_encoders["bert"]).eval()
    batch = objective.collate(numbered(objective.examples(SEQUENCES)[:6]))
    one, two = objective.vectors_of(batch["first"]), objective.vectors_of(batch["second"])
    losses = [in_batch_contrast(*sides, batch["rows"], 0.05)[0] for sides in ((one, two), (two, one))]
    torch.testing.assert_close(objective(**batch)["loss"], sum(losses) / 2)
