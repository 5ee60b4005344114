"""Tunings that ended early: what is kept, and that going on ends where an undisturbed one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tunings import run

from recbole_ext.claims import claim
from recbole_ext.errors import TuningError, WriteError
from recbole_ext.tuning import TuneReport
from recbole_ext.tuning.unfinished import last_checkpoint, unfinished


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


@pytest.mark.parametrize("content", ['{"identity": ', "[]", '{"identity": "a", "request": 3}', "{}"])
def test_an_unfinished_folder_that_does_not_say_what_it_holds_is_named_and_left_as_it_is(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "request.json").write_text(content, encoding="utf-8")
    with (
        pytest.raises(TuningError, match=r"request\.json is damaged.*remove that folder"),
        unfinished(tmp_path, "a", {"objective": "pairs"}),
    ):
        pass
    assert (tmp_path / "request.json").read_text(encoding="utf-8") == content


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
