"""What all models are split, trained and ranked by, and whether its parts fit each other."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recbole_ext.data.temporal import Temporal
from recbole_ext.errors import ConfigurationError
from recbole_ext.metrics import has_cutoff, register_metrics, reported

if TYPE_CHECKING:
    from recbole_ext.benchmark.resolved import ResolvedRow

Settings = dict[str, Any]

PROTOCOL: Settings = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "rank_seen_items": "auto",
    "metrics": ["Recall", "NDCG", "MRR"],
    "topk": [1, 5, 10, 20, 50],
    "valid_metric": "NDCG@10",
    "stopping_step": 10,
    "epochs": 300,
    "metric_decimal_place": 8,
    "eval_batch_size": 512,
    "MAX_ITEM_LIST_LENGTH": 50,
}
"""The design's protocol: leave-one-out in time order, full ranking, early stopping on validation NDCG@10.

A benchmark's ``protocols`` go above it: ``{eval_args: {split: {temporal: {…}}}}`` cuts all users at one time
(:class:`recbole_ext.data.temporal.Temporal`), ``{benchmark_filename: [train, valid, test]}`` takes files that are split
already.
"""


OF_ALL_ROWS = (
    "eval_args",
    "benchmark_filename",
    "rank_seen_items",
    "metrics",
    "topk",
    "valid_metric",
    "exact_time_order",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "filter_inter_by_user_or_item",
    "val_interval",
    "rm_dup_inter",
    "TIME_FIELD",
    "tail_ratio",
    "diversity_vectors",
)
"""Keys that say which interactions there are, how they are split, and how lists are ranked and measured."""


def check_tested_alike(rows: Sequence[ResolvedRow], where: str) -> None:
    """See that rows of one dataset and protocol, which a leaderboard ranks among each other, are tested alike.

    Raises:
        ConfigurationError: a model, an initialisation or a trial has another value of a key of ``OF_ALL_ROWS``.
    """
    first: dict[tuple[str, str], tuple[str, Settings]] = {}
    for row in rows:
        of = row.key.dataset, row.key.protocol
        for spec in row.searched:
            name = ", ".join([row.key.model, row.key.variant, *(f"{k}={v}" for k, v in spec.trial.items())])
            config = {**row.effective, **spec.config}
            other, wanted = first.setdefault(of, (name, config))
            for key in OF_ALL_ROWS:
                if _in_one_form(key, config.get(key)) != _in_one_form(key, wanted.get(key)):
                    raise ConfigurationError(
                        f"{where}: {', '.join(of)}: {key} is {wanted.get(key)!r} for {other} and {config.get(key)!r} "
                        f"for {name}, and rows of one table have to be tested alike. Set it below config or a "
                        "protocol, or write a benchmark of each."
                    )


def check_ranked_by_one_metric(rows: Sequence[ResolvedRow], where: str) -> None:
    """See that all rows are validated by one metric, which the whole report ranks, compares and shows them by.

    Raises:
        ConfigurationError: there are several; names a dataset and a protocol of each.
    """
    by_metric: dict[str, str] = {}
    for row in rows:
        by_metric.setdefault(str(row.effective["valid_metric"]).lower(), f"{row.key.dataset}, {row.key.protocol}")
    if len(by_metric) > 1:
        named = " and ".join(f"{metric} ({of})" for metric, of in by_metric.items())
        raise ConfigurationError(
            f"{where}: validation goes by {named}, and the tables of one benchmark are ranked by one metric. Set "
            "valid_metric alike, below config, to one that all of them report (topk decides), or write a benchmark "
            "of each."
        )


def _in_one_form(key: str, value: Any) -> Any:
    """What RecBole takes for the same: one cutoff and a list of it, names in any case, a mode for both phases."""
    if key == "topk":
        return sorted(set(_cutoffs({key: value})))
    if key == "metrics":
        return sorted({str(name).lower() for name in ([value] if isinstance(value, str) else value or ())})
    if key == "valid_metric":
        return str(value).lower()
    if key == "eval_args" and isinstance(value, dict):
        mode = value.get("mode")
        return {**value, "mode": mode if isinstance(mode, dict) else {"valid": mode, "test": mode}}
    return list(value) if isinstance(value, tuple) else value


def check_protocol_name(protocol: str, config: Settings, where: str) -> None:
    """See that a protocol does what its name says; any other name is a label.

    Raises:
        ConfigurationError: it is called ``temporal``, ``given`` or as a sampled ranking (``uni100``), and is none.
    """
    arguments = config.get("eval_args") or {}
    sampled = re.fullmatch(r"(uni|pop)\d+", protocol)
    if protocol == "temporal" and Temporal.of(arguments) is None:
        promised = "eval_args: {split: {temporal: {}}}"
    elif protocol == "given" and not config.get("benchmark_filename"):
        promised = "benchmark_filename: [train, valid, test]"
    elif sampled and protocol not in str(arguments.get("mode")):
        promised = f"eval_args: {{mode: {protocol}}}"
    else:
        return
    raise ConfigurationError(
        f"{where}: protocols.{protocol}: a name alone changes nothing, and would be leave-one-out with full ranking. "
        f"Say protocols: {{{protocol}: {{{promised}}}}}, or choose another name."
    )


def check_evaluation(config: Settings, valid_metric_given: bool, n_trials: int, where: str) -> None:
    """See that metrics, cutoffs, split and mode fit each other.

    Raises:
        ConfigurationError: an unknown metric, cutoffs that are no positive numbers, a ``valid_metric`` that is not
            among ``metrics`` × ``topk``, a split without a test set, or a search without a validation set.
    """
    try:
        metrics = register_metrics(config.get("metrics") or [])
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    if "intralistdistance" in map(str.lower, metrics) and not config.get("diversity_vectors"):
        raise ConfigurationError(
            f"{where}: metrics: IntraListDistance needs `diversity_vectors`, the path of the store in whose vectors "
            "items are compared, the same for all rows."
        )
    cutoffs = _cutoffs(config)
    if any(not isinstance(k, int) or isinstance(k, bool) or k < 1 for k in cutoffs):
        raise ConfigurationError(f"{where}: topk: whole numbers from 1 on; got {config.get('topk')!r}.")
    names = reported(metrics, cutoffs)
    if not names:
        raise ConfigurationError(
            f"{where}: metrics: {metrics} with topk: {config.get('topk')!r} leave nothing to report. Name a metric and "
            "a cutoff, as in [NDCG] and [10]."
        )
    if valid_metric_given and str(config["valid_metric"]).lower() not in names:
        raise ConfigurationError(
            f"{where}: valid_metric: {config['valid_metric']!r} is not among what is reported: {', '.join(names)}."
        )
    validates, tests = held_out(config)
    if not tests:
        raise ConfigurationError(
            f"{where}: eval_args.split: {config['eval_args'].get('split')!r} leaves nothing to test, and a leaderboard "
            "is made of test metrics. Use LS: valid_and_test or test_only, or RS with a share for testing."
        )
    if not validates and n_trials > 1:
        raise ConfigurationError(
            f"{where}: search: {n_trials} trials, and nothing to choose by: {_why_nothing_validates(config)}."
        )


def nearest_valid_metric(config: Settings) -> str:
    """What validation goes by where nobody says it: NDCG at 10 or the nearest cutoff, else the first metric."""
    try:
        metrics = register_metrics(config.get("metrics") or [])
    except ConfigurationError:  # which check_evaluation raises with the place
        metrics = []
    cutoffs = _cutoffs(config)
    name = next((metric for metric in metrics if metric.lower() == "ndcg"), metrics[0] if metrics else "NDCG")
    if not has_cutoff(name) or not cutoffs:
        return name
    positive = [k for k in cutoffs if isinstance(k, int) and k > 0] or [10]
    return f"{name}@{min(positive, key=lambda k: (abs(math.log(k / 10)), k))}"


def held_out(config: Settings) -> tuple[bool, bool]:
    """Whether the configuration holds out users' items for validation, and for testing."""
    split = (config.get("eval_args") or {}).get("split") or {}
    # RecBole takes an eval_step of 0 for "never validate".
    validates = int(config.get("eval_step", 1)) > 0
    if "LS" in split:
        return validates and split["LS"] in ("valid_and_test", "valid_only"), split["LS"] in (
            "valid_and_test",
            "test_only",
        )
    if "RS" in split:
        _, valid, test = split["RS"]
        return validates and valid > 0, test > 0
    return validates, True


def _cutoffs(config: Settings) -> list[Any]:
    topk = config.get("topk")
    return list(topk) if isinstance(topk, list | tuple) else [] if topk is None else [topk]


def _why_nothing_validates(config: Settings) -> str:
    if int(config.get("eval_step", 1)) <= 0:
        return "eval_step is 0, so no epoch is validated"
    return f"eval_args.split {config['eval_args'].get('split')!r} holds nothing out for validation"
