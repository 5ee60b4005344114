"""The road through the house goes one way: no part of the package imports what comes after it."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "recbole_ext"


def arrows() -> dict[str, set[str]]:
    """Part of the package (a folder, or a file at its top): the parts that it imports, also inside functions."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif names == ["recbole_ext"] and isinstance(node, ast.ImportFrom):
                names = [f"recbole_ext.{alias.name}" for alias in node.names if alias.name != "__version__"]
            for name in names:
                pieces = (name or "").split(".")
                if pieces[0] == "recbole_ext" and len(pieces) > 1 and pieces[1] != part:
                    found[part].add(pieces[1])
    return found


def test_no_arrow_between_the_packages_parts_runs_back() -> None:
    # The package's front and its own file of lazily loaded names point everywhere.
    graph = {part: targets for part, targets in arrows().items() if part != "__init__"}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(f"these parts import each other in a ring: {' <- '.join(error.args[1])}") from error


if __name__ == "__main__":
    for part, targets in sorted(arrows().items()):
        sys.stdout.write(f"{part:12} -> {', '.join(sorted(targets))}\n")
