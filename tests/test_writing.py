"""Files and folders are whole or absent, whatever interrupts the writing."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from recbole_ext.errors import WriteError
from recbole_ext.writing import replacing_file, replacing_folder, write_json, write_png

Replacing = Callable[[Path], AbstractContextManager[Path]]


def fill(path: Path, text: str) -> None:
    (path / "part" if path.is_dir() else path).write_text(text)


def content(path: Path) -> str:
    return (path / "part" if path.is_dir() else path).read_text()


@pytest.fixture(params=[replacing_file, replacing_folder])
def replacing(request: pytest.FixtureRequest) -> Replacing:
    return request.param


def test_the_target_appears_at_the_end_alone(tmp_path: Path, replacing: Replacing) -> None:
    target = tmp_path / "made" / "on the way" / "target"
    with replacing(target) as temporary:
        fill(temporary, "new")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert content(target) == "new"
    assert list(target.parent.iterdir()) == [target]


def test_an_old_target_is_replaced_whole(tmp_path: Path, replacing: Replacing) -> None:
    target = tmp_path / "target"
    for text in ("old", "new"):
        with replacing(target) as temporary:
            fill(temporary, text)
    assert content(target) == "new"
    assert list(tmp_path.iterdir()) == [target]


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "expected"), [(FULL, WriteError), (KeyboardInterrupt(), KeyboardInterrupt), (ValueError(), ValueError)]
)
def test_an_error_leaves_what_was_there(
    tmp_path: Path, replacing: Replacing, error: BaseException, expected: type[BaseException]
) -> None:
    target = tmp_path / "target"
    with replacing(target) as temporary:
        fill(temporary, "old")
    with pytest.raises(expected), replacing(target) as temporary:
        fill(temporary, "half")
        raise error
    assert content(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


def write_tensors(path: Path) -> None:
    save_file({"a": torch.zeros(100_000)}, path)


def write_checkpoint(path: Path) -> None:
    torch.save({"a": torch.zeros(100_000)}, path)


def write_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(100_000))


def write_text(path: Path) -> None:
    path.write_text("x" * 400_000)


def write_picture(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="png")


WRITERS = [write_tensors, write_checkpoint, write_array, write_text, write_picture]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_one_error_whoever_writes_and_leaves_what_was_there(
    tmp_path: Path, no_room: Callable[..., Any], write: Callable[[Path], None]
) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    message = f"^{target} can't be written: .*Nothing half-written was left"
    with pytest.raises(WriteError, match=message), no_room(50_000), replacing_file(target) as temporary:
        write(temporary)
    assert content(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("write", WRITERS)
def test_on_a_disk_without_room_the_same_holds(
    small_disk: Callable[[int], Path], write: Callable[[Path], None]
) -> None:
    disk = small_disk(100)
    with replacing_file(disk / "target") as temporary:
        temporary.write_text("old")
    for target in (disk / "target", disk / "folder"):
        with pytest.raises(WriteError), replacing_file(target) as temporary:
            write(temporary)
    with pytest.raises(WriteError, match="folder can't be written"), replacing_folder(disk / "folder") as temporary:
        write(temporary / "part")
    assert content(disk / "target") == "old"
    assert list(disk.iterdir()) == [disk / "target"]


def test_the_error_names_the_target_and_no_temporary_name(tmp_path: Path) -> None:
    with pytest.raises(WriteError) as caught, replacing_folder(tmp_path / "store"), replacing_file(tmp_path / "x"):
        raise FULL
    assert str(caught.value).startswith(f"{tmp_path / 'store'} can't be written: No space left on device.")
    assert "tmp." not in str(pickle.loads(pickle.dumps(caught.value)))  # as a process pool or Ray hands it over


def test_a_folder_that_cannot_be_made_is_told_by_its_name(tmp_path: Path, replacing: Replacing) -> None:
    (tmp_path / "file").write_text("no folder")
    message = r"target can't be written: (Not a directory|File exists)"
    with pytest.raises(WriteError, match=message), replacing(tmp_path / "file" / "deeper" / "target"):
        raise AssertionError("there is nothing to write to")


def test_a_file_elsewhere_that_cannot_be_read_is_no_failed_write(tmp_path: Path, replacing: Replacing) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "folder" / "target"):
        (tmp_path / "source").read_text()
    with pytest.raises(RuntimeError), replacing(tmp_path / "target"):
        raise RuntimeError("out of luck")


def test_an_old_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    with replacing_folder(target) as temporary:
        fill(temporary, "old")
    replace = Path.replace

    def fails(self: Path, to: Path) -> Path:
        if self.suffix == ".tmp":
            raise FULL
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(WriteError), replacing_folder(target) as temporary:
        fill(temporary, "new")
    assert content(target) == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("existed", [True, False])
def test_a_kill_leaves_what_was_there(tmp_path: Path, replacing: Replacing, existed: bool) -> None:
    target = tmp_path / "target"
    if existed:
        with replacing(target) as temporary:
            fill(temporary, "old")
    code = (
        "import os, sys; from pathlib import Path; from recbole_ext import writing\n"
        f"with writing.{replacing.__name__}(Path(sys.argv[1])) as temporary:\n"
        "    (temporary / 'part' if temporary.is_dir() else temporary).write_text('half')\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (content(target) if target.exists() else None) == ("old" if existed else None)


@pytest.mark.parametrize(
    ("umask", "of_file", "of_folder"), [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775), (0o077, 0o600, 0o700)]
)
def test_who_may_read_and_write_what_is_written_is_the_umasks_to_say(
    tmp_path: Path, umask: int, of_file: int, of_folder: int
) -> None:
    before = os.umask(umask)
    try:
        write_json(tmp_path / "file", {})
        with replacing_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == of_file
    assert (tmp_path / "folder").stat().st_mode & 0o777 == of_folder


@pytest.mark.parametrize("existed", [True, False])
def test_what_a_symbolic_link_points_to_is_written_and_the_link_stays(
    tmp_path: Path, replacing: Replacing, existed: bool
) -> None:
    link, target = tmp_path / "here" / "link", tmp_path / "there" / "target"
    link.parent.mkdir()
    if existed:
        with replacing(target) as temporary:
            fill(temporary, "old")
    link.symlink_to(target)
    with replacing(link) as temporary:
        fill(temporary, "new")
    assert link.is_symlink() and content(target) == "new"
    assert list(link.parent.iterdir()) == [link] and list(target.parent.iterdir()) == [target]


def test_a_failed_write_through_a_symbolic_link_names_what_it_points_to(tmp_path: Path, replacing: Replacing) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "link").symlink_to(tmp_path / "file" / "target")
    with pytest.raises(WriteError, match="file/target can't be written"), replacing(tmp_path / "link"):
        raise AssertionError("there is nothing to write to")


def test_json_is_readable_and_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    write_json(target, {"title": "Zoë’s “café”", "values": [1, 2.5, None]})
    assert json.loads(target.read_text(encoding="utf-8")) == {"title": "Zoë’s “café”", "values": [1, 2.5, None]}
    assert "Zoë’s “café”" in target.read_text(encoding="utf-8")
    assert target.read_text().endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_is_no_json_leaves_the_old_file(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "x.json", "old")
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", {"loss": value})
    assert json.loads((tmp_path / "x.json").read_text()) == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]


def test_a_figure_is_written_with_a_palette_on_white_and_looks_the_same(tmp_path: Path) -> None:
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    for colour in ("C0", "C1", "C2"):
        axes.plot([0, 1], [0, int(colour[1])], colour)
    figure.savefig(tmp_path / "true.png", dpi=80)
    with matplotlib.rc_context({"savefig.facecolor": "none"}):  # whatever the user's own style is
        write_png(tmp_path / "palette.png", figure, dpi=80)
    drawn, true = (Image.open(tmp_path / name) for name in ("palette.png", "true.png"))
    assert (drawn.mode, drawn.size) == ("P", true.size)
    assert np.abs(np.asarray(drawn.convert("RGB"), int) - np.asarray(true.convert("RGB"), int)).max() <= 16
    assert (tmp_path / "palette.png").stat().st_size < 0.6 * (tmp_path / "true.png").stat().st_size
