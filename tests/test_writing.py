"""Files and folders are whole or absent, whatever interrupts the writing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_an_error_leaves_what_was_there(tmp_path: Path, replacing: Replacing, error: BaseException) -> None:
    target = tmp_path / "target"
    with replacing(target) as temporary:
        fill(temporary, "old")
    with pytest.raises(type(error)), replacing(target) as temporary:
        fill(temporary, "half")
        raise error
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


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {})
    with replacing_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


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
