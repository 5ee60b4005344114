"""The protocols of a table in words: how data were split, and what a split leaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recbole_ext.data.temporal import TEMPORAL, in_words
from recbole_ext.records import RunRecord

LEAVE_ONE_OUT_LEAKS = (
    "Each user is cut at a time of the user's own, so that training holds what others did after the item to be found: "
    "what becomes popular, and in whose company, leaks from its future (arXiv 2507.16289). One cut in time for all "
    f"(protocol {TEMPORAL}) does not."
)


def protocols_in_words(records: Iterable[RunRecord]) -> list[str]:
    """A paragraph for each protocol, by the name that the benchmark gives it; records without a split say nothing.

    Lists from outside are tested as the runs beside them are.
    """
    by_name: dict[str, dict[str, None]] = {}
    for record in (one for one in records if one.made is not None):
        sentences = [_split(record), _ranking(record.done.config), _returning(record), _counting(record)]
        if sentences[0]:
            by_name.setdefault(record.protocol, {}).update(dict.fromkeys(sentences))
    return [f"{name}: {' '.join(filter(None, sentences))}" for name, sentences in by_name.items()]


def _split(record: RunRecord) -> str:
    config, cut = record.done.config, record.done.temporal
    files = config.get("benchmark_filename")
    if files:
        return (
            f"given. The files {', '.join(map(str, files))} of {record.dataset} train, validate and test, as their "
            "makers split them; what that leaks is theirs to say."
        )
    args = config.get("eval_args")
    split = args.get("split") if isinstance(args, Mapping) else None
    if not isinstance(split, Mapping):
        return ""
    if cut is not None:
        target = (split.get(TEMPORAL) or {}).get("target", "last")
        told = (
            f"{TEMPORAL}, one cut in time over all users. Of {record.dataset} the {cut.training_interactions:,} "
            f"interactions before time {in_words(cut.valid_from)} train, those up to {in_words(cut.test_from)} "
            f"validate; {cut.test_users:,} users are asked for their {target} item after that. Nothing later than the "
            "first cut was learned from."
        )
        if cut.new_items:
            told += f" {cut.new_items:,} items are first seen after it and were {cut.new_items_are}"
            told += f"; {cut.new_targets:,} users are asked for one." if cut.new_items_are == "ranked" else "."
        return told
    if split.get("LS") == "valid_and_test":
        return f"leave-one-out. A user's last item tests, the one before it validates. {LEAVE_ONE_OUT_LEAKS}"
    return f"RecBole's split {', '.join(f'{kind}: {how}' for kind, how in split.items())}."


def _ranking(config: Mapping[str, Any]) -> str:
    mode = (config.get("eval_args") or {}).get("mode")
    modes = set(mode.values()) if isinstance(mode, Mapping) else {mode}
    sampled = sorted(str(one) for one in modes if str(one).startswith(("uni", "pop")))
    if not sampled:
        return ""
    return f"Items are ranked among a sample ({', '.join(sampled)}), which is good for reproducing papers and no more."


def _returning(record: RunRecord) -> str:
    if not record.done.seen_targets:
        return ""
    return (
        f"What a user has had is not ranked, but of {record.dataset} {record.done.seen_targets:,} of "
        f"{record.done.test_items:,} test items are such ones; these were to find among all items."
    )


def _counting(record: RunRecord) -> str:
    """What these metrics of RecBole's count, which is not the same for all rows of a table."""
    asked = {str(metric).lower() for metric in record.done.config.get("metrics") or ()}
    told = [metric for metric in ("AveragePopularity", "TailPercentage") if metric.lower() in asked]
    if not told:
        return ""
    return (
        f"{' and '.join(told)}: RecBole counts the targets of training samples, which for sequential models a user's "
        "first item is not, so that values compare among models of one kind."
    )
