"""Versions, device, what works and what does not, in words."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recbole_ext.errors import InstallationError, RecboleExtError
from recbole_ext.installation import gpu_trouble, installed, unsupported_machine


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it works, and what was found, with the way out where it doesn't."""

    what: str
    works: bool
    words: str
    is_absent: bool = False
    """What few need is not there; nothing is wrong."""

    def __str__(self) -> str:
        return f"{'–   ' if self.is_absent else 'ok  ' if self.works else 'FAIL'} {self.what}: {self.words}"


def examine() -> list[Finding]:
    """Look at everything a benchmark needs; never raises."""
    return [_machine(), *_packages(), *(_attempt(what, check) for what, check in CHECKS.items())]


def _attempt(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except RecboleExtError as error:
        return Finding(what, False, str(error))
    except Exception as error:  # whatever is broken here is what the user wants to read
        return Finding(what, False, f"{type(error).__name__}: {error}")


def _machine() -> Finding:
    wrong = unsupported_machine()
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", wrong is None, wrong or here)


def _packages() -> list[Finding]:
    """RecBole and every requirement of this package, and what some files and options need beside them."""
    required = [Finding(package.requirement.name, package.fits, str(package)) for package in installed()]
    for name, use in OPTIONAL.items():
        try:
            required.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            required.append(Finding(name, True, f"not installed; for {use} type: pip install {name}", is_absent=True))
    return required


def _device() -> str:
    import torch

    from recbole_ext.machine import cores

    trouble = gpu_trouble()
    if trouble is None:
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"{len(names)} GPU: {', '.join(names)}"
    if shutil.which("nvidia-smi"):
        raise InstallationError(trouble)
    return f"no GPU; {torch.get_num_threads()} CPU threads of {cores()} cores"


def _recbole() -> str:
    """Train one step, save, evaluate the checkpoint, resume from it: what broke with newer dependencies."""
    from recbole_ext.runs.trial import try_recbole

    with tempfile.TemporaryDirectory() as folder:
        metric = try_recbole(Path(folder))
    return f"SASRec trains, evaluates its best checkpoint and resumes from it (trial NDCG@10 {metric:.3f})"


def _packaged_encoder() -> str:
    from recbole_ext.encoding import resolve_encoder

    source = resolve_encoder("minilm")
    return f"all-MiniLM-L6-v2 is installed and its weights have the known SHA-256 {source.sha256}"


def _writing() -> str:
    here = Path.cwd()
    with tempfile.NamedTemporaryFile(dir=here):
        pass
    return f"results can be written below {here.name}/"


OPTIONAL = {
    "pyarrow": "parquet files",
    "ray": "executor: ray",
    "peft": "LoRA adapters",
    "gguf": "encoders in GGUF files",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
}
"""Packages that are not among the requirements, and what needs them."""
CHECKS: dict[str, Callable[[], str]] = {
    "device": _device,
    "RecBole": _recbole,
    "packaged encoder": _packaged_encoder,
    "working folder": _writing,
}
