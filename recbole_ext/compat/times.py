"""Times in RecBole: exact, where it keeps them in single precision."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)


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
        return by_time and has_time and dataset.config["benchmark_filename"] is None

    def fill_nan(self: Any) -> None:
        fill(self)
        if not is_on(self):
            return
        # Only here times are complete and still exact: normalising or discretising them comes next.
        times = self.inter_feat[self.time_field].to_numpy()
        users = self.inter_feat[self.uid_field].to_numpy()
        reordered = users_that_single_precision_reorders(users, times, np.lexsort((times, users)))
        exact = self.config["exact_time_order"] is not False
        if reordered:
            log.info(
                "%s: in single precision, as RecBole keeps times, the rows of %d users can't be told apart; they are "
                "in the order of %s",
                *(self.dataset_name, reordered, "the exact time" if exact else "the file (exact_time_order is off)"),
            )
        if exact and (times[1:] < times[:-1]).any():
            self.exact_order = times.argsort(kind="stable")

    def change_feat_format(self: Any) -> None:
        order, self.exact_order = getattr(self, "exact_order", None), None
        if order is not None:
            self.inter_feat = self.inter_feat.iloc[order].reset_index(drop=True)
        reformat(self)

    Dataset._fill_nan, Dataset._change_feat_format = fill_nan, change_feat_format


def users_that_single_precision_reorders(users: np.ndarray, times: np.ndarray, order: np.ndarray) -> int:
    """How many users' rows are out of the order of time once sorted, stably, by time in single precision.

    Args:
        users: as numbers, ``[rows]``, in the order of the file.
        times: in double precision, ``[rows]``.
        order: sorts the rows by user, then time, then place in the file, ``[rows]``.
    """
    import numpy as np

    single = times.astype(np.float32)
    if (single == times).all():
        return 0
    users, times, single = users[order], times[order], single[order]
    equal_now = (users[1:] == users[:-1]) & (single[1:] == single[:-1]) & (times[1:] != times[:-1])
    return len(np.unique(users[1:][equal_now & (order[1:] < order[:-1])]))
