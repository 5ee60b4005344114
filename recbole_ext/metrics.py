"""Metrics by name: RecBole's, and a user's own by dotted path."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from recbole_ext.compat import make_recbole_work
from recbole_ext.errors import ConfigurationError
from recbole_ext.named_classes import class_at

OWN_METRICS = {
    "intralistdistance": "recbole_ext.beyond_accuracy.IntraListDistance",
    "novelty": "recbole_ext.beyond_accuracy.Novelty",
}
"""This package's metrics by the name that they are asked for by, whatever its case."""


def register_metrics(metrics: Sequence[str] | str) -> list[str]:
    """The names by which RecBole knows these metrics, a user's own registered with it.

    A metric of a user's own is a class derived from one of RecBole's (``recbole.evaluator.base_metric``), named by
    where it can be imported from: ``my_package.metrics.ReciprocalRank``. RecBole then reports it by the class's name.

    Raises:
        ConfigurationError: there is no such metric; names the closest.
    """
    make_recbole_work()
    from recbole.evaluator import register

    names = []
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        name = OWN_METRICS.get(str(metric).lower(), str(metric))
        if "." in name:
            found = _users_metric(name)
            name = found.__name__
            register.metrics_dict[name.lower()] = found
            register.metric_information[name.lower()] = found.metric_need
            register.metric_types[name.lower()] = found.metric_type
            if found.smaller and name.lower() not in register.smaller_metrics:
                register.smaller_metrics.append(name.lower())
        elif name.lower() not in register.metrics_dict:
            known = {metric.lower(): metric for metric in _known(register.metrics_dict)}
            close = difflib.get_close_matches(name.lower(), known, n=1)
            hint = f"Did you mean {known[close[0]]!r}?" if close else f"It has {', '.join(sorted(known.values()))}."
            raise ConfigurationError(f"metrics: RecBole and this package have no metric {name!r}. {hint}")
        names.append(name)
    return names


def _known(registered: dict[str, Any]) -> list[str]:
    """Names of RecBole's metrics and of this package's."""
    return [cls.__name__ for cls in registered.values()] + [path.rpartition(".")[2] for path in OWN_METRICS.values()]


def has_cutoff(name: str) -> bool:
    """Whether results name the metric with a cutoff, as in ``ndcg@10``; one that is not registered is taken to.

    RecBole takes none of a value metric's (AUC, LogLoss, MAE, RMSE, a user's own of that type), nor GAUC's.
    """
    make_recbole_work()
    from recbole.evaluator import register
    from recbole.utils import EvaluatorType

    is_of_values = register.metric_types.get(name.lower()) == EvaluatorType.VALUE
    return not is_of_values and name.lower() != "gauc"


def reported(metrics: Iterable[str], topk: Iterable[Any]) -> list[str]:
    """The names under which RecBole's evaluator reports registered metrics at these cutoffs, in order."""
    cutoffs = list(topk)
    names = [metric.lower() for metric in metrics]
    return [key for name in names for key in ([f"{name}@{k}" for k in cutoffs] if has_cutoff(name) else [name])]


def _users_metric(path: str) -> Any:
    from recbole.evaluator.base_metric import AbstractMetric

    found = class_at(path, "metrics")
    if not (isinstance(found, type) and issubclass(found, AbstractMetric)):
        raise ConfigurationError(f"metrics: {path} is no metric: derive it from one of recbole.evaluator.base_metric.")
    return found
