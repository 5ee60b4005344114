"""A benchmark on the made-up dataset ``tiny`` whose runs kept their checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recbole_ext.records import Grid, RunRecord, record_path

OLD_ITEMS = [f"i{item}" for item in range(60)]
NEW_ITEMS = ["n0", "n1", "n2"]
KEYS = {
    "models": {
        "SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1},
        "BPR": {"embedding_size": 16},
        "Pop": {},
        "FPMC": {"embedding_size": 16},
        "BERT4Rec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1},
    },
    "grids": {
        "BPR": {"initialisations": ["random"]},
        "Pop": {"initialisations": ["random"]},
        "FPMC": {"initialisations": ["random"]},
        "BERT4Rec": {"initialisations": ["random"]},
    },
    "keep_checkpoints": True,
}


def begin_in_turn(data: Path) -> None:
    """Let the users of ``tiny`` begin one after the other, so that a cut in time finds some of them at each stage."""
    file = data / "tiny" / "tiny.inter"
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    cells = [row.split("\t") for row in rows]
    later = [f"{user}\t{item}\t{60 * int(user[1:]) + 25 * int(place)}" for user, item, place in cells]
    file.write_text("\n".join([header, *later]) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Finished:
    """A benchmark that has run.

    Attributes:
        file: its YAML.
        folder: its results.
        store: vectors of its items and of ``NEW_ITEMS``, which it has not.
    """

    file: Path
    folder: Path
    store: Path

    def record(self, model: str = "SASRec", variant: str = "random") -> RunRecord:
        (row,) = [row for row in Grid.read(self.folder).rows if (row.model, row.variant) == (model, variant)]
        return RunRecord.read(record_path(self.folder, row.runs[0]))

    def run(self, model: str = "SASRec", variant: str = "random") -> Path:
        """The path of a run's record."""
        return record_path(self.folder, self.record(model, variant).run)
