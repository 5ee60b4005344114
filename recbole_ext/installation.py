"""What has to be installed beside this package, and the one line to type where something isn't."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from recbole_ext.errors import InstallationError

PYTHON = SpecifierSet(">=3.11,<3.15")
"""As in ``pyproject.toml``, by which pip refuses other Pythons before it installs anything."""

RECBOLE = Requirement("recbole==1.2.1")
"""Not among this package's requirements: its pins fit no Python from 3.12 on, so it comes without them."""


@dataclass(frozen=True)
class Installed:
    """A requirement and what was found of it."""

    requirement: Requirement
    found: str | None
    """The installed version; ``None`` where there is none."""

    @property
    def fits(self) -> bool:
        return self.found is not None and self.requirement.specifier.contains(self.found, prereleases=True)

    def __str__(self) -> str:
        """The version, or what is wrong with it and the line that mends it (under uv: ``uv pip``)."""
        if self.fits:
            return str(self.found)
        line = f"pip install '{self.requirement}'"
        if self.requirement is RECBOLE:
            line = f"pip install --no-deps {RECBOLE}"
        return f"{f'{self.found} does not work here' if self.found else 'not installed'}; type: {line}"


def installed() -> list[Installed]:
    """RecBole and every requirement of this package, extras left out.

    Of a copy of this package that was never installed nothing but RecBole is known.
    """
    try:
        lines = requires("recbole-ext") or []
    except PackageNotFoundError:
        lines = []
    ours = [Requirement(line) for line in lines]
    return [
        Installed(requirement, _version(requirement.name))
        for requirement in (RECBOLE, *ours)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def unsupported_machine() -> str | None:
    """What is wrong with this Python or system, in words; ``None`` where nothing is."""
    if platform.python_version() not in PYTHON:
        return f"Python {platform.python_version()} is not supported; take one of 3.11, 3.12, 3.13 and 3.14."
    if platform.system() == "Windows":
        return "Windows is not supported; install this in WSL 2, which is Linux."
    return None


@cache
def require_installation() -> None:
    """See that everything that a command needs is there, once per process.

    Raises:
        InstallationError: this Python or system is not supported, RecBole is missing or of another version, or a
            package is missing or too old; names the line to type.
    """
    machine = unsupported_machine()
    wrong = [f"{package.requirement.name}: {package}" for package in installed() if not package.fits]
    if machine or wrong:
        raise InstallationError("\n".join([machine] if machine else wrong))


def gpu_trouble() -> str | None:
    """Why torch can't use a GPU here, with the line to type where one helps; ``None`` where it can."""
    import torch

    if torch.cuda.is_available():
        return None
    if not shutil.which("nvidia-smi"):
        return "torch finds no GPU here"
    if torch.version.cuda is None:
        return (
            f"there is an NVIDIA GPU, but torch {torch.__version__} is a build for the CPU; "
            "type: pip install --force-reinstall torch"
        )
    return (
        f"there is an NVIDIA GPU, but torch {torch.__version__} can't use it: its CUDA {torch.version.cuda} needs a "
        "newer driver, or take a torch for an older CUDA"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
