"""Under the protocol ``temporal``: what vectors and encoders that are there already say about what they learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recbole_ext.data.cuts import read_until
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.temporal import in_words
from recbole_ext.errors import ConfigurationError
from recbole_ext.tuning.stage import read_record

Settings = dict[str, Any]


def refuse_later(what: str, made_of: Any, of: str, target: Dataset) -> None:
    """See that interactions which ``made_of`` names are all earlier than where ``target`` is cut, if it is.

    Args:
        what: what was made of them, for the error.
        made_of: a request of vectors, or what :func:`tuned_on` returns; says nothing where nothing is known.
        of: the dataset whose vectors they are.

    Raises:
        ConfigurationError: some were read without this cut.
    """
    for name, histories in _behaviour(made_of, of):
        cut = target.cut()
        if cut is None:
            return
        until = read_until(name, histories, target)
        if until is None or until > cut.valid:
            read = "of all times" if until is None else f"until time {in_words(until)}"
            raise ConfigurationError(
                f"{what} was made of interactions of {name} {read}, and {target.name} under the protocol temporal "
                f"trains on nothing from time {in_words(cut.valid)} on. Give what it was made from, which is then cut "
                "there: the encoder with `tune:`, or a source such as `cooccurrence:`."
            )


def tuned_on(folder: Path) -> Settings:
    """What ``tuning.json`` says that an encoder in ``folder`` was tuned on, in this step and those before it; nothing
    where no such file is."""
    record = read_record(folder)
    if record is None:
        return {}
    before, earlier = record.get("encoder_identity"), Path(str(record.get("encoder"))).expanduser()
    if not isinstance(before, Mapping) and earlier != folder:
        before = tuned_on(earlier)
    return {"sources": record.get("source_requests"), "encoder": before}


def _behaviour(made_of: Any, of: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each dataset whose interactions were read, with its request of histories."""
    if isinstance(made_of, list):
        for part in made_of:
            yield from _behaviour(part, of)
    elif isinstance(made_of, Mapping):
        for key, value in made_of.items():
            if key == "histories":
                yield of, value
            elif key == "sources" and isinstance(value, Mapping):
                for name, read in value.items():
                    yield from _behaviour(read, name)
            else:
                yield from _behaviour(value, of)
