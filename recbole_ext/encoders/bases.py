"""Whether a LoRA adapter is one of this encoder. Its weights can't say so: those of the same shape fit any base."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from recbole_ext.encoders.source import (
    HUB_NAME,
    MINILM,
    WEIGHTS,
    ResolvedEncoder,
    read_description,
    resolve_encoder,
    snapshots_here,
)
from recbole_ext.errors import EncoderError
from recbole_ext.hashing import sha256_of_file

log = logging.getLogger(__name__)

MINILM_ON_THE_HUB = "sentence-transformers/all-MiniLM-L6-v2"


def check_base(adapter: ResolvedEncoder, source: ResolvedEncoder) -> None:
    """See that ``adapter`` is one of the encoder ``source``; where its base has the encoder's name and nothing here
    proves that it is the same, or where it names none, a warning says so.

    Raises:
        EncoderError: it is one of another base, or its ``adapter_config.json`` can't be had.
    """
    base = _base_of(adapter)
    if not base:
        log.warning("adapter %s doesn't say which base it is one of; it is put on %s", adapter.name, source.name)
        return
    is_base = _is_base(base, source)
    if is_base is None:
        said = "adapter %s is one of %s; nothing but the name says that encoder %s is the same"
        log.warning(said, adapter.name, base, source.name)
    elif not is_base:
        raise EncoderError(
            f"adapter {adapter.name!r} is one of {base}, and the encoder is {source.name!r}. Name that encoder; where "
            "this one is the same under another name, say so by base_model_name_or_path in the adapter_config.json of "
            "a copy of the adapter on this machine."
        )


def _base_of(adapter: ResolvedEncoder) -> str | None:
    """What the adapter's ``adapter_config.json`` calls its base, here, in the cache or on Hugging Face."""
    path = adapter.file("adapter_config.json")
    if path is None:
        raise EncoderError(
            f"adapter {adapter.name!r}: it has no adapter_config.json, without which nothing says which base it is one "
            "of. Name a repository that holds a LoRA adapter."
        )
    return read_description(path).get("base_model_name_or_path")


def _is_base(base: str, source: ResolvedEncoder) -> bool | None:
    """Whether ``base`` means this encoder; ``None`` where the end of its name does and nothing proves more."""
    if base in (source.name, source.location):
        return True
    if Path(base).expanduser().is_dir() and (theirs := _weights(Path(base).expanduser())) and (ours := _own(source)):
        return not theirs.isdisjoint(ours)
    own = _hub_name(source)
    named = _full_name(base) if own else base
    known = own or _origin(source)
    if named == known:
        return True
    if Path(named).name != Path(own or source.location).name:
        return False
    of_two_owners = _is_full(named) and _is_full(known or "") and Path(named).name == Path(known or "").name
    return False if of_two_owners else None


def _hub_name(source: ResolvedEncoder) -> str | None:
    """The full Hugging Face name that this encoder has for certain."""
    if source.name == MINILM:  # its weights have been compared with the published ones
        return MINILM_ON_THE_HUB
    if source.revision is not None:
        return source.location
    snapshot = re.search(r"models--([^/]+)/snapshots/[^/]+/?$", source.location)
    return snapshot[1].replace("--", "/") if snapshot else None


def _origin(source: ResolvedEncoder) -> str | None:
    """What the configuration in a folder says that it was loaded from."""
    path = Path(source.location) / "config.json"
    return read_description(path).get("_name_or_path") if path.is_file() else None


def _full_name(base: str) -> str:
    """The name that Hugging Face has for a short or an earlier one, where it can be asked."""
    try:
        return resolve_encoder(base).location if HUB_NAME.fullmatch(base) else base
    except EncoderError:
        return base


def _is_full(name: str) -> bool:
    return bool(HUB_NAME.fullmatch(name)) and "/" in name


def _own(source: ResolvedEncoder) -> set[str]:
    """The weights of an encoder, where they are on this machine."""
    if source.revision is None:
        return _weights(Path(source.location))
    return {sha for s in snapshots_here(source.location) if s.name == source.revision for sha in _weights(s)}


def _weights(folder: Path) -> set[str]:
    """SHA-256 of each of a folder's files with weights."""
    return {sha256_of_file(path) for path in folder.iterdir() if path.suffix in WEIGHTS}
