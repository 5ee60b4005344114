"""What is tuned on: sources, held-out sequences, parts of them, and mixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tunings import domain, fast, run

from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import SourceDataError, TuningError
from recbole_ext.tuning import TuneSettings, tune
from recbole_ext.tuning.corpus import Corpus, read_corpus
from recbole_ext.tuning.objectives import objective_class
from recbole_ext.tuning.settings import PairsSettings
from recbole_ext.tuning.stage import split_sequences
from recbole_ext.tuning.trainer import ByLength
from recbole_ext.tuning.tuning import Tuning


@pytest.mark.parametrize("objective", ["recformer", "pairs"])
def test_few_held_out_sequences_have_a_loss_and_each_of_many_counts(
    atomic_folder: Path, bert: str, tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[int] = []
    collate = objective_class(objective).collate

    def watched(self: Any, numbered: Any) -> Any:
        if not self.training:
            evaluated.append(len(numbered))
        return collate(self, numbered)

    monkeypatch.setattr(objective_class(objective), "collate", watched)
    for fraction, sequences in ((0.05, 2), (0.25, 10)):
        evaluated.clear()
        report = run(atomic_folder, bert, tmp_path / f"{sequences}", objective, held_out=fraction)
        (loss,) = report.record["held_out_loss"]
        assert np.isfinite(loss) and loss > 0
        assert f"held-out loss [{loss}]" in report.lines()
        if objective == "recformer":
            assert sum(evaluated) == sequences


def test_of_many_held_out_sequences_some_are_read_at_an_evaluation(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.recformer import Recformer

    evaluated: list[int] = []
    collate = Recformer.collate

    def watched(self: Any, numbered: Any) -> Any:
        if not self.training:
            evaluated.append(len(numbered))
        return collate(self, numbered)

    monkeypatch.setattr(Recformer, "collate", watched)
    monkeypatch.setattr("recbole_ext.tuning.retrieval.QUERIES", 7)
    run(atomic_folder, bert, tmp_path / "out", "recformer", held_out=0.5)
    assert sum(evaluated) == 7


def test_of_an_epoch_whole_batches_are_drawn_and_what_is_no_batch_is_drawn_whole() -> None:
    for examples, drawn in ((21, 20), (20, 20), (3, 3)):
        sampler = ByLength(list(range(examples)), batch_size=4, seed=1)
        first, second = list(sampler), list(sampler)
        assert len(first) == len(second) == len(sampler) == drawn
        assert len({draw % examples for draw in first}) == drawn
        assert min(second) >= examples > max(first)


def test_no_tuning_batch_holds_an_item_of_the_validation_or_test_positions(
    bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A marker stands at every user's last two positions, and nowhere else."""
    users = {f"u{n}": [f"i{n}", f"i{n + 1}", f"i{n + 2}", f"i{n + 3}", "marker", "marker2"] for n in range(12)}
    titles = {f"i{n}": f"plain thing {n}" for n in range(16)} | {"marker": "zebra", "marker2": "zebra"}
    folder = domain(tmp_path / "data", "leaky", users, titles)
    seen: list[int] = []

    from recbole_ext.tuning.objectives.pairs import Pairs
    from recbole_ext.tuning.objectives.recformer import Recformer

    collate, pair_collate = Recformer.collate, Pairs.collate

    def watched(self: Any, examples: Any) -> Any:
        batch = collate(self, examples)
        parts = [part for _, part in (*batch["context"], *batch["item"])]
        seen.extend(token for part in parts for token in part["input_ids"].flatten().tolist())
        return batch

    def watched_pairs(self: Any, examples: Any) -> Any:
        batch = pair_collate(self, examples)
        seen.extend(torch.cat([batch[side]["input_ids"].flatten() for side in ("first", "second")]).tolist())
        return batch

    monkeypatch.setattr(Recformer, "collate", watched)
    monkeypatch.setattr(Pairs, "collate", watched_pairs)
    for objective in ("recformer", "pairs"):
        run(folder, bert, tmp_path / objective, objective, "leaky")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bert)
    zebra, plain = tokenizer.convert_tokens_to_ids(["zebra", "plain"])
    assert plain in seen
    assert zebra not in seen


def test_items_of_several_domains_are_numbered_apart(bert: str, tmp_path: Path) -> None:
    users = {"u": ["a", "b", "c", "x", "x"]}
    for name, word in (("first", "one"), ("second", "two")):
        domain(tmp_path, name, users, {item: f"{word} {item}" for item in "abcx"})
    sources = [Dataset.named(name, tmp_path, configs=tmp_path) for name in ("first", "second")]
    corpus = read_corpus(sources, PairsSettings())
    assert [[corpus.texts[row - 1] for row in sequence] for sequence in corpus.sequences] == [
        ["one a", "one b", "one c"],
        ["two a", "two b", "two c"],
    ]


@pytest.mark.parametrize(
    ("users", "titles", "message"),
    [
        ({"u": ["a", "b", "c", "a"]}, {"a": "", "b": "", "c": ""}, "no item has any text"),
        ({"u": ["a", "a", "a", "a"]}, {"a": "the only one"}, "1 of its items have text"),
        ({"u": ["a", "a", "b"], "v": ["b", "c"]}, {"a": "", "b": "two", "c": "", "d": "four"}, "holds two items"),
    ],
    ids=["without text", "one item", "sequences shorter than two"],
)
def test_a_source_domain_that_cannot_be_tuned_on_is_refused(
    bert: str, tmp_path: Path, users: dict[str, list[str]], titles: dict[str, str], message: str
) -> None:
    folder = domain(tmp_path / "data", "poor", users, titles)
    with pytest.raises((SourceDataError, TuningError), match=message):
        run(folder, bert, tmp_path / "tuned", name="poor")
    assert not (tmp_path / "tuned").exists()


def test_a_smaller_fraction_of_the_sequences_is_part_of_a_larger_one() -> None:
    corpus = Corpus([], [], [np.array([n, n + 1]) for n in range(200)], 0)
    parts = [
        {tuple(s) for s in split_sequences(corpus, TuneSettings(sequences=fraction))[0]} for fraction in (0.01, 0.1, 1)
    ]
    assert parts[0] < parts[1] < parts[2] and len(parts[2]) == 190
    training, held_out = split_sequences(corpus, TuneSettings(held_out=0.1))
    assert not {tuple(s) for s in training} & {tuple(s) for s in held_out} and len(held_out) == 20


@pytest.mark.parametrize(
    ("objective", "settings"),
    [("pairs", {"debias": 1, "spare_neighbours": True, "hard_negatives": 2}), ("contrast", {"debias": 1})],
)
def test_an_objective_counts_the_sequences_that_are_tuned_on_and_no_other(
    bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, settings: dict[str, Any]
) -> None:
    """Neither held-out ones nor those that ``sequences`` leaves out. Everybody's two items are nobody else's."""
    users = {f"u{n}": [f"a{n}", f"b{n}", f"a{n}", "z", "z"] for n in range(12)}
    titles = {f"{side}{n}": f"{side} thing {n}" for n in range(12) for side in "ab"} | {"z": "zebra"}
    folder = domain(tmp_path / "data", "couples", users, titles)
    built: list[Any] = []
    kind = objective_class(objective)
    prepare = kind.prepare

    def kept(self: Any, corpus: Corpus) -> None:
        prepare(self, corpus)
        built.append(self)

    monkeypatch.setattr(kind, "prepare", kept)
    part: dict[str, Any] = {"held_out": 0.25, "sequences": 0.5}
    run(folder, bert, tmp_path / "out", objective, "couples", **part, **settings)
    corpus = read_corpus([Dataset.named("couples", folder, configs=folder)], PairsSettings())
    training, _ = split_sequences(corpus, TuneSettings(**part))
    couples = {(int(a), int(b)) for first, second, _ in training for a, b in ((first, second), (second, first))}
    (found,) = built
    assert len(training) == 4
    counts = np.ones(len(titles))
    counts[[sequence[0] - 1 for sequence in training]] = 2
    assert np.allclose(found.log_frequency[1:].cpu(), np.log(counts / counts.sum()), atol=1e-6)
    if objective == "pairs":
        known = np.divmod(found.known.cpu().numpy(), len(titles) + 1)
        assert {(int(a), int(b)) for a, b in zip(*known, strict=True)} == couples
        others = {(int(a), int(b)) for a, b, _ in corpus.sequences} - couples
        assert len(others) == 8
        assert all(second in found.strangers[first] for first, second in others)
        assert not any(second in found.strangers[first] for first, second in couples)


def test_a_tuning_that_counts_sequences_is_not_taken_for_one_that_counted_held_out_ones_too(
    atomic_folder: Path, bert: str
) -> None:
    target = Dataset.named("tiny", atomic_folder, configs=atomic_folder)
    for settings, counts in (({}, False), ({"debias": 1}, True), ({"hard_negatives": 1}, True)):
        given = {"objective": "pairs", "sources": ["tiny"], **settings}
        assert ("counted" in Tuning.parse(given, "tune").of(bert, target).request()) == counts


def mixed(sizes: tuple[int, ...], temperature: float) -> list[int]:
    """How many examples of each domain an epoch draws."""
    domains = np.repeat(np.arange(len(sizes)), sizes)
    sampler = ByLength([1] * len(domains), 1, 7, domains, temperature)
    return np.bincount(domains[[draw % len(domains) for draw in sampler]], minlength=len(sizes)).tolist()


def test_a_temperature_makes_the_domains_parts_of_an_epoch_more_alike_and_one_leaves_them() -> None:
    sizes = (900, 90, 10)
    assert mixed(sizes, 1) == [900, 90, 10]
    shares = np.array(sizes) ** 0.5
    assert mixed(sizes, 2) == pytest.approx(1000 * shares / shares.sum(), abs=1)
    assert mixed(sizes, 1e6) == pytest.approx([333, 333, 333], abs=1)


def test_of_a_domain_every_example_is_drawn_as_often_as_its_part_allows_and_the_rest_anew() -> None:
    domains = np.repeat([0, 1], [20, 4])
    sampler = ByLength(list(range(24)), 2, 7, domains, 1e9)
    epochs = [list(sampler) for _ in range(2)]
    assert min(epochs[1]) >= 24 > max(epochs[0])
    counts = [np.bincount([draw % 24 for draw in epoch], minlength=24) for epoch in epochs]
    for count in counts:
        assert count[20:].tolist() == [3] * 4 and count[:20].max() == 1 and count[:20].sum() == 12
    assert counts[0].tolist() != counts[1].tolist()


def test_the_record_says_how_many_examples_are_of_each_source(bert: str, tmp_path: Path) -> None:
    users = {f"u{n}": [f"i{n + step}" for step in range(6)] for n in range(12)}
    for name, some in (("big", users), ("small", dict(list(users.items())[:3]))):
        domain(tmp_path, name, some, {f"i{n}": f"{name} thing {n}" for n in range(20)})
    sources = [Dataset.named(name, tmp_path, configs=tmp_path) for name in ("big", "small")]
    settings: dict[str, Any] = {**fast("pairs"), "held_out": 0, "source_temperature": 3}
    record = tune(sources, bert, tmp_path / "out", "pairs", **settings).record
    assert record["examples_of"] == {"big": 36, "small": 9} and record["examples"] == 45
