"""All that exists only because RecBole 1.2.1 is older than its dependencies, one workaround per function.

What each answers is a place in RecBole 1.2.1 or an issue of its repository, named in the function's docstring.
``tests/compat`` has a test of each that fails without it, on the dependencies that it answers.
"""

from __future__ import annotations

import functools

from recbole_ext.compat.checkpoints import save_checkpoints_that_load_safely, save_pretrained_models_that_load_safely
from recbole_ext.compat.configs import leaving_all_gpus, plain_config, recbole_folder, without_command_line
from recbole_ext.compat.datasets import (
    fill_missing_values,
    load_nothing_that_was_saved,
    measure_sequences_one_by_one,
    number_samples_without_a_list,
    read_atomic_files_as_they_are,
    read_atomic_table,
    remove_duplicates_in_one_order,
)
from recbole_ext.compat.evaluation import collect_what_is_no_tensor
from recbole_ext.compat.libraries import (
    fork_the_workers_of_loaders,
    restore_numpy_names,
    silence_deprecations,
    update_dok_matrices,
)
from recbole_ext.compat.times import order_by_exact_time, users_that_single_precision_reorders
from recbole_ext.installation import require_installation

__all__ = [
    "WORKAROUNDS",
    "leaving_all_gpus",
    "make_recbole_work",
    "plain_config",
    "read_atomic_table",
    "recbole_folder",
    "users_that_single_precision_reorders",
    "without_command_line",
]

WORKAROUNDS = (
    silence_deprecations,
    restore_numpy_names,
    update_dok_matrices,
    read_atomic_files_as_they_are,
    measure_sequences_one_by_one,
    fill_missing_values,
    order_by_exact_time,
    remove_duplicates_in_one_order,
    load_nothing_that_was_saved,
    number_samples_without_a_list,
    fork_the_workers_of_loaders,
    collect_what_is_no_tensor,
    save_checkpoints_that_load_safely,
    save_pretrained_models_that_load_safely,
)


@functools.cache
def make_recbole_work() -> None:
    """Apply every workaround, once per process. Call it before anything of RecBole is used.

    Raises:
        InstallationError: RecBole, or what it needs, is missing or of a version that does not work.
    """
    require_installation()
    for workaround in WORKAROUNDS:
        workaround()
