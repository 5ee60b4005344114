"""Every error a user can cause. The command line prints the message alone, without a stack trace."""

from __future__ import annotations

from pathlib import Path


class RecboleExtError(Exception):
    """Base of all errors of this package. The message names the file, line or key and the way out."""


class InstallationError(RecboleExtError):
    """RecBole or another package is missing, or of a version that does not work here."""


class SourceDataError(RecboleExtError):
    """Source files or atomic files are missing, empty or malformed."""


class StoreError(RecboleExtError):
    """An item embedding store is damaged, unsafe to read, or belongs to something else."""


class EncoderError(RecboleExtError):
    """An encoder can't be found or loaded, or is not the one it claims to be."""


class AttachError(RecboleExtError):
    """A store can't be attached to this model: no item embedding, a width mismatch, items without a vector."""


class ConfigurationError(RecboleExtError):
    """A benchmark file, a dataset config or a command-line override is wrong."""


class TuningError(RecboleExtError):
    """A behaviour tuning can't begin, go on or end: no usable sequences, another run's folder, too little memory."""


class MeasurementError(RecboleExtError):
    """Something can't be measured to its end: too little memory."""


class WriteError(RecboleExtError):
    """A file or folder can't be written: a full disk, no permission. What stood under its name before still does.

    Args:
        target: what was to be written.
        reason: the system's words.
        rest: what is left, and the way out.
    """

    def __init__(
        self,
        target: Path,
        reason: str,
        rest: str = "Nothing half-written was left there. Free some space or choose another folder, and repeat.",
    ) -> None:
        super().__init__(target, reason, rest)
        self.target, self.reason, self.rest = target, reason, rest

    def __str__(self) -> str:
        return f"{self.target} can't be written: {self.reason}. {self.rest}"
