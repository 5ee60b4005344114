"""What can be set of an evaluation, tried: does it equal stock RecBole, or is it refused in a sentence?

Every metric alone and all together; cutoffs; the ranking of validation and of test; splits, orders and groups. Three
models stand for their kinds: BPR for the general ones, SASRec for the sequential ones, DeepFM for those that predict
labels. One epoch each on a slice of ml-100k, beside stock RecBole as in :mod:`recbole_ext.survey`.
"""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.benchmark.protocol import PROTOCOL as OF_BENCHMARKS
from recbole_ext.survey.comparison import compared
from recbole_ext.survey.keys import LABELLED, NO_NEGATIVES, PROTOCOL, Settings
from recbole_ext.survey.movies import SLICE, USERS_OF_SLICE, write_movies
from recbole_ext.survey.processes import in_processes, stock
from recbole_ext.writing import replacing_file, write_json

log = logging.getLogger(__name__)

Place = tuple[str, str, str]

RANKING = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "GAUC"]
BEYOND_ACCURACY = ["ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"]
VALUES = ["AUC", "LogLoss", "MAE", "RMSE"]
MODES = ["full", "uni20", "pop20"]
SPLITS: dict[str, Settings] = {
    "last two of a user": {"LS": "valid_and_test"},
    "last of a user tests": {"LS": "test_only"},
    "last of a user validates": {"LS": "valid_only"},
    "shares 8:1:1": {"RS": [0.8, 0.1, 0.1]},
    "shares 8:0:2": {"RS": [0.8, 0.0, 0.2]},
    "shares 8:2:0": {"RS": [0.8, 0.2, 0.0]},
    "one point in time, 8:1:1": {"TS": [0.8, 0.1, 0.1]},
}
ORDERS = {"by time": "TO", "at random": "RO"}
GROUPS = {"each user": "user", "all together": None}
COMMON: Settings = {
    **PROTOCOL,
    "embedding_size": 16,
    "hidden_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "mlp_hidden_size": [16],
    "MAX_ITEM_LIST_LENGTH": 8,
    "train_batch_size": 512,
    "training_samples": "augmented",
}
RANKS: dict[str, Settings] = {"BPR": {}, "SASRec": NO_NEGATIVES}
CASES_IN_A_PROCESS = 40
TRY = """
from pathlib import Path
from recbole_ext.survey.trials import try_settings
run = lambda model, settings, folder: try_settings(model, settings, Path(folder))
"""
OF_STOCK = {
    "eval_args": "the same for sequential models; for others `split: {RS: [0.8, 0.1, 0.1]}` and `order: RO`",
    "metrics": "`[Recall, MRR, NDCG, Hit, Precision]`",
    "topk": "`[10]`",
    "valid_metric": "`MRR@10`",
    "metric_decimal_place": "`4`",
    "eval_batch_size": "`4096`",
}
"""Keys of evaluation that a benchmark sets otherwise than stock RecBole, with stock's value."""
PAGE = """\
# The options, tried

Does an evaluation here give the same numbers as in stock RecBole? {cases} of {all} ways to evaluate have been tried.
Each trial is one epoch on the first {users} users of ml-100k, run twice with the same seed: here, and in stock RecBole
1.2.1.

A benchmark has other defaults than stock RecBole. Three of them change what a model learns or is ranked against. To get
stock RecBole's numbers set these as the trials do: `training_samples: augmented`, `exact_time_order: false`, and
`rank_seen_items: null`. The others say how data are split, what is measured, and by what the best epoch is chosen; in a
trial both sides have the same values:

| key | a benchmark | stock RecBole |
| --- | --- | --- |
{defaults}

Of {run} that run, {equal} give stock RecBole's metrics of validation and test, to the last digit. {refused} are refused
before anything is trained, with a sentence that says why.

`recbole-ext doctor --options` makes this page. Three models stand for their kinds: BPR for general models, SASRec for
sequential ones, DeepFM for those that predict labels (`mode: labeled`).

What a cell says:

- `=`: equal to stock RecBole, to the last digit.
- `=*`: equal, too; but stock RecBole by itself ends with an error, so that it was run with this package's compat layer.
  The errors are listed under "Where stock RecBole fails by itself".
- `refused`: this package does not run it. The reasons are listed under "What is refused".
- `≠`: not equal; listed under "What is different".
- empty: not tried, because this split is refused for this model whatever the ranking is.

What the names of rows and columns are in RecBole's `eval_args`:

- `full`, `uni20`, `pop20`: the `mode`; "full, uni20" is `mode: {{valid: full, test: uni20}}`.
- "last two of a user": `split: {{LS: valid_and_test}}`; "last of a user tests": `{{LS: test_only}}`; "last of a user
  validates": `{{LS: valid_only}}`.
- "shares 8:1:1": `split: {{RS: [0.8, 0.1, 0.1]}}`; "one point in time, 8:1:1": `split: {{TS: [0.8, 0.1, 0.1]}}`.
- "by time": `order: TO`; "at random": `order: RO`.
- "each user": `group_by: user`; "all together": `group_by: null`.
{parts}

## What is refused, and what stock RecBole does there

The message of this package; in brackets, what stock RecBole does with the same keys.

{refusals}

## Where stock RecBole fails by itself

Stock RecBole's errors in the cells marked `=*`.

{mended}
{different}"""


@dataclass(frozen=True)
class Case:
    """One way to evaluate: where it stands on the page, and its keys above the common ones."""

    part: str
    row: str
    column: str
    model: str
    settings: Settings

    @property
    def place(self) -> Place:
        """Where it stands on the page; no two cases stand in one."""
        return self.part, self.row, self.column


@dataclass(frozen=True)
class Tried:
    """What became of a case.

    Attributes:
        outcome: ``yes``, ``yes, mended: WHAT`` where stock RecBole fails by itself, ``refused: SENTENCE``, or what was
            different.
        stock: what stock RecBole does with a case that is refused here.
    """

    part: str
    row: str
    column: str
    outcome: str
    stock: str = ""

    @property
    def place(self) -> Place:
        """That of its case."""
        return self.part, self.row, self.column


def all_cases() -> list[Case]:
    """Everything that is tried, in the order of the page."""
    return [*_metrics(), *_cutoffs(), *_modes(), *_splits()]


def _metrics() -> Iterator[Case]:
    ranking = [*RANKING, *BEYOND_ACCURACY]
    for metrics in [*([each] for each in ranking), ranking]:
        name = metrics[0] if len(metrics) == 1 else "all of these"
        valid = metrics[0] if metrics == ["GAUC"] else f"{metrics[0]}@5"
        for model, keys in RANKS.items():
            yield Case("Metrics of a ranking", name, model, model, {**keys, "metrics": metrics, "valid_metric": valid})
    labelled = {"DeepFM, labels": ("DeepFM", LABELLED)}
    for mode in ("uni20", "pop20"):
        of_mode = {"eval_args": {**PROTOCOL["eval_args"], "mode": mode}}
        labelled |= {f"{model}, {mode}": (model, {**keys, **of_mode}) for model, keys in RANKS.items()}
    for metrics in [*([each] for each in VALUES), VALUES]:
        name = metrics[0] if len(metrics) == 1 else "all of these"
        for column, (model, keys) in labelled.items():
            own = {**keys, "metrics": metrics, "valid_metric": metrics[0]}
            yield Case("Metrics of labels", name, column, model, own)


def _cutoffs() -> Iterator[Case]:
    for topk, valid in (([1], "Hit@1"), ([3, 7], "MRR@3"), ([3, 7], "Recall@7"), (5, "NDCG@5"), ([20, 5], "NDCG@20")):
        for model, keys in RANKS.items():
            own = {**keys, "topk": topk, "valid_metric": valid}
            yield Case("Cutoffs", f"`topk: {topk}`, `valid_metric: {valid}`", model, model, own)


def _modes() -> Iterator[Case]:
    for valid, test in itertools.product(MODES, MODES):
        mode = {"valid": valid, "test": test}
        for model, keys in RANKS.items():
            own = {**keys, "eval_args": {**PROTOCOL["eval_args"], "mode": mode}}
            yield Case("Ranking of validation and of test", f"{valid}, {test}", model, model, own)


def _splits() -> Iterator[Case]:
    for (split, parts), (order, ordered), (group, grouped) in itertools.product(
        SPLITS.items(), ORDERS.items(), GROUPS.items()
    ):
        if "LS" in parts and grouped is None:
            continue  # RecBole takes the last ones of each user whatever the key says
        args = {"split": parts, "order": ordered, "group_by": grouped}
        row = f"{split}, {order}, {group}"
        for model, keys in RANKS.items():
            for mode in MODES[:1] if (model, ordered) == ("SASRec", "RO") else MODES:  # refused whatever the mode is
                own = {**keys, "eval_args": {**args, "mode": mode}}
                yield Case("Splits", row, f"{model}, {mode}", model, own)
        yield Case("Splits", row, "DeepFM, labels", "DeepFM", {**LABELLED, "eval_args": {**args, "mode": "labeled"}})


def try_options(
    records: Path = Path("results/options.json"), page: Path = Path("docs/options.md"), limit: int = 900
) -> list[Tried]:
    """Try all cases and write what became of them: ``records`` as JSON, ``page`` as tables.

    It goes on where it was: what ``records`` says to be equal or refused is not tried again, and both are written after
    every few cases. Remove ``records`` to begin anew.

    Args:
        limit: seconds of processor time for one case.
    """
    cases = all_cases()
    found = {tried.place: tried for tried in _read(records) if tried.outcome.startswith(("yes", "refused"))}
    todo = [case for case in cases if case.place not in found]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_movies(folder)
        for first in range(0, len(todo), CASES_IN_A_PROCESS):
            log.info("options: %d of %d tried", first, len(todo))
            found |= {tried.place: tried for tried in _try(todo[first : first + CASES_IN_A_PROCESS], folder, limit)}
            in_order = [found[case.place] for case in cases if case.place in found]
            write_json(records, [asdict(tried) for tried in in_order])
            with replacing_file(page) as temporary:
                temporary.write_text(as_page(in_order), encoding="utf-8")
    return [found[case.place] for case in cases]


def _read(records: Path) -> list[Tried]:
    return [Tried(**row) for row in json.loads(records.read_text(encoding="utf-8"))] if records.is_file() else []


def _try(cases: list[Case], folder: Path, limit: int) -> list[Tried]:
    settings = [{**COMMON, **case.settings} for case in cases]
    ours = in_processes(
        TRY, [[case.model, keys, str(folder)] for case, keys in zip(cases, settings, strict=True)], folder, limit
    )
    in_stock = [
        (case.model, SLICE, {**keys, "data_path": str(folder)}) for case, keys in zip(cases, settings, strict=True)
    ]
    theirs = stock(in_stock, folder, limit)
    return [_tried(*results) for results in zip(cases, ours, theirs, strict=True)]


def _tried(case: Case, ours: dict[str, Any], theirs: dict[str, Any]) -> Tried:
    if "refused" in ours:
        return Tried(*case.place, f"refused: {ours['refused']}", _said(theirs))
    if "failure" in ours:
        return Tried(*case.place, f"fails: {ours['failure']}")
    return Tried(*case.place, compared(ours["metrics"], theirs))


def _said(theirs: dict[str, Any]) -> str:
    """What stock RecBole does, in words."""
    if "metrics" not in theirs:
        return str(theirs["failure"])
    mended = f" (mended: {theirs['mended']})" if "mended" in theirs else ""
    return (
        f"gives metrics of {' and '.join(split for split, of in theirs['metrics'].items() if of) or 'nothing'}{mended}"
    )


def as_page(found: list[Tried]) -> str:
    """The page that holds the tables."""
    ran = [tried for tried in found if not tried.outcome.startswith("refused")]
    refused: dict[str, list[str]] = {}
    for tried in found:
        if tried not in ran:
            said = refused.setdefault(tried.outcome.removeprefix("refused: "), [])
            said += [tried.stock] if tried.stock not in said else []
    mended = sorted({tried.outcome.removeprefix("yes, mended: ") for tried in ran if "yes, mended" in tried.outcome})
    wrong = [f"- {each.row}, {each.column}: {each.outcome}" for each in ran if not each.outcome.startswith("yes")]
    return PAGE.format(
        defaults="\n".join(
            f"| `{key}` | `{_in_yaml(OF_BENCHMARKS[key])}` | {of_stock} |" for key, of_stock in OF_STOCK.items()
        ),
        all=len(all_cases()),
        cases=len(found),
        users=USERS_OF_SLICE,
        run=len(ran),
        equal=len(ran) - len(wrong),
        refused=len(found) - len(ran),
        parts="\n".join(_table(part, found) for part in dict.fromkeys(tried.part for tried in found)),
        refusals="\n".join(f"- {sentence} (Stock: {'; '.join(said)})" for sentence, said in refused.items())
        or "Nothing.",
        mended="\n".join(f"- {what}" for what in mended) or "Nowhere.",
        different="\n## What is different\n\n" + "\n".join(wrong) + "\n" if wrong else "",
    )


def _table(part: str, found: list[Tried]) -> str:
    here = {(tried.row, tried.column): _cell(tried.outcome) for tried in found if tried.part == part}
    rows, columns = (list(dict.fromkeys(key[side] for key in here)) for side in (0, 1))
    lines = [["", *columns], ["---", *([":-:"] * len(columns))]]
    lines += [[row, *(here.get((row, column), "") for column in columns)] for row in rows]
    return f"\n## {part}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _in_yaml(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
        .removesuffix("\n...\n")
        .strip("\n{}")
    )


def _cell(outcome: str) -> str:
    if outcome.startswith("refused"):
        return "refused"
    return "=" if outcome == "yes" else "=*" if outcome.startswith("yes, mended") else "≠"
