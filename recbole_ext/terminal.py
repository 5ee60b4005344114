"""Log lines and progress bars on one terminal, from several processes, each on lines of its own."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from tqdm import tqdm

_CLEAR = "\r\x1b[K"
"""Back to the beginning of the line, and erase it."""


class BesideBars(logging.StreamHandler[TextIO]):
    """Writes to standard error; a bar that stands there, of this process or of the one above, makes room."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
            tqdm.write(f"{_CLEAR}{message}" if self.stream.isatty() else message, file=self.stream)
            self.flush()
        except Exception:
            self.handleError(record)


def log_to_terminal(verbose: bool = False) -> None:
    """Show this package's messages, and warnings of others, on standard error; handlers that are there stay alone."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[BesideBars()])
    logging.getLogger("recbole_ext").setLevel(logging.DEBUG if verbose else logging.INFO)
