"""What Python, numpy and scipy were when RecBole 1.2.1 was written, and warnings about its use of old interfaces."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def silence_deprecations() -> None:
    """Drop the warnings about RecBole's own use of old torch, pandas and numpy interfaces; users can't act on them."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\..*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(recbole|thop).*")
    # Of its docstrings, when they are first compiled; such a warning's module is the file.
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=r".*\brecbole\b")
    # What it warns of does nothing under copy-on-write; recbole_ext.compat.datasets does it instead.
    warnings.filterwarnings("ignore", message="A value is .*(set|chained assignment)", module=r"recbole\..*")
    # pandas 3 hands out its columns read-only; the tensor made of one is the only one that is left to see its memory.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable", module=r"recbole\..*")


def restore_numpy_names() -> None:
    """Give numpy back the scalar types that it dropped in 1.24 and 2.0 (RecBole issues 1604, 2215).

    ``Config.compatibility_settings`` reads ``np.float_``, ``np.complex_`` and ``np.unicode_``, gone from numpy 2. It
    sets ``np.float``, ``np.long`` and their kin, which ``interaction.py``, ``metrics.py`` and ``layers.py`` use, but
    only with the first ``Config``.
    """
    import numpy as np

    for name, scalar in {
        "bool": np.bool_,
        "int": np.int_,
        "long": np.int_,
        "float": np.float64,
        "float_": np.float64,
        "complex_": np.complex128,
        "object": np.object_,
        "unicode_": np.str_,
    }.items():
        if name not in np.__dict__:
            setattr(np, name, scalar)


def update_dok_matrices() -> None:
    """Give scipy's ``dok_matrix`` back its ``_update``, gone in 1.15.

    LightGCN, NGCF, GCMC, SpectralCF, NCL, KGIN and MCCLK fill their adjacency matrix with it, by a dict of positions
    that lie inside the matrix.
    """
    from scipy.sparse import dok_matrix

    def update(self: Any, entries: dict[tuple[int, int], float]) -> None:
        self._dict.update(entries)

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = update


def fork_the_workers_of_loaders() -> None:
    """On Linux, let the workers of RecBole's loaders (its key ``worker``) share the dataset, as before Python 3.14.

    There the default is a server that forks, which pickles all of the dataset for every worker and epoch, and torch
    can't send a tensor without elements that way, as the loaders of an evaluation have ("unable to resize file").
    (On macOS, forking a process that has threads is not safe.)
    """
    if sys.platform != "linux":
        return
    from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader

    build = AbstractDataLoader.__init__

    def build_with_forked_workers(self: Any, *args: Any, **settings: Any) -> None:
        build(self, *args, **settings)
        if self.num_workers > 0:
            self.multiprocessing_context = "fork"

    AbstractDataLoader.__init__ = build_with_forked_workers
