"""The road of a score from end to end, on a made-up dataset."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_cards import card

import recbole_ext
from recbole_ext import api
from recbole_ext.benchmark import Resolved, RunSpec
from recbole_ext.benchmark.suite import load_suite
from recbole_ext.errors import AttachError, ConfigurationError, EncoderError, StoreError
from recbole_ext.records import RunRecord
from recbole_ext.records.card import Card
from recbole_ext.report import write_report
from recbole_ext.report.ranks import metric_of_ranks
from recbole_ext.runs.recording import record_death
from recbole_ext.scoring import Scored
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.store.files import fingerprint_of


def records(scored: Scored) -> list[RunRecord]:
    return [RunRecord.read(path) for path in sorted((scored.path.parent / "mini" / "runs").glob("[!.]*.json"))]


def test_a_card_has_every_recommender_of_the_suite_and_what_the_vectors_cost(words: Scored) -> None:
    card = words.card
    assert [(score.model, score.trials, score.seeds) for score in card.scores] == [
        ("SASRec", 2, 3),
        ("GRU4Rec", 2, 3),
        ("NearestNeighbour", 1, 1),
    ]
    assert (card.name, card.kind, card.vectors) == ("tfidf-dim8", "lexical", "lexical tfidf")
    assert card.source == {"lexical": "tfidf", "dim": 8} and card.note == "Made-up people."
    (of,) = card.datasets
    assert (of.users, of.items, of.covered) == (40, 60, 60)
    assert of.vectors is not None and (of.vectors.width, of.vectors.items) == (8, 60)
    assert of.cost is not None and of.cost.milliseconds_per_item > 0 and of.cost.parameters is None
    assert of.stores == [fingerprint_of(words.stores["tiny"])]
    assert 50 < of.cost.peak_memory_mb < 3000 and "cpu" in of.cost.device
    assert card == Card.read(words.path).model_copy(update={"sha256": ""})


def test_its_numbers_are_those_of_the_run_records_of_the_chosen_trials(words: Scored) -> None:
    for score in words.card.trained:
        runs = [r for r in records(words) if r.model == score.model and r.trial == score.chosen]
        ours = [r.done.test["ndcg@10"] for r in runs if r.variant == words.card.name]
        assert len(ours) == 3 and score.score == pytest.approx(np.mean(ours), abs=1e-6)
        searched = {
            r.trial["item_embedding_scale"]: r.done.validation["ndcg@10"]
            for r in records(words)
            if r.model == score.model and r.variant == words.card.name and r.seed == 42
        }
        assert score.chosen == {"item_embedding_scale": max(searched, key=lambda scale: searched[scale])}
        assert score.gain is not None and score.random
        assert score.gain.mean == pytest.approx(100 * (score.score / score.random - 1), abs=1e-3)
        assert score.gain.low is not None and score.gain.high is not None
        assert score.gain.low < score.gain.mean < score.gain.high
    assert words.card.gain.mean == pytest.approx(np.mean([s.gain.mean for s in words.card.trained if s.gain]), abs=1e-3)


def test_the_interval_of_the_mean_counts_each_user_once(words: Scored) -> None:
    """Two recommenders tested on the same users are not twice as many users."""
    widths = [s.gain.high - s.gain.low for s in words.card.trained if s.gain and s.gain.high and s.gain.low]
    gain = words.card.gain
    assert gain.low is not None and gain.high is not None
    assert gain.high - gain.low > 0.4 * min(widths)


def test_unseen_items_are_those_that_nobody_took_in_training(words: Scored) -> None:
    folder = words.path.parent / "mini"
    (counts,) = (folder / "popularity").glob("tiny-*.npz")
    unseen = np.load(counts)["test_interactions"] == 0
    for score in words.card.scores:
        if not unseen.any():
            assert score.unseen is None
            continue
        runs = [r for r in records(words) if r.model == score.model and r.trial == score.chosen]
        ranks = [np.load(folder / "runs" / f"{r.run}.ranks.npy") for r in runs if r.variant == words.card.name]
        values = [metric_of_ranks("ndcg@10", rank)[unseen].mean() for rank in ranks]
        assert score.unseen is not None and score.unseen.users == unseen.sum()
        assert score.unseen.score == pytest.approx(np.mean(values), abs=1e-6)


def test_a_second_score_does_nothing_again_and_another_source_shares_the_random_runs(
    words: Scored, score: Callable[..., Scored]
) -> None:
    before = {record.run: record.date for record in records(words)}
    again = score({"lexical": "tfidf", "dim": 8})
    assert {record.run: record.date for record in records(words)} == before
    assert again.card.scores == words.card.scores and again.card.datasets == words.card.datasets
    other = score({"shuffled": {"lexical": "tfidf", "dim": 8}})
    new = [record for record in records(words) if record.run not in before]
    assert len(new) == 2 * (2 + 2) + 1 and {record.variant for record in new} == {"shuffled-tfidf-dim8"}
    assert [s.random for s in other.card.trained] == [s.random for s in words.card.trained]
    (own,), (of_words,) = other.card.datasets, words.card.datasets
    assert own.cost is not None and of_words.cost is not None  # what it is made of costs too
    assert own.cost.milliseconds_per_item > of_words.cost.milliseconds_per_item


def test_random_vectors_have_a_card_without_gain_or_vectors(words: Scored, score: Callable[..., Scored]) -> None:
    made = score("random")
    assert [s.model for s in made.card.scores] == ["SASRec", "GRU4Rec"]
    assert [s.score for s in made.card.scores] == [s.random for s in words.card.trained]
    assert made.card.gain.mean == 0 and made.card.gain.low is None and made.stores == {}
    (of,) = made.card.datasets
    assert of.vectors is None and of.cost is None and of.stores == []


def test_the_page_of_all_cards_is_written_beside_them(words: Scored, score: Callable[..., Scored]) -> None:
    score("random")
    page = words.page.read_text(encoding="utf-8")
    assert "tfidf-dim8" in page and "recbole-ext score" in page
    table = pd.read_csv(words.page.with_name("table.csv"))
    assert {"tfidf-dim8", "random"} <= {*table["name"]}


def test_a_card_tells_its_place_among_the_published_ones(
    words: Scored, score: Callable[..., Scored], tmp_path: Path
) -> None:
    assert words.place == ""
    score("random", out=words.path.parent)
    (tmp_path / "mini-random.json").write_bytes((words.path.parent / "mini-random.json").read_bytes())
    placed = score({"lexical": "tfidf", "dim": 8}, published=tmp_path)
    assert placed.place.endswith("of 2 among the published cards of the suite mini, version 1")
    assert placed.place in placed.lines()


def test_what_is_printed_has_every_row_and_the_mean(words: Scored) -> None:
    said = "\n".join(words.lines())
    for text in ("SASRec", "GRU4Rec", "NearestNeighbour", "tiny", "gain over random vectors", "Made-up people."):
        assert text in said
    assert str(words.path) in said


def test_it_comes_back_as_a_table(words: Scored) -> None:
    table = words.to_pandas()
    assert list(table["model"]) == ["SASRec", "GRU4Rec", "NearestNeighbour"]
    assert table["gain_%"].notna().tolist() == [True, True, False]
    assert {"dataset", "ndcg@10", "random", "low_%", "high_%", "unseen", "seeds"} <= {*table.columns}


def test_its_store_is_named_and_its_runs_have_a_leaderboard(words: Scored, score: Callable[..., Scored]) -> None:
    again = score({"lexical": "tfidf", "dim": 8})
    assert ItemEmbeddingStore.load(again.stores["tiny"]).dim == 8
    table = write_report(words.path.parent / "mini").to_pandas()
    assert {"tfidf-dim8", "random"} == {*table["variant"]}


def test_the_verbs_have_real_signatures() -> None:
    parameters = inspect.signature(recbole_ext.score).parameters
    assert list(parameters)[:2] == ["source", "suite"] and parameters["suite"].default == "quick"
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values())


def test_a_plan_runs_nothing(suite_file: Path, atomic_folder: Path, tmp_path: Path) -> None:
    places: dict[str, Any] = {"data_path": atomic_folder, "artifacts": tmp_path / "artifacts", "out": tmp_path / "out"}
    lines = api.score_plan({"lexical": "tfidf", "dim": 8}, suite_file, name="mine", **places)
    assert any("run tiny SASRec mine full" in line for line in lines) and "Nothing is missing here." in lines
    assert list(tmp_path.iterdir()) == []


# --- mistakes ---


def test_the_card_of_another_source_is_not_overwritten(suite_file: Path, atomic_folder: Path, tmp_path: Path) -> None:
    alike = {"suite": "mini", "suite_hash": load_suite(suite_file).sha256}
    card("mine", **alike, source={"lexical": "tfidf", "dim": 8}).write(tmp_path / "out")
    places: dict[str, Any] = {"data_path": atomic_folder, "artifacts": tmp_path / "artifacts", "out": tmp_path / "out"}
    with pytest.raises(ConfigurationError, match=r"mini-mine\.json: is the card of another source, .*--name"):
        api.score_plan({"lexical": "tfidf", "dim": 16}, suite_file, name="mine", **places)
    assert api.score_plan({"lexical": "tfidf", "dim": "8"}, suite_file, name="mine", **places)


def test_the_same_source_below_another_home_folder_is_the_same(
    suite_file: Path, atomic_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    alike = {"suite": "mini", "suite_hash": load_suite(suite_file).sha256}
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "words.txt").write_text("red 1 0\n")
    card("mine", **alike, source={"static": "~/words.txt"}).write(tmp_path / "out")
    places: dict[str, Any] = {"data_path": atomic_folder, "artifacts": tmp_path / "artifacts", "out": tmp_path / "out"}
    assert api.score_plan({"static": str(tmp_path / "me" / "words.txt")}, suite_file, name="mine", **places)


@pytest.mark.parametrize("changed", [{"version": 2}, {"suite_hash": "b" * 64}])
def test_the_card_of_another_state_of_the_suite_is_not_overwritten(
    changed: dict[str, Any], suite_file: Path, atomic_folder: Path, tmp_path: Path
) -> None:
    alike = {"suite": "mini", "suite_hash": load_suite(suite_file).sha256}
    card("mine", **{**alike, **changed}, source={"lexical": "tfidf", "dim": 8}).write(tmp_path / "out")
    places: dict[str, Any] = {"data_path": atomic_folder, "artifacts": tmp_path / "artifacts", "out": tmp_path / "out"}
    with pytest.raises(ConfigurationError, match=r"mini-mine\.json: is a card of the suite mini, version .*--out"):
        api.score_plan({"lexical": "tfidf", "dim": 8}, suite_file, name="mine", **places)


def test_cards_that_none_of_the_suite_can_stand_beside_are_named_before_anything_is_made(
    suite_file: Path, score: Callable[..., Scored], tmp_path: Path
) -> None:
    other = card("other", suite="mini", suite_hash="b" * 64).write(tmp_path / "out")
    with pytest.raises(ConfigurationError, match=r"mini-other\.json: is of a suite mini, version 1 that says"):
        score({"lexical": "tfidf", "dim": 8}, out=tmp_path / "out", artifacts=tmp_path / "artifacts")
    edited = other.rename(tmp_path / "mini-other.json")
    edited.write_text(edited.read_text().replace('"score": ', '"score": 1'))
    with pytest.raises(ConfigurationError, match=r"mini-other\.json: was changed after it was written"):
        score({"lexical": "tfidf", "dim": 8}, out=tmp_path / "o", published=tmp_path, artifacts=tmp_path / "artifacts")
    assert not (tmp_path / "artifacts").exists() and not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_a_name_that_names_no_file_is_refused(name: str, score: Callable[..., Scored]) -> None:
    with pytest.raises(ConfigurationError, match="name: .* can't be part of a file name"):
        score({"lexical": "tfidf", "dim": 8}, name=name)


def encoder_without(folder: Path, tiny_encoders: dict[str, Path], *left_out: str) -> Path:
    (folder / "encoder").mkdir()
    for file in tiny_encoders["bert"].iterdir():
        if not any(word in file.name for word in left_out):
            (folder / "encoder" / file.name).write_bytes(file.read_bytes())
    return folder / "encoder"


def test_an_encoder_without_a_tokenizer_is_refused(
    score: Callable[..., Scored], tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match="has no tokenizer"):
        score({"encoder": str(encoder_without(tmp_path, tiny_encoders, "token", "vocab"))}, out=tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.json")) == []


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"prompt_name": "query"}, ConfigurationError, "prompt_name: .*has no prompt 'query'"),
        ({"dim": 999}, ConfigurationError, "dim: 999 is more than the width of encoder"),
        ({"adapter": "nowhere"}, EncoderError, "nowhere"),
        ({"poolin": "mean"}, ConfigurationError, "poolin: unknown key. Did you mean 'pooling'"),
    ],
)
def test_what_an_encoder_does_not_have_is_refused_before_anything_is_trained(
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
    score: Callable[..., Scored],
    tiny_encoders: dict[str, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        score({"encoder": str(tiny_encoders["bert"]), **settings}, out=tmp_path / "out")
    assert list((tmp_path / "out").rglob("runs/*.json")) == []


def test_what_is_wrong_with_given_vectors_is_said_by_the_process_that_reads_them(
    score: Callable[..., Scored], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"item": ["i0", "i0"], "a": [0.1, 0.2]}).to_parquet(tmp_path / "given.parquet")
    with pytest.raises(StoreError, match=r"given\.parquet.*'i0' in the list of item tokens more than once"):
        score({"store": str(tmp_path / "given.parquet"), "ids": "item"}, out=tmp_path / "out")


def test_a_store_of_other_items_is_refused_before_a_run(
    score: Callable[..., Scored], store_of: Callable[..., Path], tmp_path: Path
) -> None:
    foreign = store_of(["of", "another", "dataset"], tmp_path / "foreign")
    with pytest.raises(AttachError, match="none of the dataset's 60 items is in the store"):
        score({"store": str(foreign)}, out=tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.json")) == []


def test_a_run_that_failed_gives_no_card_and_is_named(
    words: Scored, score: Callable[..., Scored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_fails(resolved: Resolved) -> list[RunSpec]:
        spec = next(spec for spec in resolved.specs() if spec.model == "NearestNeighbour")
        spec.record_path.unlink()
        assert record_death(spec, RuntimeError("out of luck"))
        return [spec]

    shutil.copytree(words.path.parent, tmp_path / "out")
    (tmp_path / "out" / words.path.name).unlink()
    monkeypatch.setattr("recbole_ext.scoring.score.run_benchmark", one_fails)
    message = "no card, for not all of the suite's runs have ended well:\n  - .*NearestNeighbour.*out of luck"
    with pytest.raises(ConfigurationError, match=message):
        score({"lexical": "tfidf", "dim": 8}, out=tmp_path / "out")
    assert not (tmp_path / "out" / words.path.name).exists()


def test_random_vectors_have_no_other_name(score: Callable[..., Scored]) -> None:
    with pytest.raises(ConfigurationError, match="random vectors are called 'random'"):
        score("random", name="noise")


def test_an_edited_card_among_the_others_is_named(words: Scored, score: Callable[..., Scored], tmp_path: Path) -> None:
    edited = tmp_path / words.path.name
    content = json.loads(words.path.read_text())
    content["score"] = 0.99
    edited.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=rf"{edited.name}: was changed"):
        score({"lexical": "tfidf", "dim": 8}, published=tmp_path)
