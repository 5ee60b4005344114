"""The text above all benchmarks of a results folder: ``README.md``, with every number taken from the tables.

What is written by hand is ``README.md.j2`` (Jinja2). It asks for numbers, and states none::

    {{ gain("language", "Scientific", "SASRec", "minilm", "ndcg@10") }}     +9.9 % [+4.0, +15.8], p <0.001, 5 seeds
    {{ score("language", "Scientific", "SASRec", "minilm", "ndcg@10") }}    0.0999 ± 0.0010
    {{ verdict("language", "Scientific", "SASRec", "minilm", "ndcg@10") }}  better
    {{ gain_over("language", "Scientific", "SASRec", "minilm", "tf-idf", "ndcg@10") }}  as a gain, over another row
    {{ card_gain("standard", "minilm") }}, {{ card_gain("standard", "minilm", "Office") }}  +9.9 % [+4.0, +15.8]
    {{ card_score("standard", "minilm", "Office", "SASRec") }}  0.0756
"""

from __future__ import annotations

import math
from pathlib import Path

from recbole_ext.errors import ConfigurationError
from recbole_ext.records import RowKey
from recbole_ext.records.card import Card, file_name_of
from recbole_ext.report.cells import p_cell, percent_cell
from recbole_ext.report.index import ENCODERS
from recbole_ext.report.leaderboard import AT_LIMIT, KEYS, ends_of, improvement_of, mark_of, p_of, std_of
from recbole_ext.report.leaderboard_file import LEADERBOARD, number_in, read_lines
from recbole_ext.report.results import finished_results
from recbole_ext.report.significance import compare_with_baselines
from recbole_ext.writing import replacing_file

README = "README.md"
SOURCE = "README.md.j2"
NOT_SHOWN = "not shown"
_VERDICTS = {"better": "better", "worse": "worse", "tie": NOT_SHOWN}


def write_readme(results: Path) -> Path | None:
    """Write ``results``/README.md from the README.md.j2 beside it; ``None`` where there is none.

    Raises:
        ConfigurationError: the text asks for a row or a metric that no table has, or is no Jinja2.
    """
    source = results / SOURCE
    if not source.is_file():
        return None
    text = render(source.read_text(encoding="utf-8"), results)
    with replacing_file(results / README) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return results / README


def render(source: str, results: Path) -> str:
    """The text with its numbers, from the ``leaderboard.csv`` of the benchmarks and the cards below ``results``."""
    from jinja2 import Environment, StrictUndefined, TemplateError

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    tables = Tables(results)
    for ask in (tables.score, tables.gain, tables.verdict, tables.gain_over, tables.card_gain, tables.card_score):
        environment.globals[ask.__name__] = ask
    try:
        return environment.from_string(source).render()
    except TemplateError as error:
        raise ConfigurationError(f"{results / SOURCE}: {error}") from error


class Tables:
    """What the text may ask of the tables below a folder; each row is named by benchmark, dataset, model, variant."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._tables: dict[str, list[dict[str, str]]] = {}

    def score(self, benchmark: str, dataset: str, model: str, variant: str, metric: str, protocol: str = "full") -> str:
        """Mean and standard deviation over seeds: ``0.0713 ± 0.0010``."""
        line = self._line(benchmark, dataset, model, variant, protocol, metric)
        spread = number_in(line, std_of(metric))
        return f"{number_in(line, metric):.4f}" + ("" if math.isnan(spread) else f" ± {spread:.4f}")

    def gain(self, benchmark: str, dataset: str, model: str, variant: str, metric: str, protocol: str = "full") -> str:
        """The change to the row's own baseline, its 95 % interval over users and seeds, p and the number of seeds; of a
        tested one that is no fair comparison (other trials, other settings, an epoch limit) it says so."""
        line = self._line(benchmark, dataset, model, variant, protocol, improvement_of(metric))
        low, high = (number_in(line, end) for end in ends_of(metric))
        told = _told(
            number_in(line, improvement_of(metric)), low, high, number_in(line, p_of(metric)), int(line["n_seeds"])
        )
        return told if math.isnan(low) or _is_fair(line) else f"{told}, not a fair comparison"

    def verdict(
        self, benchmark: str, dataset: str, model: str, variant: str, metric: str, protocol: str = "full"
    ) -> str:
        """``better`` or ``worse`` than the row's baseline, or ``not shown``: no difference, no test, or no fair one."""
        line = self._line(benchmark, dataset, model, variant, protocol, metric)
        return NOT_SHOWN if not _is_fair(line) else _VERDICTS.get(line.get(mark_of(metric), ""), NOT_SHOWN)

    def gain_over(
        self, benchmark: str, dataset: str, model: str, variant: str, other: str, metric: str, protocol: str = "full"
    ) -> str:
        """As :meth:`gain`, over ``other``, a row that is not its baseline: one comparison by itself, p uncorrected."""
        folder = self._results / benchmark
        _, results = finished_results(folder)
        keys = [RowKey(dataset, model, name, protocol) for name in (variant, other)]
        found = {result.key: result for result in results if result.runs}
        if missing := [key for key in keys if key not in found]:
            raise ConfigurationError(
                f"{self._results / SOURCE}: {folder} has no finished run of {', '.join(missing[0])}."
            )
        ours, theirs = (found[key] for key in keys)
        tested = compare_with_baselines([ours], {ours.key: theirs}, [metric], folder).made.get((ours.key, metric))
        if tested is None:
            raise ConfigurationError(
                f"{self._results / SOURCE}: {folder} can't compare {keys[0]} with {other} in {metric}."
            )
        change, low, high = (100 * value for value in (tested.gain.gain, tested.gain.low, tested.gain.high))
        return _told(change, low, high, tested.p, len(ours.runs))

    def card_gain(self, suite: str, name: str, dataset: str = "") -> str:
        """What the card says that vectors gain over random ones: on one dataset, or the mean over the suite's; with a †
        where the epoch limit ended one of its runs."""
        card, path = self._card(suite, name)
        gains = {"": card.gain, **{of.dataset: of.gain for of in card.datasets}}
        if dataset not in gains:
            raise ConfigurationError(f"{self._results / SOURCE}: the card {path} has no dataset {dataset!r}.")
        gain = gains[dataset]
        at_limit = any(score.at_limit for score in card.scores if dataset in ("", score.dataset))
        return _change(gain.mean, gain.low, gain.high) + (f" {AT_LIMIT}" if at_limit else "")

    def card_score(self, suite: str, name: str, dataset: str, model: str) -> str:
        """What a recommender scores from the card's vectors, mean over seeds: ``0.0655``."""
        card, path = self._card(suite, name)
        scores = {(score.dataset, score.model): score.score for score in card.scores}
        if (dataset, model) not in scores:
            raise ConfigurationError(f"{self._results / SOURCE}: card {path} has no score of {model} on {dataset!r}.")
        return f"{scores[dataset, model]:.4f}"

    def _card(self, suite: str, name: str) -> tuple[Card, Path]:
        path = self._results / ENCODERS / file_name_of(suite, name)
        if not path.is_file():
            raise ConfigurationError(f"{self._results / SOURCE}: no score card {path}.")
        return Card.read(path), path

    def _line(
        self, benchmark: str, dataset: str, model: str, variant: str, protocol: str, column: str
    ) -> dict[str, str]:
        key = [dataset, model, variant, protocol]
        lines = [line for line in self._table(benchmark) if [line[name] for name in KEYS] == key and not line["source"]]
        if len(lines) != 1 or not lines[0].get(column):
            raise ConfigurationError(
                f"{self._results / SOURCE}: {self._results / benchmark / LEADERBOARD} has no {column} of "
                f"{', '.join(key)}."
            )
        return lines[0]

    def _table(self, benchmark: str) -> list[dict[str, str]]:
        if benchmark not in self._tables:
            try:
                self._tables[benchmark] = read_lines(self._results / benchmark)
            except ConfigurationError as error:
                raise ConfigurationError(f"{self._results / SOURCE}: {error}") from error
        return self._tables[benchmark]


def _is_fair(line: dict[str, str]) -> bool:
    return line["fair"] == "True"


def _told(change: float, low: float, high: float, p: float, seeds: int) -> str:
    """In per cent, with the ends of the interval where there is a test."""
    said = [_change(change, low, high)]
    if not math.isnan(low):
        shown = p_cell(p).text
        said.append(f"p {shown if shown.startswith('<') else '= ' + shown}")
    return ", ".join([*said, f"{seeds} seed{'s' if seeds > 1 else ''}"])


def _change(change: float, low: float | None, high: float | None) -> str:
    cell = percent_cell(change, low, high)
    return " ".join(filter(None, (cell.text, cell.spread)))
