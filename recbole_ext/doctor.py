"""Versions, device, what works and what does not, in words."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from recbole_ext.errors import RecboleExtError


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it works, and what was found, with the way out where it doesn't."""

    what: str
    works: bool
    words: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.works else 'FAIL'} {self.what}: {self.words}"


def examine() -> list[Finding]:
    """Look at everything a benchmark needs; never raises."""
    return [_python(), *_packages(), *(_attempt(what, check) for what, check in CHECKS.items())]


def _attempt(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except RecboleExtError as error:
        return Finding(what, False, str(error))
    except Exception as error:  # whatever is broken here is what the user wants to read
        return Finding(what, False, f"{type(error).__name__}: {error}")


def _python() -> Finding:
    supported = platform.python_version_tuple()[:2] in (("3", "10"), ("3", "11"))
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not supported:
        words += "; RecBole 1.2.1 needs 3.10 or 3.11 (ray <= 2.6.3 has no wheel for later ones)"
    return Finding("Python", supported, words)


def _packages() -> list[Finding]:
    """Every installed requirement of this package against the range that is known to work."""
    findings = []
    try:
        requirements = requires("recbole-ext") or []
    except PackageNotFoundError:
        return [Finding("recbole-ext", False, "not installed: pip install -e . in its checkout")]
    for line in requirements:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            findings.append(Finding(requirement.name, False, f"not installed: pip install '{requirement}'"))
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        words = found if fits else f"{found} does not work here: pip install '{requirement}'"
        findings.append(Finding(requirement.name, fits, words))
    return findings


def _device() -> str:
    import torch

    from recbole_ext.run.machine import cores

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"{len(names)} GPU: {', '.join(names)}"
    return f"no GPU; {torch.get_num_threads()} CPU threads of {cores()} cores"


def _recbole() -> str:
    """Train one step, save, evaluate the checkpoint, resume from it: what broke with newer dependencies."""
    from recbole_ext.run.trial import try_recbole

    with tempfile.TemporaryDirectory() as folder:
        metric = try_recbole(Path(folder))
    return f"SASRec trains, evaluates its best checkpoint and resumes from it (trial NDCG@10 {metric:.3f})"


def _packaged_encoder() -> str:
    from recbole_ext.encode import resolve_encoder

    source = resolve_encoder("minilm")
    return f"all-MiniLM-L6-v2 is installed and its weights have the known SHA-256 {source.sha256}"


def _writing() -> str:
    here = Path.cwd()
    with tempfile.NamedTemporaryFile(dir=here):
        pass
    return f"results can be written below {here.name}/"


CHECKS: dict[str, Callable[[], str]] = {
    "device": _device,
    "RecBole": _recbole,
    "packaged encoder": _packaged_encoder,
    "working folder": _writing,
}
