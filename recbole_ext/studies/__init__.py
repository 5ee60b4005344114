"""The paper's analyses of what a language model contributes, each a command: ``recbole-ext study NAME``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_ext.report.studies import Study

STUDIES = {
    "attention": "recbole_ext.studies.attention",
    "redundancy": "recbole_ext.studies.redundancy",
    "layers": "recbole_ext.studies.grid",
    "freezing": "recbole_ext.studies.grid",
    "objectives": "recbole_ext.studies.grid",
    "data-amount": "recbole_ext.studies.grid",
    "long-sequences": "recbole_ext.studies.grid",
    "efficiency": "recbole_ext.studies.efficiency",
    "cold-start": "recbole_ext.studies.cold_start",
}
"""Name: module, which has a ``Settings`` class and ``run(settings, command) -> Findings``; where it runs a benchmark,
also ``plan(settings) -> lines``."""


def plan_study(name: str, file: Path | None, overrides: dict[str, Any]) -> list[str]:
    """What :func:`run_study` would compute, step by step, in lines; runs nothing.

    Raises:
        ConfigurationError: the study's YAML or an override says something unknown, or the study has no plan.
    """
    from recbole_ext.errors import ConfigurationError
    from recbole_ext.studies.settings import read_settings

    module = import_module(STUDIES[name])
    settings = read_settings(module.Settings, name, file, overrides)
    if not hasattr(module, "plan"):
        raise ConfigurationError(f"--plan: study {name} runs no benchmark; it takes minutes, so just call it.")
    lines: list[str] = module.plan(settings)
    return lines


def run_study(name: str, file: Path | None, overrides: dict[str, Any], out: Path, command: str) -> Study:
    """Run a study and write ``out/NAME`` (:func:`recbole_ext.studies.written.write_findings`), and the page above it.

    Args:
        overrides: what of the study's settings the call sets; of a study that runs a benchmark also keys of that.
        out: the folder of all studies; the page beside it lists them if it is called ``studies``.
        command: what makes the study again.

    Raises:
        ConfigurationError: the study's YAML or an override says something unknown, or the study was made there with
            other settings; names the key.
    """
    from recbole_ext.report.index import STUDIES as FOLDER
    from recbole_ext.report.index import write_index
    from recbole_ext.report.studies import load_study
    from recbole_ext.studies.settings import read_settings
    from recbole_ext.studies.written import refuse_other_settings, write_findings

    module = import_module(STUDIES[name])
    settings = read_settings(module.Settings, name, file, overrides)
    refuse_other_settings(settings, out / name)
    folder = write_findings(module.run(settings, command), name, settings, out / name, command)
    if out.name == FOLDER:
        write_index(out.absolute().parent)
    return load_study(folder)
