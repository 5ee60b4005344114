"""The page that the survey writes."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ext.models import model_names
from recbole_ext.survey.keys import PROTOCOL, SECONDS_OF_AN_EPOCH
from recbole_ext.survey.movies import USERS_OF_SLICE
from recbole_ext.survey.surveyed import Surveyed

PAGE = """\
# The models, tried

Of the {all} models of RecBole 1.2.1 and of this package {models} have been tried: {running} run, {refused} are refused
before anything is computed with a sentence that says what they need, {failing} end in an error. Of {compared} that were
compared with stock RecBole, {equal} give its metrics to the last digit.

Made by `recbole-ext doctor --models`, which tries every model on ml-100k: one epoch, full ranking, the last item of
each user tests, histories of at most {length} items.

- *Vectors*: the model's tables that begin with the vectors of a store. `–`: none.
- *Samples*: what the model is trained on by default. `user` (one row per user) and `prefix` (without padding) are
  shortcuts, taken only where the model proves them exact. `augmented` is RecBole's own way. `text`: the model reads
  text, with a trainer of its own. `none`: nothing is trained.
- *Seconds*: processor time of one epoch of training on all users, on one core; other programs hardly change it.
  `~`: estimated from the batches of the first {limit} s. No number: not measured, or longer than {limit} s in a model
  whose epoch goes through the data several times.
- *Equal to stock*: the same seed gives the same metrics of validation and test, to the last digit; compared on
  RecBole's own samples, on the first {users} users. `mended`: stock RecBole by itself ended with the error that is
  named, so that it was run with this package's compat layer; below NumPy 2 and pandas 3 most of it still runs by
  itself. `stock fails`: with the compat layer too. `–`: a model of this package, or one whose stages are several runs
  in stock RecBole.

| model | kind | runs | vectors | samples | seconds | equal to stock |
| --- | --- | --- | --- | --- | ---: | --- |
{rows}

## Keys

What a model needs on ml-100k beyond its name, where that is anything:

{keys}
"""


def as_page(rows: Sequence[Surveyed]) -> str:
    """The page that holds the table."""

    def line(row: Surveyed) -> str:
        seconds = "" if row.seconds is None else f"{'~' if row.estimated else ''}{_short(row.seconds)}"
        cells = [row.model, row.kind, row.runs, row.tables or "–", row.samples or "–", seconds, row.equals_stock]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return PAGE.format(
        all=len(model_names()),
        models=len(rows),
        running=sum(row.runs == "yes" for row in rows),
        refused=sum(row.runs.startswith("refused") for row in rows),
        failing=sum(not row.runs.startswith(("yes", "refused")) for row in rows),
        compared=sum(row.equals_stock.startswith(("yes", "no")) for row in rows),
        equal=sum(row.equals_stock.startswith("yes") for row in rows),
        users=USERS_OF_SLICE,
        limit=SECONDS_OF_AN_EPOCH,
        length=PROTOCOL["MAX_ITEM_LIST_LENGTH"],
        rows="\n".join(map(line, rows)),
        keys="\n".join(f"- **{row.model}**: " + "; ".join(f"`{key}`" for key in row.keys) for row in rows if row.keys),
    )


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"
