"""Is a row really better than its baseline? An interval over users and seeds, and a corrected p beside each metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RowKey, RunRecord
from recbole_ext.report.metrics import metric_title
from recbole_ext.report.ranks import decided_by_ranks, load_ranks, metric_of_ranks
from recbole_ext.report.results import Result, split_of

LEVEL = 0.05
MINIMUM_SEEDS = 3
"""With fewer, the variance between seeds is not known well enough for a mark."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A difference of two means with its standard error and degrees of freedom."""

    mean: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """Covers the true difference with probability 1 − LEVEL."""
        from scipy.stats import t

        reach = float(t.ppf(1 - LEVEL / 2, self.freedom)) * self.error if self.error else 0.0
        return self.mean - reach, self.mean + reach

    @property
    def p(self) -> float:
        """Two-sided, of no difference."""
        from scipy.stats import t

        if not self.error:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * t.sf(abs(self.mean) / self.error, self.freedom))


def difference_of_means(ours: Values, others: Values) -> Difference:
    """How far the mean of ``ours`` ``[seeds, users]`` is above that of ``others`` ``[other seeds, the same users]``.

    Both users and seeds are samples: the claim is about other users and other seeds than these. With the model

        value[x, seed, user] = mean[x] + U[x, user] + S[x, seed] + E[x, seed, user],    x: ours, others,

    whose users are paired and whose seeds are independent, the variance of the difference of means is estimated from
    the mean squares of a two-way analysis of variance:

        V = s²(d) / users + max(0, Σₓ (s²ₓ − MSEₓ / users) / seedsₓ)

    d: each user's difference of means over seeds; s²ₓ: variance of the seeds' means; MSEₓ: mean square of the
    interaction E, which is in both other terms and so is taken off once. Its degrees of freedom are Satterthwaite's,

        V² / ((s²(d) / users)² / (users − 1) + Σₓ (s²ₓ / seedsₓ)² / (seedsₓ − 1)),

    without the sum where the second term of V is zero. This is the analysis of readers and cases of radiology with
    readers nested in the treatment (Hillis, "A marginal-mean ANOVA approach for analyzing multireader multicase
    radiological imaging data", Statistics in Medicine 33, 2014; Satterthwaite, Biometrics Bulletin 2, 1946).

    Why not a bootstrap: three seeds drawn with replacement have two thirds of the seeds' variance, and no bootstrap
    of crossed samples is unbiased (McCullagh, Bernoulli 6, 2000; Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 1, 2007). In simulations with the variances of this project's own runs, three seeds a side, the 95 %
    interval covers 94 to 98 % (``tests/report/test_report_significance.py``); one over users alone covers as little
    as half.

    Both sides need two seeds or more, and the same two users or more.
    """
    users = ours.shape[1]
    differences = ours.mean(axis=0) - others.mean(axis=0)
    of_users = float(differences.var(ddof=1)) / users
    of_seeds, pooled, rounding = 0.0, 0.0, 0.0
    for values in (ours, others):
        seeds = len(values)
        between = float(values.mean(axis=1).var(ddof=1))
        residual = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
        interaction = float((residual**2).sum()) / ((users - 1) * (seeds - 1))
        of_seeds += (between - interaction / users) / seeds
        pooled += (between / seeds) ** 2 / (seeds - 1)
        rounding += 1e-12 * (between + interaction / users)  # seeds that spread just as users do are no seeds' spread
    of_seeds = of_seeds if of_seeds > rounding else 0.0
    variance = of_users + of_seeds
    spread = of_users**2 / (users - 1) + (pooled if of_seeds else 0.0)
    return Difference(float(differences.mean()), math.sqrt(variance), variance**2 / spread if spread else math.inf)


@dataclass(frozen=True)
class Ratio:
    """By how much a mean lies above another, in parts of the latter, with the ends of its 95 % interval.

    ``nan`` where the other mean is zero; an infinite end where the other mean itself may be zero.
    """

    gain: float
    low: float
    high: float


def ratio_of_means(ours: Values, others: Values) -> Ratio:
    """How far the mean of ``ours`` lies above that of ``others``, in parts of the latter; both as for
    :func:`difference_of_means`.

    The mean of ``others`` is an estimate too. The interval holds every ratio R for which ours and R · others are not
    shown to differ (Fieller, "Some problems in interval estimation", Journal of the Royal Statistical Society B 16,
    1954). So it leaves a gain of zero out just where the difference is shown by itself. (One that takes the baseline's
    mean for known covers too little where other users gain than those who had hits before.)
    """
    base = float(others.mean())
    if not base:
        return Ratio(math.nan, math.nan, math.nan)
    ratio = float(ours.mean()) / base

    def shown(wanted: float) -> float:
        """Above zero where ours and ``wanted`` · others are shown to differ."""
        low, high = difference_of_means(ours, wanted * others).interval
        return max(low, -high)

    low, high = (_first_shown(shown, ratio, side) for side in (-1.0, 1.0))
    # Degrees of freedom vary with R, so that of few users not all ratios on the way to 1 agree with 1 itself.
    if shown(1.0) < 0:
        low, high = min(low, math.nextafter(1.0, 0.0)), max(high, math.nextafter(1.0, 2.0))
    elif low < 1.0 < high:
        low, high = (1.0, high) if ratio > 1.0 else (low, 1.0)
    return Ratio(ratio - 1.0, low - 1.0, high - 1.0)


def _first_shown(shown: Callable[[float], float], ratio: float, side: float) -> float:
    """The ratio from which on a difference is shown, on this side of the estimate; infinite where there is none."""
    from scipy.optimize import brentq

    inside, reach = ratio, 0.01 * max(abs(ratio), 1.0)
    while shown(outside := ratio + side * reach) < 0:
        if reach > 1e6:
            return side * math.inf
        inside, reach = outside, 2 * reach
    if shown(inside) >= 0:
        return ratio  # no spread at all
    return float(brentq(shown, inside, outside, xtol=1e-10, rtol=1e-10))


def mean_of_independent(differences: Sequence[Difference]) -> Difference:
    """The mean of differences that share neither users nor seeds: their variances add, Satterthwaite's freedom."""
    variances = [(difference.error / len(differences)) ** 2 for difference in differences]
    spread = sum(v**2 / difference.freedom for v, difference in zip(variances, differences, strict=True))
    return Difference(
        sum(difference.mean for difference in differences) / len(differences),
        math.sqrt(sum(variances)),
        sum(variances) ** 2 / spread if spread else math.inf,
    )


def mean_gain(pairs: Sequence[tuple[Result, Result]], metric: str, folder: Path) -> Difference | str:
    """The mean gain of rows over their baselines, each in parts of its baseline's mean; all of the same test users.

    The error of a gain is that of ours − (1 + gain) · baseline (the delta method, near :func:`ratio_of_means`). A seed
    of the mean is that seed of every row, so what users have in common over the rows is in the interval; runs
    of one tuning are one draw, as in :func:`compare_with_baselines`. A sentence says why where there is no test.
    """
    ours, others, gains = [], [], []
    for result, baseline in pairs:
        ranks = [_ranks_of(side, folder, {}) for side in (result, baseline)]
        if reason := _why_not(result, baseline, *ranks):
            return reason
        if not all(decided_by_ranks(metric, record) for record in (*result.runs, *baseline.runs)):
            return f"no test: ranks do not decide {metric_title(metric)}"
        values = [metric_of_ranks(metric, side) for side in ranks if not isinstance(side, str)]
        unit = float(values[1].mean())
        if not unit:
            return f"no test: {baseline.row.variant} is at zero"
        own, base = _by_draw(values[0], result), _by_draw(values[1], baseline)
        gains.append(float(own.mean()) / unit - 1.0)
        ours.append(own / unit)
        others.append(base * (1.0 + gains[-1]) / unit)  # the baseline's mean is an estimate too
    if len({side.shape for side in ours}) > 1 or len({side.shape for side in others}) > 1:
        return "no test: its models were run with other seeds or users"
    around = difference_of_means(np.mean(ours, axis=0), np.mean(others, axis=0))
    return Difference(float(np.mean(gains)), around.error, around.freedom)


@dataclass(frozen=True)
class Comparison:
    """A row against its baseline in one metric, on the users and seeds of both. Of a metric that ranks decide, more is
    better.

    Attributes:
        low, high: ends of the 95 % interval of the difference, before any correction.
        gain: in parts of the baseline's mean, with an interval of its own; see :func:`ratio_of_means`.
        p_holm: p after Holm's correction over all comparisons of the dataset and protocol in this metric.
    """

    difference: float
    low: float
    high: float
    gain: Ratio
    p: float
    p_holm: float

    @property
    def mark(self) -> str:
        """``better`` or ``worse`` at the 5 % level after correction; ``tie``: no difference was shown."""
        if self.p_holm >= LEVEL:
            return "tie"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Comparisons:
    """What was compared, by row and metric; why a row was not; and notes on files that are of no use."""

    made: dict[tuple[RowKey, str], Comparison]
    untested: dict[RowKey, str]
    notes: list[str]


def compare_with_baselines(
    results: Sequence[Result], baselines: Mapping[RowKey, Result], metrics: Sequence[str], folder: Path
) -> Comparisons:
    """Compare each row with its baseline in each metric that per-user ranks decide.

    ``baselines``: for each row that has one. Rows are tested from three seeds on both sides on; see
    :func:`difference_of_means`. Where a row's seeds take several tunings of its encoder in turn, the tunings are its
    independent draws, and the mean over a tuning's runs varies with the tuning seed and with what is left of the
    training seeds: the interval covers users, training seeds and tuning seeds. Holm's correction spans all comparisons
    of a baseline's dataset and protocol, metric by metric.
    """
    notes: dict[str, None] = {}
    ranks: dict[RowKey, NDArray[np.integer] | str] = {}
    for result in [*(r for r in results if r.key in baselines), *baselines.values()]:
        if result.key not in ranks:
            ranks[result.key] = _ranks_of(result, folder, notes)
    found: dict[tuple[RowKey, str], tuple[Difference, Ratio]] = {}
    untested: dict[RowKey, str] = {}
    for result in results:
        if result.key not in baselines:
            continue
        baseline = baselines[result.key]
        ours, others = ranks[result.key], ranks[baseline.key]
        reason = _why_not(result, baseline, ours, others)
        if reason or isinstance(ours, str) or isinstance(others, str):
            untested[result.key] = reason
            continue
        for metric in metrics:
            if all(decided_by_ranks(metric, record) for record in (*result.runs, *baseline.runs)):
                ours_by_draw = _by_draw(metric_of_ranks(metric, ours), result)
                others_by_draw = _by_draw(metric_of_ranks(metric, others), baseline)
                found[result.key, metric] = (
                    difference_of_means(ours_by_draw, others_by_draw),
                    ratio_of_means(ours_by_draw, others_by_draw),
                )
            elif metric == metrics[0]:
                untested[result.key] = f"no test: ranks do not decide {metric_title(metric)}"
    return Comparisons(_corrected(found, baselines), untested, list(notes))


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's step-down correction: family-wise error control, in the order given."""
    p = np.asarray(list(p_values), dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _corrected(
    found: Mapping[tuple[RowKey, str], tuple[Difference, Ratio]], baselines: Mapping[RowKey, Result]
) -> dict[tuple[RowKey, str], Comparison]:
    families: dict[tuple[str, str, str], list[tuple[RowKey, str]]] = {}
    for key, metric in found:
        other = baselines[key].key  # a study compares protocols: all with the same one
        families.setdefault((other.dataset, other.protocol, metric), []).append((key, metric))
    made = {}
    for family in families.values():
        for compared, p_holm in zip(family, holm(found[compared][0].p for compared in family), strict=True):
            difference, gain = found[compared]
            low, high = difference.interval
            made[compared] = Comparison(difference.mean, low, high, gain, difference.p, p_holm)
    return made


def _ranks_of(result: Result, folder: Path, notes: dict[str, None]) -> NDArray[np.integer] | str:
    """Ranks ``[seeds, users, 2]`` of the row's runs, or why there are none."""
    found = []
    for record in result.runs:
        try:
            ranks = load_ranks(folder, record)
        except ConfigurationError as error:
            notes[f"{error} Left out of the tests."] = None
            return "no test: ranks that can't be used"
        if ranks is None:
            return "no test: no ranks were kept"
        found.append(ranks)
    if len({len(ranks) for ranks in found}) > 1:
        return "no test: its seeds were not tested on the same users"
    return np.stack(found) if found else "no test: no finished run"


def _draws(result: Result) -> list[list[int]]:
    """Which of a row's runs are one independent draw: each seed, or the seeds of each tuning where there are several.

    Runs that begin from the same tuned encoder share what its tuning seed has brought about.
    """
    begun = [_begun_from(record) for record in result.runs]
    if len(set(begun)) < 2:
        return [[number] for number in range(len(begun))]
    return [[number for number, own in enumerate(begun) if own == other] for other in dict.fromkeys(begun)]


def _begun_from(record: RunRecord) -> tuple[str | None, str]:
    """What tells the vectors of a run, or the encoder of a model that reads text itself: the name of either holds the
    hash of its request, wherever it lies. (Of vectors made twice by one request the last bits may differ.)"""
    config = record.evaluated.config
    store = config.get("item_embedding")
    return Path(str(store)).name if store else record.fingerprints.vectors, Path(str(config.get("encoder"))).name


def _by_draw(values: Values, result: Result) -> Values:
    """Values ``[seeds, users]`` averaged within each of the row's independent draws, ``[draws, users]``."""
    return np.stack([values[numbers].mean(axis=0) for numbers in _draws(result)])


def _ranks_rows_of_users(record: RunRecord, n_ranks: int) -> bool:
    """Whether users have several test items (no popularity was kept, which tells it) and each was ranked by itself."""
    made = record.evaluated
    return made.popularity is None and made.tested == n_ranks


def _why_not(
    result: Result, baseline: Result, ours: NDArray[np.integer] | str, others: NDArray[np.integer] | str
) -> str:
    """Why a row can't be compared with its baseline, in words; empty where it can."""
    if isinstance(ours, str):
        return ours
    if isinstance(others, str):
        return f"{others}, of {baseline.row.variant}"
    for name, side in (("", result), (f"{baseline.row.variant} ", baseline)):
        draws = _draws(side)
        if len(draws) < MINIMUM_SEEDS:
            seeds = "seeds" if all(len(runs) == 1 for runs in draws) else "tuning seeds"
            return f"no test: needs {MINIMUM_SEEDS} {seeds}, {name}has {len(draws)}"
    if ours.shape[1] != others.shape[1] or len(split_of(result) | split_of(baseline)) > 1:
        return f"no test: {baseline.row.variant} was tested on other users or data"
    if ours.shape[1] < 2:
        return "no test: a single user"
    if any(_ranks_rows_of_users(record, ours.shape[1]) for record in (*result.runs, *baseline.runs)):
        return "no test: users have several test rows, which are not independent"
    return ""
