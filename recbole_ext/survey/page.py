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
before training with a sentence that says what they need, {failing} end in an error. Of {compared} that were
compared with stock RecBole, {equal} give its metrics to the last digit.

Made by `recbole-ext doctor --models`, which tries every model on ml-100k: one epoch, full ranking, the last item of
each user tests, histories of at most {length} items.

- *Vectors*: the model's tables that begin with the vectors of a store. `–`: none.
- *Samples*: what the model is trained on by default. `user` (one row per user) and `prefix` (without padding) are
  shortcuts, taken only where the model proves them exact; BERT4Rec's rows are masked in another way than RecBole's
  samples ([what differs](performance.md)). `augmented` is RecBole's own way. `text`: the model reads
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

## Models of this package

They stand beside RecBole's. What each leaves out of its paper says its file in `recbole_ext/models/`, at the beginning;
the defaults of its keys are in `recbole_ext/models/properties/MODEL.yaml`. "SASRec's" keys are `n_layers`, `n_heads`,
`hidden_size`, `inner_size`, `hidden_dropout_prob` and `attn_dropout_prob`.

| model | from | keys of its own |
| --- | --- | --- |
{own}

FDSA and SASRecF are RecBole's, and can also take the vectors of `item_embedding` as a feature (`selected_features:
[item_embedding]`). RaCT and S3Rec are RecBole's too, with all their stages in one run (`pretrain_epochs`). KSR and
NeuMF are RecBole's with one mistake mended: stock's KSR does not run, its NeuMF can't read what its halves dump.

## Keys

What a model needs on ml-100k beyond its name, where that is anything:

{keys}
"""


OWN = (
    (
        "AlphaFuse",
        "Hu et al., SIGIR 2025, arXiv 2504.19218: ID embeddings are learned only in axes where the text says little",
        "`null_dim`, `cover`, `temperature`, and SASRec's",
    ),
    (
        "ESASRec",
        "Tikhonovich et al., RecSys 2025, arXiv 2508.06450: SASRec with other layers (LiGR) and a sampled softmax",
        "`training_loss`, `training_negatives`, `temperature`, and SASRec's",
    ),
    (
        "GSASRec",
        "Petrov and Macdonald, RecSys 2023, arXiv 2308.07192: SASRec with many negatives and a loss made for them",
        "`training_loss`, `training_negatives`, `gbce_t`, and SASRec's",
    ),
    (
        "HSTU",
        "Zhai et al., ICML 2024, arXiv 2402.17152, without times",
        "`n_layers`, `n_heads`, `hidden_size`, `hidden_dropout_prob`, `temperature`, `training_loss`, "
        "`training_negatives`",
    ),
    ("LastItem", "no paper: the user's own items again, the newest first", "none"),
    (
        "NearestNeighbour",
        "no paper: the cosine of the item vectors with the user's last item; nothing is trained",
        "none",
    ),
    (
        "RecentPop",
        "after Ji et al., SIGIR 2020, arXiv 2005.13829: popularity of late",
        "`recent_per_user`, `recent_days` or `recent_interactions`",
    ),
    (
        "RECFORMER",
        "Li et al., KDD 2023, arXiv 2305.13731: the language model reads the whole sequence",
        "`encoder`, `checkpoint`, `item_attributes`, `attribute_tokens`, `max_tokens`, `max_items`, "
        "`attention_window`, `pooling`, `freeze_words`, `temperature`, `negatives`, `stage_one_epochs`, "
        "`stage_one_patience`, `stage_two_epochs`, `stage_two_patience`, `export_item_embedding`, `export_encoder`",
    ),
    (
        "TransitionGraph",
        "Han et al., 2026, arXiv 2605.07125: a graph of which item follows which; nothing is trained",
        "`ring_places`, `edge_weight`",
    ),
    (
        "UniSRec",
        "Hou et al., KDD 2022, arXiv 2206.05941, text alone, without its pre-training",
        "`n_experts`, `adaptor_dropout_prob`, `temperature`, and SASRec's",
    ),
    ("UniSRecID", "the same paper, text and an ID embedding", "UniSRec's"),
    (
        "WhitenRec",
        "Zhang et al., ICDE 2024, arXiv 2402.10602: whitened text vectors in place of ID embeddings",
        "`projection_dropout_prob`, and SASRec's",
    ),
    (
        "ZESRec",
        "Ding et al., 2021, arXiv 2105.08318: a GRU over projected text vectors, trained on the target alone",
        "GRU4Rec's: `embedding_size`, `hidden_size`, `num_layers`, `dropout_prob`",
    ),
)
"""The models of this package that are not RecBole's: name, where from, keys."""


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
        own="\n".join(f"| {' | '.join(cells)} |" for cells in OWN),
        keys="\n".join(f"- **{row.model}**: " + "; ".join(f"`{key}`" for key in row.keys) for row in rows if row.keys),
    )


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"
