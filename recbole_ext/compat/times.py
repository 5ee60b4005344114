"""Times in RecBole: exact, where it keeps them in single precision."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

KEEP_EXACT_TIMES = "keep_exact_times"
"""A key of the config that lets a dataset keep ``times_of_history``: by user id, then time, as its history lies.

Of files that are split already: by user id, then file, then time."""


def order_by_exact_time() -> None:
    """Let time order be that of the exact times, of equal ones the file's, unless ``exact_time_order`` is off.

    RecBole issues 1653 and 2204: it sorts times in single precision, in which Unix seconds up to 128 s apart are
    equal, and leaves such rows in the order of the file. Its sorts are stable, so rows that come to them in the
    order of exact time stay in it; where single precision tells times apart, nothing changes. Apply it after
    :func:`recbole_ext.compat.datasets.fill_missing_values`, which it extends.
    """
    import numpy as np
    from recbole.data.dataset import Dataset

    fill, reformat = Dataset._fill_nan, Dataset._change_feat_format

    def is_on(dataset: Any) -> bool:
        by_time = (dataset.config["eval_args"] or {}).get("order") == "TO"
        has_time = dataset.time_field is not None and dataset.time_field in dataset.inter_feat
        return (
            by_time and has_time and (dataset.config["benchmark_filename"] is None or dataset.config[KEEP_EXACT_TIMES])
        )

    def fill_nan(self: Any) -> None:
        fill(self)
        # Only here times are complete and still exact: normalising or discretising them comes next.
        self.exact_times = self.inter_feat[self.time_field].to_numpy() if is_on(self) else None

    def change_feat_format(self: Any) -> None:
        times, self.exact_times = getattr(self, "exact_times", None), None
        if times is not None and self.config["benchmark_filename"] is not None:
            # Each of these files is in the order of its exact times from the beginning (recbole_ext.data.given).
            self.times_of_history = times[np.argsort(self.inter_feat[self.uid_field].to_numpy(), kind="stable")]
        elif times is not None:
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
            if exact and self.config[KEEP_EXACT_TIMES]:
                self.times_of_history = times[np.lexsort((times, users))]
            if exact and (times[1:] < times[:-1]).any():
                self.inter_feat = self.inter_feat.iloc[times.argsort(kind="stable")].reset_index(drop=True)
        reformat(self)

    Dataset._fill_nan, Dataset._change_feat_format = fill_nan, change_feat_format


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
