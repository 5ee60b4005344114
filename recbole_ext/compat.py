"""All that exists only because RecBole 1.2.1 is older than its dependencies, one workaround per function.

What needs no code is pinned in ``pyproject.toml``: numpy < 2 (RecBole issue 2215: ``np.float_``, ray's
``np.bool8``), pandas < 3 (``Dataset._remap``), setuptools < 81 (ray 2.6.3 imports ``pkg_resources``).
"""

from __future__ import annotations

import csv
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@functools.cache
def make_recbole_work() -> None:
    """Apply every workaround, once per process. Call it before training or evaluating with RecBole."""
    silence_deprecations()
    save_checkpoints_that_load_safely()
    read_atomic_files_without_quoting()
    restore_numpy_aliases()
    number_samples_without_a_list()


def save_checkpoints_that_load_safely() -> None:
    """Write the config of a checkpoint as a plain dict, so that it loads with ``weights_only=True``.

    RecBole issue 2215: ``Trainer._save_checkpoint`` pickles its ``Config`` object, and since torch 2.6
    ``torch.load`` refuses it, so every ``evaluate(load_best_model=True)`` dies after the training. So it does for the
    modules and scipy matrices that some models hand over as ``other_parameter``.
    """
    from recbole.trainer import Trainer

    def save_checkpoint(self: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        import torch

        from recbole_ext.writing import replacing_file

        if not self.config["single_spec"] and self.config["local_rank"] != 0:
            return
        target = kwargs.pop("saved_model_file", self.saved_model_file)
        state = {
            "config": plain_config(self.config),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "state_dict": self.model.state_dict(),
            "other_parameter": _learned(self.model.other_parameter()),
            "optimizer": self.optimizer.state_dict(),
        }
        from pathlib import Path

        with replacing_file(Path(target)) as temporary:
            torch.save(state, temporary)
        if verbose:
            self.logger.info(f"Saving current: {target}")

    Trainer._save_checkpoint = save_checkpoint


def _learned(parameters: dict[str, Any]) -> dict[str, Any]:
    """What of a model's ``other_parameter`` training changes and the state dict lacks.

    Modules (SASRecF, FDSA, DIN, …) are in the state dict; scipy and numpy matrices (ItemKNN, EASE, …) are made of the
    data by the constructor and stay what they are.
    """
    import torch

    kept = (torch.Tensor, bool, int, float, str, list, tuple, dict, type(None))
    return {name: value for name, value in parameters.items() if isinstance(value, kept)}


def read_atomic_files_without_quoting() -> None:
    """Let RecBole read atomic files as its own format says: tab separated, a quote is a letter like any other.

    RecBole issue 2017: the default CSV quoting makes a title that begins with ``"`` a ``ParserError`` and lets
    an unbalanced quote swallow lines. The C parser with round-trip floats reads the same numbers as the Python
    one that RecBole asks for, in a fraction of its time and memory; and every distinct token is kept once, not once
    per row (at 10 million interactions, a gigabyte).
    """
    import types

    import pandas
    import recbole.data.dataset.dataset as module

    def read_csv(*args: Any, **kwargs: Any) -> Any:
        kwargs |= {"quoting": csv.QUOTE_NONE, "engine": "c", "float_precision": "round_trip"}
        types_of = kwargs.pop("dtype", {})
        tokens = [column for column, kind in types_of.items() if kind is str]
        table = pandas.read_csv(*args, dtype={**types_of, **dict.fromkeys(tokens, "category")}, **kwargs)
        for column in tokens:
            table[column] = table[column].astype(object)
        return table

    quoteless = types.SimpleNamespace(**vars(pandas))
    quoteless.read_csv = read_csv
    module.pd = quoteless


def number_samples_without_a_list() -> None:
    """Let RecBole's loaders number their samples by a ``range``; their ``list(range(n))`` takes 36 bytes a sample."""
    import recbole.data.dataloader.abstract_dataloader as module

    module.list = lambda values: values if isinstance(values, range) else [*values]


def restore_numpy_aliases() -> None:
    """Give numpy back ``np.float`` and its kin before RecBole's first ``Config`` does (RecBole issue 1604)."""
    import numpy as np

    for alias, scalar in {
        "bool": np.bool_,
        "int": np.int_,
        "float": np.float64,
        "object": np.object_,
    }.items():
        if alias not in np.__dict__:
            setattr(np, alias, scalar)


def silence_deprecations() -> None:
    """Drop the warnings about RecBole's own use of old torch and pandas interfaces; users can't act on them."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(recbole|ray|thop|pkg_resources).*")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")


def job_without_pyarrow() -> Any:
    """The ``job_config`` for ``ray.init`` where pyarrow is installed and can't be imported; else ``None``.

    Ray 2.6.3 serializes without pyarrow where there is none, but dies of an ``ImportError`` of one that needs
    numpy 2, as pyarrow 26 does. Driver and workers get a stand-in that says there is none.
    """
    from pathlib import Path

    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        return None
    except ImportError:
        from ray.job_config import JobConfig

        folder = Path(__file__).parent / "run" / "without_pyarrow"
        sys.modules["pyarrow"] = None  # type: ignore[assignment]
        return JobConfig(_py_driver_sys_path=[str(folder)])
    return None


def plain_config(config: Any) -> dict[str, Any]:
    """RecBole's final configuration as JSON-like values: what is not a plain value becomes its string."""

    def plain(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple | set):
            return [plain(part) for part in value]
        if isinstance(value, dict):
            return {str(key): plain(part) for key, part in value.items()}
        return getattr(value, "name", None) or str(value)

    return {key: plain(value) for key, value in sorted(config.final_config_dict.items())}


@contextmanager
def without_command_line() -> Iterator[None]:
    """Hide ``sys.argv`` from RecBole, whose ``Config`` reads any ``--key=value`` of the process it runs in."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments
