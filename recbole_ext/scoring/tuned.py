"""What the behaviour tunings behind a source of vectors cost, as the folders of the tuned encoders record it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from recbole_ext.data.dataset import Dataset
from recbole_ext.records.card import TuningCost
from recbole_ext.tuning.stage import read_record
from recbole_ext.vectors import VectorSource
from recbole_ext.vectors.encoder import Encoder


def tunings_of(source: VectorSource | None, datasets: Iterable[Dataset], artifacts: Path) -> list[TuningCost]:
    """Each tuning once, an encoder's earlier steps before its later ones; none where nothing was tuned here."""
    folders = {folder: None for dataset in datasets for folder in _folders(source, dataset, artifacts)}
    return [cost for folder in folders if (cost := _cost(folder)) is not None]


def _folders(source: VectorSource | None, dataset: Dataset, artifacts: Path) -> Iterator[Path]:
    """Of the tuned encoders in ``source``, made on the way or before."""
    if source is None:
        return
    for part in source.parts():
        yield from _folders(part, dataset, artifacts)
    if isinstance(source, Encoder):
        yield from _with_earlier(Path(source.encoder).expanduser())
        for number in range(source.tuning_seeds()):
            tune = source.with_seed(number).tune
            if tune is not None:
                yield from (step.folder(artifacts) for step in tune.of(source.encoder, dataset).steps)


def _with_earlier(folder: Path) -> Iterator[Path]:
    """A tuned encoder's folder, after that of the tuned encoder which it was made of."""
    record = read_record(folder)
    if record is not None:
        earlier = Path(str(record.get("encoder"))).expanduser()
        if earlier != folder:
            yield from _with_earlier(earlier)
        yield folder


def _cost(folder: Path) -> TuningCost | None:
    record = read_record(folder)
    if record is None:
        return None
    try:
        return TuningCost.model_validate({key: record.get(key) for key in TuningCost.model_fields})
    except ValidationError:  # of an earlier version, which recorded less
        return None
