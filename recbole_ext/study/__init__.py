"""The paper's analyses of what a language model contributes, each a command: ``recbole-ext study NAME``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

STUDIES = {
    "attention": "recbole_ext.study.attention",
    "redundancy": "recbole_ext.study.redundancy",
    "layers": "recbole_ext.study.grid",
    "freezing": "recbole_ext.study.grid",
    "objectives": "recbole_ext.study.grid",
    "data-amount": "recbole_ext.study.grid",
    "long-sequences": "recbole_ext.study.grid",
    "efficiency": "recbole_ext.study.efficiency",
    "cold-start": "recbole_ext.study.cold_start",
}
"""Name: module, which has a ``Settings`` model and ``run(settings) -> Findings``."""


def run_study(name: str, file: Path | None, overrides: dict[str, Any], out: Path, command: str) -> Path:
    """Run a study and write ``out/NAME``. See :func:`recbole_ext.study.written.write_findings`.

    Raises:
        ConfigurationError: no such study, or its YAML says something unknown; names the key.
    """
    from recbole_ext.study.settings import read_settings
    from recbole_ext.study.written import write_findings

    module = import_module(STUDIES[name])
    settings = read_settings(module.Settings, name, file, overrides)
    return write_findings(module.run(settings), name, settings, out / name, command)
