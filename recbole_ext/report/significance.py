"""Is an initialisation really better than `none`, and the best row than the others? A paired test over users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.ranks import metric_of_ranks
from recbole_ext.report.records import WITHOUT_NONE, Group, Record, grouped

LEVEL = 0.05
CUTOFF = 10

Values = NDArray[np.float64]
# by seed and dataset fingerprint: only equal data can be paired
BySeed = dict[tuple[int, str | None], Values]


class _NotComparable(Exception):
    """Why two groups can't be paired, in words."""


@dataclass(frozen=True)
class Comparison:
    """One group against another, on the users' differences in NDCG@10.

    ``difference`` is their mean; ``rank_sum`` what Wilcoxon's test looks at, their signed ranks' sum: it can
    point the other way when few users gain much and many lose a little.
    """

    difference: float
    rank_sum: float
    p: float
    p_holm: float

    @property
    def mark(self) -> str:
        """``better`` or ``worse`` than the other at the 5 % level; ``tie``: no difference was shown.

        ``mixed``: a difference was shown, but its mean and its ranks point different ways.
        """
        if self.p_holm >= LEVEL:
            return "tie"
        if self.difference * self.rank_sum <= 0:
            return "mixed"
        return "better" if self.difference > 0 else "worse"


def compare_with_none(records: Sequence[Record], folder: Path) -> tuple[dict[Group, Comparison], list[str]]:
    """Compare each group with the `none` group of its dataset, model and protocol, user by user.

    A user's value is NDCG@10 averaged over the seeds that both groups share. The test is Wilcoxon's
    signed-rank test; its p-values are Holm-corrected over all comparisons of a dataset and protocol.
    Groups that can't be compared (no partner, no shared seed, no usable ranks) have no entry; the second
    result says in words why, but for models that are made of item vectors and so have no `none`.
    """
    groups = grouped(records)
    partners = {(g[0], g[1], g[4]): g for g in reversed(groups) if g[2] == "none"}
    pairs, alone = {}, []
    for group in groups:
        dataset, model, init, mode, protocol = group
        partner = partners.get((dataset, model, protocol))
        if init != "none" and partner is not None:
            pairs[group] = partner
        elif init != "none" and mode not in WITHOUT_NONE:
            alone.append(f"{_spoken(group)}: no run with `none` to compare with.")
    comparisons, notes = _compare(pairs, records, folder)
    return comparisons, notes + alone


def compare_with_best(
    records: Sequence[Record], folder: Path, best: Mapping[tuple[str, str], Group]
) -> tuple[dict[Group, Comparison], list[str]]:
    """Compare each group with the ``best`` one of its dataset and protocol; see :func:`compare_with_none`."""
    pairs = {group: best[group[0], group[4]] for group in grouped(records)}
    return _compare({group: partner for group, partner in pairs.items() if group != partner}, records, folder)


def _compare(
    pairs: Mapping[Group, Group], records: Sequence[Record], folder: Path
) -> tuple[dict[Group, Comparison], list[str]]:
    ndcg, notes = _ndcg_by_seed(records, folder)
    families: dict[tuple[str, str], dict[Group, Values]] = {}
    for group, partner in pairs.items():
        try:
            differences = _differences(ndcg.get(group, {}), ndcg.get(partner, {}))
        except _NotComparable as reason:
            notes.append(f"{_spoken(group)}: no significance test against {_spoken_beside(partner, group)}, {reason}.")
        else:
            families.setdefault((group[0], group[4]), {})[group] = differences
    comparisons = {}
    for family in families.values():
        tests = [_wilcoxon(differences) for differences in family.values()]
        corrected = holm(p for _, p in tests)
        for (group, differences), (rank_sum, p), p_holm in zip(family.items(), tests, corrected, strict=True):
            comparisons[group] = Comparison(float(differences.mean()), rank_sum, p, p_holm)
    return comparisons, notes


def load_ranks(folder: Path, record: Record) -> NDArray[np.integer]:
    """The test item's rank per user, [n_users], 1-based, 0 = outside the top 50, from ``RUN.ranks.npy``.

    Raises ConfigurationError when the file can't be read or contradicts the record's NDCG@10.
    """
    path = folder / "runs" / f"{record['run']}.ranks.npy"
    name = f"runs/{path.name}"
    try:
        ranks = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigurationError(f"{name} can't be read ({error}).") from error
    if ranks.ndim != 1 or not len(ranks) or not np.issubdtype(ranks.dtype, np.integer):
        raise ConfigurationError(f"{name} should hold one integer per user, not {ranks.dtype} {ranks.shape}.")
    reported = record["test"].get(f"ndcg@{CUTOFF}")
    # RecBole rounds what it reports
    tolerance = 0.5 * 10.0 ** -int(record["config"].get("metric_decimal_place", 4)) + 1e-6
    found = float(user_ndcg(ranks).mean())
    if reported is not None and abs(found - reported) > tolerance:
        raise ConfigurationError(
            f"{name} gives NDCG@{CUTOFF} {found:.4f}, but its record says {reported:.4f}: they are of "
            "different runs. Delete both and run the benchmark again."
        )
    return ranks


def user_ndcg(ranks: NDArray[np.integer]) -> Values:
    """NDCG@10 per user, [n_users], for one relevant item per user at the 1-based ``ranks`` (0 = unranked)."""
    return metric_of_ranks(f"ndcg@{CUTOFF}", ranks)


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's step-down correction: family-wise error control, in the order given."""
    p = np.asarray(list(p_values), dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _ndcg_by_seed(records: Sequence[Record], folder: Path) -> tuple[dict[Group, BySeed], list[str]]:
    """Per group NDCG@10 per user, and notes about ranks that are of no use."""
    ndcg: dict[Group, BySeed] = {}
    notes, missing = [], []
    for group, members in grouped(records).items():
        for record in members:
            if not (folder / "runs" / f"{record['run']}.ranks.npy").exists():
                missing.append(record["run"])
                continue
            try:
                ranks = load_ranks(folder, record)
            except ConfigurationError as error:
                notes.append(f"{error} Left out of the significance test.")
                continue
            dataset = (record.get("fingerprints") or {}).get("dataset")
            ndcg.setdefault(group, {})[record["seed"], dataset] = user_ndcg(ranks)
    if missing:
        notes.append(f"Left out of the significance test, no ranks file: {', '.join(missing)}.")
    return ndcg, notes


def _differences(ours: BySeed, others: BySeed) -> Values:
    """NDCG@10 less the other group's, per user [n_users], averaged over the seeds that both have."""
    shared = sorted(ours.keys() & others.keys(), key=lambda key: key[0])
    if not shared:
        if {seed for seed, _ in ours} & {seed for seed, _ in others}:
            raise _NotComparable("their dataset fingerprints differ")
        raise _NotComparable("no seed for which both have ranks")
    if any(len(ours[key]) != len(others[key]) for key in shared):
        raise _NotComparable("their ranks are not of the same users")
    return np.mean([ours[key] - others[key] for key in shared], axis=0)


def _wilcoxon(differences: Values) -> tuple[float, float]:
    """The sum of signed ranks and the two-sided p-value; users without a difference don't count."""
    from scipy.stats import rankdata, wilcoxon

    # rounding noise must not break the ties between users with the same pair of ranks
    differences = np.round(differences, 12)
    differences = differences[differences != 0.0]
    if not len(differences):
        return 0.0, 1.0
    rank_sum = (np.sign(differences) * rankdata(np.abs(differences))).sum()
    return float(rank_sum), float(wilcoxon(differences).pvalue)


def _spoken_beside(group: Group, other: Group) -> str:
    """What tells ``group`` from ``other``, of the same dataset and protocol."""
    _, model, init, mode, _ = group
    return f"`{init}`" if model == other[1] else f"{model}, {init}" + ("" if mode == "-" else f" ({mode})")


def _spoken(group: Group) -> str:
    dataset, model, init, mode, protocol = group
    return f"{dataset}, {model}, {init} ({mode}), {protocol}"
