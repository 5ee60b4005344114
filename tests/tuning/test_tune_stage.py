"""The tune stage: folders, resuming, leaks, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recbole_ext.claims import claim
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, EncoderError, SourceDataError, TuningError, WriteError
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.tuning import TuneReport, TuneSettings, tune
from recbole_ext.tuning.corpus import Corpus, read_corpus
from recbole_ext.tuning.objectives import OBJECTIVES, objective_class
from recbole_ext.tuning.settings import PairsSettings
from recbole_ext.tuning.stage import split_sequences
from recbole_ext.tuning.trainer import ByLength
from recbole_ext.tuning.tuning import TunedEncoder, Tuning
from recbole_ext.tuning.unfinished import last_checkpoint
from recbole_ext.vectors.encoder import Encoder

FAST: dict[str, Any] = {"epochs": 1, "batch_size": 8, "max_tokens": 48, "attribute_tokens": 8, "max_items": 5}


def fast(objective: str) -> dict[str, Any]:
    """What of ``FAST`` the objective can be told."""
    return {key: value for key, value in FAST.items() if key in OBJECTIVES[objective].settings.model_fields}


def run(
    folder: Path, encoder: Path | str, out: Path, objective: str = "recformer", name: str = "tiny", **settings: Any
) -> TuneReport:
    """Tune on one domain, fast unless ``settings`` say otherwise."""
    source = Dataset.named(name, folder, configs=folder)
    return tune([source], str(encoder), out, objective, **{**fast(objective), **settings})


def encode(folder: Path, encoder: Path | str, out: Path) -> None:
    """The items of ``tiny`` to the store ``out``."""
    source = Encoder(encoder=str(encoder), template=("{title}",))
    source.make(Dataset.named("tiny", folder, configs=folder), out, out.parent / "artifacts")


@pytest.fixture
def bert(tiny_encoders: dict[str, Path]) -> str:
    return str(tiny_encoders["bert"])


def domain(folder: Path, name: str, users: dict[str, list[str]], titles: dict[str, str]) -> Path:
    (folder / name).mkdir(parents=True)
    rows = [f"{user}\t{item}\t{time}" for user, items in users.items() for time, item in enumerate(items)]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / name / f"{name}.inter").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    lines = ["item_id:token\ttitle:token_seq", *(f"{item}\t{title}" for item, title in titles.items())]
    (folder / name / f"{name}.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def encoder_for(objective: str, tiny_encoders: dict[str, Path]) -> str:
    return str(tiny_encoders["gpt2" if objective == "next-title" else "bert"])


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_tuned_folder_is_loaded_by_from_pretrained_and_by_encode(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, objective: str
) -> None:
    from transformers import AutoModel, AutoTokenizer

    bert = encoder_for(objective, tiny_encoders)
    report = run(atomic_folder, bert, tmp_path / "tuned", objective, learning_rate=1e-3)
    assert not report.up_to_date and report.record["examples"] > 8
    assert AutoModel.from_pretrained(tmp_path / "tuned").config.hidden_size == 32
    assert AutoTokenizer.from_pretrained(tmp_path / "tuned").vocab_size > 1000
    for encoder, store in ((bert, "before"), (str(tmp_path / "tuned"), "after")):
        encode(atomic_folder, encoder, tmp_path / store)
    before, after = (ItemEmbeddingStore.load(tmp_path / name) for name in ("before", "after"))
    assert before.items == after.items and after.embeddings.shape == (60, 32)
    assert (before.embeddings - after.embeddings).abs().max() > 1e-3


def test_encode_gives_the_vectors_that_the_objective_contrasts(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    from recbole_ext.encoders.source import resolve_encoder
    from recbole_ext.recformer.encoder import load_behaviour_encoder
    from recbole_ext.recformer.item_tokens import ItemTokens

    run(atomic_folder, bert, tmp_path / "tuned", "contrast")
    encode(atomic_folder, tmp_path / "tuned", tmp_path / "store")
    store = ItemEmbeddingStore.load(tmp_path / "store")
    encoder, tokenizer, reading = load_behaviour_encoder(resolve_encoder(str(tmp_path / "tuned")))
    assert reading["attribute_tokens"] == 8
    tokens = ItemTokens.of([[("title", "thing number 7")]], tokenizer, 8)
    with torch.no_grad():
        expected = encoder.eval().pool(tokens.batch([np.array([1])]))[0]
    torch.testing.assert_close(store.embeddings[store.items.index("i7")], expected, rtol=1e-4, atol=1e-5)


def test_a_second_call_does_nothing_and_other_settings_tune_again(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(atomic_folder, bert, tmp_path / "tuned", "pairs")
    monkeypatch.setattr("recbole_ext.tuning.stage.claim", lambda *_, **__: pytest.fail("nothing is to be written"))
    assert run(atomic_folder, bert, tmp_path / "tuned", "pairs").up_to_date
    monkeypatch.undo()
    assert not run(atomic_folder, bert, tmp_path / "tuned", "pairs", seed=7).up_to_date
    assert json.loads((tmp_path / "tuned" / "tuning.json").read_text())["request"] != first.record["request"]
    assert not (tmp_path / "tuned.partial").exists()


@pytest.mark.parametrize("objective", ["recformer", "pairs", "next-title"])
def test_a_cut_encoder_is_tuned_and_saved_cut(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, objective: str
) -> None:
    from transformers import AutoModel

    bert = encoder_for(objective, tiny_encoders)
    run(atomic_folder, bert, tmp_path / "tuned", objective, layers=1)
    assert AutoModel.from_pretrained(tmp_path / "tuned").config.num_hidden_layers == 1
    encode(atomic_folder, tmp_path / "tuned", tmp_path / "store")
    assert ItemEmbeddingStore.load(tmp_path / "store").embeddings.isfinite().all()
    with pytest.raises(ConfigurationError, match="1 to 2"):
        run(atomic_folder, bert, tmp_path / "deeper", objective, layers=3)


def test_the_held_out_loss_falls(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    report = run(atomic_folder, bert, tmp_path / "tuned", "mlm", held_out=0.2, learning_rate=3e-3, epochs=6)
    losses = report.record["held_out_loss"]
    assert len(losses) == 6 and losses[-1] < losses[0]


def test_the_writer_alone_holds_the_claim_of_the_folder_while_it_tunes(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: list[bool] = []

    def looks(wanted: object, encoder: str, out: Path) -> TuneReport:
        with claim(out.with_name(".tuned.lock"), wait=False) as ours:
            free.append(ours)
        return TuneReport(out, {}, up_to_date=True)

    monkeypatch.setattr("recbole_ext.tuning.stage._make", looks)
    run(atomic_folder, bert, tmp_path / "tuned")
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    run(atomic_folder, bert, tmp_path / "tuned")
    assert free == [False, True]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_tuning_goes_on_and_ends_where_an_undisturbed_one_does(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"objective": "contrast", "checkpoint_steps": 3, "held_out": 0, "epochs": 2}
    run(atomic_folder, bert, tmp_path / "whole", **settings)

    from recbole_ext.tuning.objectives.recformer import Recformer

    calls, forward = [0], Recformer.forward

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Recformer, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run(atomic_folder, bert, tmp_path / "broken", **settings)
    assert not (tmp_path / "broken").exists() and (tmp_path / "broken.partial").is_dir()
    monkeypatch.undo()
    run(atomic_folder, bert, tmp_path / "broken", **settings)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_a_tuning_that_diverges_is_refused_with_the_way_out(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.pairs import Pairs

    forward = Pairs.forward

    def diverged(self: Any, **batch: Any) -> dict[str, Any]:
        found = forward(self, **batch)
        return {**found, "loss": found["loss"] * float("nan")}

    monkeypatch.setattr(Pairs, "forward", diverged)
    with pytest.raises(TuningError, match="the tuning has diverged.*Lower learning_rate"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", epochs=1)
    assert not (tmp_path / "out").exists()


def test_a_processor_is_not_asked_for_float16(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TuningError, match="precision: float16: a processor does not train in it"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", precision="float16")


def test_how_many_processes_tune_is_part_of_what_is_asked_for(
    atomic_folder: Path, bert: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Dataset.named("tiny", atomic_folder, configs=atomic_folder)
    wanted = TunedEncoder(Tuning.parse({"objective": "pairs", "sources": ["tiny"]}, "tune"), bert, (source,))
    alone = wanted.request()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert wanted.request() == alone, "a scheduler's word for something else"
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert wanted.request() == {**alone, "processes": 4}


def test_another_runs_unfinished_folder_is_refused(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.recformer import Recformer

    calls, forward = [0], Recformer.forward

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(Recformer, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run(atomic_folder, bert, tmp_path / "tuned", "contrast", checkpoint_steps=2)
    with pytest.raises(TuningError, match=r"tuned\.partial.*other objective and settings"):
        run(atomic_folder, bert, tmp_path / "tuned", "mlm", checkpoint_steps=2)


def test_a_tuning_that_ends_before_its_first_checkpoint_leaves_nothing(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.recformer import Recformer

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recformer, "forward", dies)
    with pytest.raises(KeyboardInterrupt):
        run(atomic_folder, bert, tmp_path / "tuned", "contrast")
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_checkpoint_is_never_gone_on_from(tmp_path: Path) -> None:
    for step, state in ((200, "{}"), (400, '{"half'), (1000, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-200"
    assert last_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize("part", ["optimizer.pt", "model.safetensors"])
def test_a_full_disk_at_a_checkpoint_keeps_the_one_before_and_says_so(
    atomic_folder: Path,
    bert: str,
    tmp_path: Path,
    no_room: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    import safetensors.torch

    settings: dict[str, Any] = {"objective": "contrast", "checkpoint_steps": 2, "held_out": 0}
    run(atomic_folder, bert, tmp_path / "whole", **settings)
    module, name = (torch, "save") if part == "optimizer.pt" else (safetensors.torch, "save_file")
    save, full = getattr(module, name), [True]

    def save_or_fail(content: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        if full and str(path).endswith(f"checkpoint-4/{part}"):
            with no_room(1000):
                return save(content, path, *args, **kwargs)
        return save(content, path, *args, **kwargs)

    monkeypatch.setattr(module, name, save_or_fail)
    with pytest.raises(WriteError, match=r"checkpoint-4 can't be written.*checkpoint-2 is kept.*goes on from there"):
        run(atomic_folder, bert, tmp_path / "tuned", **settings)
    assert [path.name for path in (tmp_path / "tuned.partial" / "checkpoints").iterdir()] == ["checkpoint-2"]
    full.clear()
    run(atomic_folder, bert, tmp_path / "tuned", **settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tuned", "whole"]
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "tuned"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_a_tuned_encoder_that_finds_no_room_is_written_by_the_next_call(
    atomic_folder: Path, bert: str, tmp_path: Path, no_room: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.recformer.encoder import BehaviourEncoder

    save = BehaviourEncoder.save

    def save_on_a_full_disk(*arguments: Any) -> None:
        with no_room(1000):
            save(*arguments)

    settings: dict[str, Any] = {"objective": "contrast", "held_out": 0}
    with monkeypatch.context() as patched:
        patched.setattr(BehaviourEncoder, "save", save_on_a_full_disk)
        with pytest.raises(WriteError, match=r"tuned can't be written.*checkpoint-5 is kept"):
            run(atomic_folder, bert, tmp_path / "tuned", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.partial"]
    run(atomic_folder, bert, tmp_path / "tuned", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]


def test_the_same_request_tunes_the_same_encoder_whatever_the_process_did_before(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"objective": "mlm", "held_out": 0}
    for name in ("first", "second"):
        torch.rand(17)
        run(atomic_folder, bert, tmp_path / name, **settings)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    assert all(torch.equal(second[key], value) for key, value in first.items())


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


# --- torchrun ---


def torchrun(arguments: list[str], processes: int = 2) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    checkout = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [*program, "-m", "recbole_ext", "tune", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": checkout},
    )


def test_two_processes_write_one_folder_and_tune_what_one_does_with_twice_the_batch(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "objective": "pairs",
        "dropout": 0,
        "held_out": 0.2,
        "learning_rate": 1e-3,
        **fast("pairs"),
    }
    options = [part for key, value in {**settings, "batch_size": 4}.items() for part in (f"--{key}", str(value))]
    together = ["tiny", "--data-path", str(atomic_folder), "--encoder", bert, "--out", str(tmp_path / "two"), *options]
    done = torchrun(together)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two"]
    assert len([line for line in done.stdout.splitlines() if "pairs on tiny" in line]) == 1
    assert "Traceback" not in done.stderr and "destroy_process_group" not in done.stderr

    one = run(atomic_folder, bert, tmp_path / "one", **settings).record
    two = json.loads((tmp_path / "two" / "tuning.json").read_text())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert [entry["step"] for entry in one["curve"]] == [entry["step"] for entry in two["curve"]]
    losses = [[entry["loss"] for entry in record["curve"] if "loss" in entry] for record in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    # The rest that fills no batch is filled up in the last batch of two processes, so it has more negatives.
    assert two["held_out_loss"] == pytest.approx(one["held_out_loss"], rel=0.02)
    assert two["tokens_per_second"] * two["seconds"] == pytest.approx(
        one["tokens_per_second"] * one["seconds"], rel=0.1
    )
    before = load_file(Path(bert) / "model.safetensors")
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")}
    change = max(float((before[key] - value).abs().max()) for key, value in weights["one"].items() if key in before)
    difference = max(float((weights["two"][key] - value).abs().max()) for key, value in weights["one"].items())
    assert difference < 0.01 * change

    again = torchrun(together)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("up to date") == 1


def test_two_processes_are_told_of_a_folder_that_tune_did_not_write(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    options = ["--data-path", str(atomic_folder), "--encoder", bert, "--out", str(tmp_path / "mine")]
    done = torchrun(["tiny", *options])
    assert done.returncode != 0
    assert "was not written by `tune`" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


def test_a_folder_that_tune_did_not_write_is_never_touched(atomic_folder: Path, bert: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(TuningError, match="not written by `tune`"):
        run(atomic_folder, bert, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


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


def test_running_out_of_memory_says_which_settings_bound_it_and_no_other_error_does(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.recformer import Recformer

    def allocates_too_much(*_: Any, **__: Any) -> Any:
        return torch.empty(2**60)

    def fails_otherwise(*_: Any, **__: Any) -> Any:
        raise RuntimeError("expected a tensor in shared memory")

    monkeypatch.setattr(Recformer, "forward", allocates_too_much)
    with pytest.raises(TuningError, match="lower batch_size"):
        run(atomic_folder, bert, tmp_path / "tuned")
    monkeypatch.setattr(Recformer, "forward", fails_otherwise)
    with pytest.raises(RuntimeError, match="shared memory"):
        run(atomic_folder, bert, tmp_path / "tuned")


def test_a_decoder_under_recformer_and_a_wrong_setting_are_clear_errors(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match="pooling"):
        run(atomic_folder, tiny_encoders["gpt2"], tmp_path / "t", pooling="last")
    for settings, message in (
        ({"batch_size": "many"}, "tune: batch_size"),
        ({"mlm_weight": -1}, "tune: mlm_weight"),
        ({"temprature": 1}, "tune: temprature: unknown key. Did you mean 'temperature'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            run(atomic_folder, tiny_encoders["bert"], tmp_path / "t", **settings)
    with pytest.raises(ConfigurationError, match="objective: there is no 'magic'. There are recformer, contrast"):
        tune([], "minilm", tmp_path / "t", "magic")
    with pytest.raises(ConfigurationError, match="sources: name the datasets"):
        tune([], "minilm", tmp_path / "t")


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


def test_bfloat16_tunes_on_a_cpu_and_dropout_goes_into_the_folder(
    atomic_folder: Path, bert: str, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    report = run(atomic_folder, bert, tmp_path / "out", precision="bfloat16", dropout=0)
    losses = [entry["loss"] for entry in report.record["curve"] if "loss" in entry]
    assert report.record["settings"]["dropout"] == 0 and losses and np.isfinite(losses).all()
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0


# --- LoRA ---


@pytest.mark.parametrize("objective", ["pairs", "recformer", "next-title"])
def test_lora_leaves_a_whole_encoder_that_differs_in_its_linear_layers_alone(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path, objective: str
) -> None:
    from transformers import AutoModel

    encoder = encoder_for(objective, tiny_encoders)
    report = run(atomic_folder, encoder, tmp_path / "tuned", objective, lora_rank=2, learning_rate=1e-2)
    assert report.record["settings"]["lora_rank"] == 2
    before, after = (dict(AutoModel.from_pretrained(path).named_parameters()) for path in (encoder, tmp_path / "tuned"))
    added = "token_type_embeddings"  # of recformer, tuned whole
    before = {name: value for name, value in before.items() if "pooler" not in name and added not in name}
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed and all(before[name].dim() == 2 and "embed" not in name and "wte" not in name for name in changed)
    if objective == "recformer":
        positions = load_file(tmp_path / "tuned" / "model.safetensors")["embeddings.item_position_embeddings.weight"]
        assert positions.abs().max() > 0
    for name in changed:
        rank = torch.linalg.matrix_rank((after[name] - before[name]).float(), rtol=1e-4)
        assert 0 < rank <= 2, name
    encode(atomic_folder, tmp_path / "tuned", tmp_path / "store")
    assert ItemEmbeddingStore.load(tmp_path / "store").embeddings.isfinite().all()


def test_lora_reaches_a_longformer_s_layers_but_those_that_are_read_past_their_module(
    atomic_folder: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    run(atomic_folder, tiny_encoders["longformer"], tmp_path / "tuned", lora_rank=2, learning_rate=1e-2)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_encoders["longformer"], tmp_path / "tuned")
    )
    changed = {name for name, value in before.items() if "layer" in name and not torch.equal(after[name], value)}
    assert any("attention.self.query.weight" in name for name in changed)
    assert not any("key_global" in name or "value_global" in name for name in changed)


def test_an_interrupted_lora_tuning_goes_on_to_the_same_end(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.tuning.objectives.pairs import Pairs

    settings: dict[str, Any] = {"objective": "pairs", "lora_rank": 2, "hard_negatives": 1}
    settings |= {"checkpoint_steps": 3, "held_out": 0.2, "patience": 5}
    run(atomic_folder, bert, tmp_path / "whole", **settings)
    calls, forward = [0], Pairs.forward

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == 8:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Pairs, "forward", dies)
        with pytest.raises(KeyboardInterrupt):
            run(atomic_folder, bert, tmp_path / "broken", **settings)
    run(atomic_folder, bert, tmp_path / "broken", **settings)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_rank": 2, "freeze_words": False}, "lora_rank: the word embeddings stay as they are"),
        ({"lora_alpha": 2}, "lora_alpha: says nothing without lora_rank"),
        ({"lora_rank": 0}, "lora_rank: at least 1 is needed"),
        ({"source_temperature": 0.5}, "source_temperature"),
        ({"source_temperature": float("inf")}, "source_temperature"),
        ({"evaluate_every": 0}, "evaluate_every"),
        ({"hard_negatives": -1}, "hard_negatives"),
        ({"hard_negatives": 31}, "hard_negatives: at most 30 is needed; got 31"),
        ({"learning_rate": 1000}, "learning_rate: at most 1 is needed; got 1000"),
        ({"weight_decay": float("inf")}, "weight_decay: a finite number is needed; got inf"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(
    atomic_folder: Path, bert: str, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"tune: {message}"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", **settings)


def test_without_peft_lora_says_what_to_install(
    atomic_folder: Path, bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EncoderError, match="lora_rank: .* pip install peft"):
        run(atomic_folder, bert, tmp_path / "out", "pairs", lora_rank=2)


# --- mixed sources ---


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
