"""What the doctor looks at, and that it says what is wrong instead of failing itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from recbole_ext import doctor
from recbole_ext.errors import EncoderError
from recbole_ext.installation import RECBOLE, Installed


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


def test_every_requirement_is_among_the_findings(no_checks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = Installed(Requirement("numpy>=1.26"), "1.24.4")
    monkeypatch.setattr(doctor, "installed", lambda: [Installed(RECBOLE, "1.2.1"), numpy])
    assert finding("recbole") == doctor.Finding("recbole", True, "1.2.1")
    assert not finding("numpy").works
    assert finding("numpy").words == "1.24.4 does not work here; type: pip install 'numpy>=1.26'"


def test_what_few_need_is_named_with_its_use_and_is_no_failure_where_it_is_not_there(
    no_checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-package": "parquet files", "numpy": "all"})
    absent = finding("no-such-package")
    assert absent.works and str(absent).startswith("–    no-such-package: not installed; for parquet files type: pip")
    assert str(doctor.examine()[-1]).startswith("ok   numpy: ")


def test_an_unsupported_machine_is_a_finding(no_checks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "unsupported_machine", lambda: "Windows is not supported")
    assert finding("Python") == doctor.Finding("Python", False, "Windows is not supported")


@pytest.mark.parametrize(("cuda", "words"), [(None, "is a build for the CPU"), ("13.0", "needs a newer driver")])
def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch, cuda: str | None, words: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "CHECKS", {"device": doctor.CHECKS["device"]})
    assert not finding("device").works
    assert words in finding("device").words


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
