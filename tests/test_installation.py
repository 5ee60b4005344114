"""What must be installed, and the line to type where it is not."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import recbole_ext
from recbole_ext import installation
from recbole_ext.cli import main
from recbole_ext.errors import InstallationError

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    installation.require_installation.cache_clear()
    yield
    installation.require_installation.cache_clear()


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, and ``pyproject.toml``'s requirements as what is required."""
    found = {Requirement(line).name: "999" for line in PROJECT["dependencies"]} | {"recbole": "1.2.1"}

    def version(name: str) -> str:
        if name in found:
            return found[name]
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "version", version)
    monkeypatch.setattr(installation, "requires", lambda name: PROJECT["dependencies"])
    return found


def test_everything_that_is_needed_is_enough(versions: dict[str, str]) -> None:
    installation.require_installation()


@pytest.mark.parametrize(("found", "said"), [(None, "not installed"), ("1.2.0", "1.2.0 does not work here")])
@pytest.mark.parametrize("road", ["a command", "an import"])
def test_without_the_right_recbole_the_line_to_type_is_said(
    versions: dict[str, str], capsys: pytest.CaptureFixture[str], road: str, found: str | None, said: str
) -> None:
    del versions["recbole"]
    versions |= {"recbole": found} if found else {}
    line = f"recbole: {said}; type: pip install --no-deps recbole==1.2.1"
    if road == "a command":
        assert main(["run"]) == 2
        assert capsys.readouterr().err == f"recbole-ext: {line}\n"
    else:
        with pytest.raises(InstallationError) as told:
            recbole_ext.attach_item_embedding  # noqa: B018
        assert str(told.value) == line


def test_an_old_numpy_that_another_install_pulled_back_is_said(
    versions: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    versions["numpy"] = "1.24.4"
    assert main(["encode", "ml-100k", "--out", "store"]) == 2
    assert "numpy: 1.24.4 does not work here; type: pip install 'numpy>=1.26'" in capsys.readouterr().err


def test_the_doctor_speaks_where_nothing_else_does(
    versions: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    del versions["recbole"]
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "FAIL recbole: not installed; type: pip install --no-deps recbole==1.2.1" in said
    assert "ok   device" in said


def test_what_extras_need_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "requires", lambda name: ["numpy>=1.26", "nothing; extra == 'test'"])
    assert [package.requirement.name for package in installation.installed()] == ["recbole", "numpy"]


@pytest.mark.parametrize("version", ["3.10.13", "3.15.0"])
def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(installation.platform, "python_version", lambda: version)
    with pytest.raises(InstallationError, match=f"Python {version} is not supported; take one of 3.11"):
        installation.require_installation()


def test_windows_is_refused_with_what_works_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.platform, "system", lambda: "Windows")
    with pytest.raises(InstallationError, match="WSL 2"):
        installation.require_installation()


HIDDEN = """
import platform, sys

class Hides:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hides())
for name in ("fcntl", "resource"):
    sys.modules.pop(name, None)
platform.system = lambda: "Windows"
import recbole_ext.claims
from recbole_ext.cli import main
sys.exit(main(["run"]))
"""


def test_on_windows_which_lacks_modules_of_unix_a_command_still_says_what_works_there() -> None:
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "recbole-ext: Windows is not supported; install this in WSL 2, which is Linux.\n"


def test_the_pythons_are_those_that_pip_lets_in() -> None:
    assert SpecifierSet(PROJECT["requires-python"]) == installation.PYTHON


def test_nothing_that_may_be_missing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, recbole_ext.installation; print(sorted({'numpy', 'torch', 'recbole'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["README.md", "Makefile", ".ci/run"])
def test_recbole_is_installed_by_one_line_everywhere(name: str) -> None:
    text = (Path(__file__).resolve().parents[1] / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "recbole==" in line]
    assert lines and all(f"--no-deps {installation.RECBOLE}" in line for line in lines)
