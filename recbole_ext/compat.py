"""All that exists only because RecBole 1.2.1 is older than its dependencies, one workaround per function.

What needs no code is pinned in ``pyproject.toml``: numpy < 2 (RecBole issue 2215: ``np.float_``, ray's
``np.bool8``), pandas < 3 (``Dataset._remap``), setuptools < 81 (ray 2.6.3 imports ``pkg_resources``).
"""

from __future__ import annotations

import csv
import functools
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_ext.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)


@functools.cache
def make_recbole_work() -> None:
    """Apply every workaround, once per process. Call it before training or evaluating with RecBole."""
    silence_deprecations()
    save_checkpoints_that_load_safely()
    read_atomic_files_as_they_are()
    order_by_exact_time()
    load_nothing_that_was_saved()
    restore_numpy_aliases()
    number_samples_without_a_list()


def recbole_folder() -> Path:
    """RecBole's installed package, found without importing it.

    Raises:
        ConfigurationError: it is not installed.
    """
    spec = find_spec("recbole")
    if spec is None or spec.origin is None:
        raise ConfigurationError("RecBole is not installed: pip install recbole==1.2.1")
    return Path(spec.origin).parent


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


def read_atomic_files_as_they_are() -> None:
    """Let RecBole read atomic files as their format says: a quote is a letter like any other, and ``NA`` is an id.

    RecBole issue 2017: the default CSV quoting makes a title that begins with ``"`` a ``ParserError`` and lets
    an unbalanced quote swallow lines. RecBole issue 1084: pandas takes ids such as ``NA``, ``None`` and ``null`` for
    missing, and RecBole drops their rows; here a token is missing where the field is empty. A byte order mark is
    skipped, and files are UTF-8 whatever the locale says, unless the key ``encoding`` names another.
    """
    import types

    import pandas
    import recbole.data.dataset.dataset as module

    def read_csv(path: str, delimiter: str, dtype: dict[str, Any], encoding: str | None, **_: Any) -> Any:
        table = read_atomic_table(path, delimiter, dtype, encoding)
        for column, kind in dtype.items():
            if kind is str:
                table[column] = table[column].astype(object)
        return table

    ours = types.SimpleNamespace(**vars(pandas))
    ours.read_csv = read_csv
    module.pd = ours
    module.open = _open_without_mark


def read_atomic_table(
    path: Path | str, delimiter: str, dtype: dict[str, Any], encoding: str | None = None
) -> pd.DataFrame:
    """Columns of an atomic file, as :func:`read_atomic_files_as_they_are` says; those of type ``str`` as categories.

    The C parser with round-trip floats reads the same numbers as the Python one that RecBole asks for, in a fraction
    of its time and memory, a quarter of it where it goes through the file in one piece; and every distinct token is
    kept once, not once per row (at 10 million interactions, a gigabyte).

    Args:
        dtype: the columns to read, ``name:type`` as the header has them, to ``str`` or ``np.float64``.
    """
    import pandas
    from pandas._libs.parsers import STR_NA_VALUES

    options: dict[str, Any] = {
        "delimiter": delimiter,
        "engine": "c",
        "float_precision": "round_trip",
        "low_memory": False,
    }
    if len(delimiter) > 1:
        options = {"delimiter": re.escape(delimiter), "engine": "python"}
    options |= {
        "usecols": list(dtype),
        "dtype": {column: "category" if kind is str else kind for column, kind in dtype.items()},
        "na_values": {column: [""] if kind is str else list(STR_NA_VALUES) for column, kind in dtype.items()},
    }
    encoding = _without_mark(encoding)
    return pandas.read_csv(path, encoding=encoding, quoting=csv.QUOTE_NONE, keep_default_na=False, **options)


def _open_without_mark(path: str, mode: str = "r", encoding: str | None = None) -> Any:
    return Path(path).open(mode, encoding=None if "b" in mode else _without_mark(encoding))


def _without_mark(encoding: str | None) -> str:
    return "utf-8-sig" if (encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8") else str(encoding)


def order_by_exact_time() -> None:
    """Let time order be that of the exact times, of equal ones the file's, unless ``exact_time_order`` is off.

    RecBole issues 1653 and 2204: it sorts times in single precision, in which Unix seconds up to 128 s apart are
    equal, and leaves such rows in the order of the file. Its sorts are stable, so rows that come to them in the
    order of exact time stay in it; where single precision tells times apart, nothing changes.
    """
    import numpy as np
    from recbole.data.dataset import Dataset

    fill, reformat, remove = Dataset._fill_nan, Dataset._change_feat_format, Dataset._remove_duplication

    def is_on(dataset: Any) -> bool:
        by_time = (dataset.config["eval_args"] or {}).get("order") == "TO"
        has_time = dataset.time_field is not None and dataset.time_field in dataset.inter_feat
        return by_time and has_time and dataset.config["benchmark_filename"] is None

    def fill_nan(self: Any) -> None:
        fill(self)
        # Only here times are complete and still exact: normalising or discretising them comes next.
        self.exact_times = self.inter_feat[self.time_field].to_numpy() if is_on(self) else None

    def change_feat_format(self: Any) -> None:
        times, self.exact_times = getattr(self, "exact_times", None), None
        if times is not None:
            users, column = self.inter_feat[self.uid_field].to_numpy(), self.inter_feat[self.time_field]
            # A time that is embedded as a number is a pair, whose first part RecBole sorts by.
            kept = (column.str[0] if column.dtype == object else column).to_numpy(np.float32)
            reordered = users_that_single_precision_reorders(users, times, kept, np.lexsort((times, users)))
            exact = self.config["exact_time_order"] is not False
            if reordered:
                log.info(
                    "%s: in single precision, as RecBole keeps times, the rows of %d users would be out of order; they "
                    "are in the order of %s",
                    *(
                        self.dataset_name,
                        reordered,
                        "the exact time" if exact else "the file (exact_time_order is off)",
                    ),
                )
            if exact and (times[1:] < times[:-1]).any():
                self.inter_feat = self.inter_feat.iloc[times.argsort(kind="stable")].reset_index(drop=True)
        reformat(self)

    def remove_duplication(self: Any) -> None:
        keep = self.config["rm_dup_inter"]
        if keep is None or self.config["exact_time_order"] is False or self.time_field not in self.inter_feat:
            remove(self)
            return
        self._check_field("uid_field", "iid_field")
        # RecBole's own sort is not stable: which of two rows of one time goes would depend on the processor.
        self.inter_feat.sort_values(by=self.time_field, kind="stable", inplace=True)
        self.inter_feat.drop_duplicates(subset=[self.uid_field, self.iid_field], keep=keep, inplace=True)

    Dataset._fill_nan, Dataset._change_feat_format = fill_nan, change_feat_format
    Dataset._remove_duplication = remove_duplication


def users_that_single_precision_reorders(
    users: np.ndarray, times: np.ndarray, kept: np.ndarray, order: np.ndarray
) -> int:
    """How many users' rows are out of the order of time once sorted, stably, by what RecBole keeps of it.

    Args:
        users: as numbers, ``[rows]``, in the order of the file.
        times: in double precision, ``[rows]``.
        kept: what RecBole keeps of the times, in single precision, ``[rows]``; never falls where times rise.
        order: sorts the rows by user, then time, then place in the file, ``[rows]``.
    """
    import numpy as np

    if (kept == times).all():
        return 0
    users, times, kept = users[order], times[order], kept[order]
    equal_now = (users[1:] == users[:-1]) & (kept[1:] == kept[:-1]) & (times[1:] != times[:-1])
    return len(np.unique(users[1:][equal_now & (order[1:] < order[:-1])]))


def load_nothing_that_was_saved() -> None:
    """Let RecBole always read the dataset's files.

    RecBole issues 1602 and 1697: a dataset or loaders that lie pickled in ``checkpoint_dir`` are taken for those of
    the same keys, whatever has become of the files since. Besides, nothing is ever unpickled here.
    """
    import types

    import recbole.data.utils as module

    nothing = types.SimpleNamespace(join=os.path.join, exists=lambda path: False)
    module.os = types.SimpleNamespace(path=nothing)


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
