"""A class of the user's that a key names by its dotted path."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from recbole_ext.errors import ConfigurationError
from recbole_ext.hashing import sha256_of_file
from recbole_ext.wording import did_you_mean


def class_at(path: str, key: str) -> Any:
    """The class at ``MODULE.NAME``; a module is also looked for in the working folder.

    Args:
        key: which names it, for messages.

    Raises:
        ConfigurationError: the module can't be imported, or has nothing of that name.
    """
    module_name, _, class_name = path.rpartition(".")
    if str(Path.cwd()) not in sys.path:  # where `python -m` would look, and a console script does not
        sys.path.append(str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"{key}: {path}: {module_name} can't be imported ({error}). Install its package, or run from the folder "
            "that holds it."
        ) from error
    found = getattr(module, class_name, None)
    if found is None:
        hint = did_you_mean(class_name, dir(module))
        raise ConfigurationError(f"{key}: {path}: {module_name} has no class {class_name}. {hint}".rstrip())
    return found


def code_of_class(found: type, key: str) -> str | None:
    """SHA-256 of the file that holds a user's class; ``None`` for RecBole's and this package's, which have versions.

    What that file imports is not looked at.

    Raises:
        ConfigurationError: its code is in no file, so that nobody could say later what was run.
    """
    if found.__module__.partition(".")[0] in ("recbole", "recbole_ext"):
        return None
    try:
        return sha256_of_file(Path(inspect.getsourcefile(found) or ""))
    except (TypeError, OSError) as error:
        raise ConfigurationError(
            f"{key}: {found.__module__}.{found.__name__}: its code is in no file. Put the class into a module of yours."
        ) from error
