"""Print a pip constraint for every requirement of ``pyproject.toml``: the lowest version that it allows.

torch is left out: ``.ci/run`` chooses it by what there is to download.
"""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["ray"]]:
    name, _, lowest = requirement.partition(">=")
    if name != "torch":
        print(f"{name}=={lowest}")
