"""Every model of RecBole and of this package, tried: does it run, does the hook attach, does it equal stock RecBole?

The data are ml-100k, which lies in RecBole's wheel, with made-up vectors of its entities and relations, and a slice of
it for the comparison with stock RecBole: one epoch each, in processes of their own, same keys, same seed, every metric
of validation and test to the last digit. Stock RecBole runs without any line of this package; where it then fails, with
the compat layer and without its count of FLOPs, and the table says so.
"""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_ext.errors import AttachError, RecboleExtError
from recbole_ext.models import OWN_MODELS, model_class, model_names, own_model_defaults, recbole_folder, recboles
from recbole_ext.writing import replacing_file, write_json

log = logging.getLogger(__name__)

Settings = dict[str, Any]

WHOLE, SLICE = "movies", "movies-slice"
"""Names of the two datasets. RecBole gives the name ml-100k keys of its own, which no other dataset has."""
USERS_OF_SLICE = 40
VECTOR_WIDTH = 64

PROTOCOL: Settings = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
    "topk": [5, 10, 20],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 8,
    "epochs": 1,
    "MAX_ITEM_LIST_LENGTH": 20,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "show_progress": False,
    "state": "ERROR",
    "use_gpu": False,
}
ON_SLICE: Settings = {"train_batch_size": 512, "training_samples": "augmented"}
OF_A_MODEL_ON_SLICE: dict[str, Settings] = {"DGCF": {"train_batch_size": 64}}
"""DGCF draws more users for a batch than the slice has, unless batches are many."""

INTERACTIONS = ["user_id", "item_id", "rating", "timestamp"]
NO_NEGATIVES: Settings = {"train_neg_sample_args": None}
ONE_NEGATIVE: Settings = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
WITH_FEATURES: Settings = {
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "user": ["user_id", "age", "gender", "occupation"],
        "item": ["item_id", "release_year", "class"],
    }
}
WITH_CLASS: Settings = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]},
    **NO_NEGATIVES,
}
WITH_GRAPH: Settings = {
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
    }
}
WITH_ENTITIES: Settings = {
    "load_col": {**WITH_GRAPH["load_col"], "ent": ["ent_id", "ent_emb"]},
    "additional_feat_suffix": ["ent"],
    "alias_of_entity_id": ["ent_id"],
    "preload_weight": {"ent_id": "ent_emb"},
    **NO_NEGATIVES,
}
LABELLED: Settings = {
    "load_col": {**WITH_FEATURES["load_col"], "inter": INTERACTIONS},
    "threshold": {"rating": 4},
    "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": None, "order": "RO", "mode": "labeled"},
    "metrics": ["AUC", "LogLoss"],
    "valid_metric": "AUC",
    **NO_NEGATIVES,
}

# These score pair by pair, each with its own reading of the history; RecBole's own default for them is uni100.
PAIR_BY_PAIR: Settings = {"eval_args": {**PROTOCOL["eval_args"], "mode": "uni100"}, **WITH_FEATURES, **ONE_NEGATIVE}

OF_A_MODEL: dict[str, Settings] = {
    "DIEN": PAIR_BY_PAIR,
    "DIN": PAIR_BY_PAIR,
    "FDSA": {"selected_features": ["class"], **WITH_CLASS},
    "FFM": {
        "fields": {0: ["user_id", "age"], 1: ["item_id", "class"], 2: ["gender", "occupation"], 3: ["release_year"]},
        **WITH_FEATURES,
        **ONE_NEGATIVE,
    },
    "FPMC": ONE_NEGATIVE,
    "FwFM": {
        "fields": {0: ["user_id", "age"], 1: ["item_id", "class"], 2: ["gender", "occupation"], 3: ["release_year"]},
        **WITH_FEATURES,
        **ONE_NEGATIVE,
    },
    "GRU4RecF": {"selected_features": ["class"], **WITH_CLASS},
    "GRU4RecKG": WITH_ENTITIES,
    "KSR": {
        **WITH_ENTITIES,
        "load_col": {**WITH_ENTITIES["load_col"], "rel": ["rel_id", "rel_emb"]},
        "additional_feat_suffix": ["ent", "rel"],
        "alias_of_relation_id": ["rel_id"],
        "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
    },
    "RECFORMER": {
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "encoder": "minilm",
        "item_attributes": ["movie_title"],
        "attribute_tokens": 8,
        "max_items": 10,
        "stage_one_epochs": 1,
        "stage_two_epochs": 0,
        **NO_NEGATIVES,
    },
    "RaCT": {"pretrain_epochs": 1},
    "S3Rec": {"item_attribute": "class", "pretrain_epochs": 1, **WITH_CLASS},
    "SASRecF": {"selected_features": ["class"], **WITH_CLASS},
    "SINE": {"loss_type": "CE", **NO_NEGATIVES},
    "TransRec": ONE_NEGATIVE,
}
"""The keys that a model needs beyond those of its type."""
OF_A_TYPE: dict[str, Settings] = {
    "GENERAL": {},
    "TRADITIONAL": {},
    "SEQUENTIAL": NO_NEGATIVES,
    "CONTEXT": {**WITH_FEATURES, **ONE_NEGATIVE},
    "KNOWLEDGE": WITH_GRAPH,
    "DECISIONTREE": LABELLED,
}
IN_ONE_RUN = ("RaCT", "S3Rec")
"""Pre-training and training are several runs in stock RecBole and one here, so that there is nothing to compare."""


@dataclass(frozen=True)
class Surveyed:
    """What was found out about one model.

    Attributes:
        kind: RecBole's type of it, in lower case; empty where the model could not even be imported.
        runs: ``yes``, or why not, in a sentence.
        tables: where the hook attaches; ``reads them itself``, or empty where there is no place.
        samples: what it is trained on by default.
        keys: what it needs beyond its name, on ml-100k.
        seconds: of processor time, for one epoch on ml-100k.
        equals_stock: ``yes``, ``yes, mended: WHAT`` where stock RecBole fails by itself, or what was different.
    """

    model: str
    kind: str
    runs: str
    tables: str = ""
    samples: str = ""
    keys: tuple[str, ...] = ()
    seconds: float | None = None
    equals_stock: str = ""


def survey(
    models: Iterable[str] | None = None,
    records: Path = Path("results/models.json"),
    page: Path = Path("docs/models.md"),
    limit: int = 900,
) -> list[Surveyed]:
    """Try ``models``, by default all, and write what was found: ``records`` as JSON, ``page`` as a table.

    What ``records`` says about other models stays. Written after each model, so that an interrupted survey keeps what
    it found.

    Args:
        limit: seconds of processor time for each of a model's processes.
    """
    found = {row["model"]: Surveyed(**{**row, "keys": tuple(row["keys"])}) for row in _read(records)}
    with tempfile.TemporaryDirectory() as folder:
        write_movies(Path(folder))
        for name in models or model_names():
            log.info("%s: trying it", name)
            found[name] = examine_apart(name, Path(folder), limit)
            rows = [found[known] for known in sorted(found, key=str.lower)]
            write_json(records, [asdict(row) for row in rows])
            with replacing_file(page) as temporary:
                temporary.write_text(as_page(rows), encoding="utf-8")
    return rows


def _read(records: Path) -> list[dict[str, Any]]:
    return json.loads(records.read_text(encoding="utf-8")) if records.is_file() else []


def keys_for(model: str, kind: str) -> Settings:
    """The keys that ``model`` needs on ml-100k beyond its name."""
    return OF_A_MODEL.get(model, OF_A_TYPE[kind])


def on_slice(model: str) -> Settings:
    """The keys of a run on the slice, beside those that the model needs anyway."""
    return {**ON_SLICE, **OF_A_MODEL_ON_SLICE.get(model, {})}


def examine_apart(model: str, folder: Path, limit: int) -> Surveyed:
    """Try ``model`` on the data in ``folder`` and compare it with stock RecBole, each in a process of its own."""
    try:
        kind = model_class(model).type.name
    except RecboleExtError as error:
        return Surveyed(model, "", f"needs: {error}")
    *_, ours = _in_a_process(OURS, [model, str(folder)], folder, limit, 1)
    settings = keys_for(model, kind)
    tried = ours.get("tried", {})
    return Surveyed(
        model=model,
        kind=kind.lower(),
        runs=tried.get("runs") or str(ours.get("failure")),
        tables=tried.get("tables", ""),
        samples=tried.get("samples", ""),
        keys=tuple(f"{key}: {json.dumps(value)}" for key, value in settings.items()),
        seconds=tried.get("seconds"),
        equals_stock=_compared(model, settings, tried.get("metrics"), folder, limit),
    )


def _compared(model: str, settings: Settings, ours: Any, folder: Path, limit: int) -> str:
    if ours is None or model not in recboles():
        return "–"
    if model in IN_ONE_RUN:
        return "– (one run here, several in stock)"
    keys = {**PROTOCOL, **settings, **on_slice(model), "data_path": str(folder)}
    (theirs,) = stock([(model, SLICE, keys)], folder, limit)
    if "metrics" not in theirs:
        return f"stock fails: {theirs['failure']}"
    mended = f", mended: {theirs['mended']}" if theirs.get("mended") else ""
    if theirs["metrics"] == ours:
        return "yes" + mended
    different = [
        f"{split} {name} {value} against {theirs['metrics'][split].get(name)}"
        for split, metrics in ours.items()
        for name, value in metrics.items()
        if value != theirs["metrics"][split].get(name)
    ]
    return f"no: {different[0]}{mended}"


# Nothing of this package in it. `saved=False` spares RecBole its own checkpoint, which torch >= 2.6 refuses to load.
STOCK = """
import json, sys
cases = json.loads(sys.argv[1])
sys.argv = sys.argv[:1]
from recbole.quick_start import run_recbole

def run(model, dataset, settings):
    result = run_recbole(model, dataset, config_dict=settings, saved=False)
    return result["best_valid_result"], result["test_result"]
"""
# RecBole's own steps with the compat layer, which is needed where RecBole is older than what is installed.
MENDED = """
import json, sys
cases = json.loads(sys.argv[1])
sys.argv = sys.argv[:1]
from recbole_ext.compat import make_recbole_work
make_recbole_work()
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

def run(model, dataset, settings):
    config = Config(model=model, dataset=dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    _, validation = trainer.fit(train, valid, show_progress=False)
    return validation, trainer.evaluate(test, show_progress=False)
"""
EACH_CASE = """
for case in cases:
    try:
        validation, test = run(*case)
        metrics = {"validation": validation, "test": test}
        metrics = {split: {name: float(value) for name, value in (of or {}).items()} for split, of in metrics.items()}
        result = {"metrics": metrics}
    except Exception as error:
        result = {"failure": f"{type(error).__name__}: {error}"[:200]}
    print("RESULT", json.dumps(result), flush=True)
"""
OURS = """
import json, sys
from pathlib import Path
from recbole_ext.survey import examine
model, folder = json.loads(sys.argv[1])
for tried in examine(model, Path(folder)):
    print("RESULT", json.dumps({"tried": tried}), flush=True)
"""

Case = tuple[str, str, Settings]


def stock(cases: Sequence[Case], folder: Path, limit: int = 900) -> list[dict[str, Any]]:
    """Stock RecBole's ``metrics`` by split of each (model, dataset, settings), all in one process of their own.

    Where it fails by itself, the metrics are those with the compat layer, and ``mended`` says what it failed of;
    ``failure`` stands instead of metrics where it fails in both ways.

    Args:
        folder: where the processes work.
        limit: seconds of processor time.
    """
    arguments = [
        [model, dataset, {**(own_model_defaults(model) or {}), **settings, "checkpoint_dir": str(folder / "stock")}]
        for model, dataset, settings in cases
    ]
    results = _in_a_process(STOCK + EACH_CASE, arguments, folder, limit, len(cases))
    failed = [number for number, result in enumerate(results) if "failure" in result]
    if failed:
        again = [arguments[number] for number in failed]
        for number, mended in zip(
            failed, _in_a_process(MENDED + EACH_CASE, again, folder, limit, len(again)), strict=True
        ):
            results[number] = mended | ({"mended": results[number]["failure"]} if "metrics" in mended else {})
    return results


def _in_a_process(program: str, arguments: list[Any], folder: Path, limit: int, n_results: int) -> list[dict[str, Any]]:
    """What ``program`` prints as its results; ``failure``: the last line of its error, or that it took too long."""
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_CPU, ({limit}, {limit}))\n" + program
    command = [sys.executable, "-c", limited, json.dumps(arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    results = [json.loads(line.removeprefix("RESULT ")) for line in lines]
    said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(" ")]
    failure = f"not done after {limit} s" if done.returncode < 0 else (said or ["no word"])[-1][:200]
    return results + [{"failure": failure}] * (n_results - len(results))


def examine(model: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Run one epoch of ``model`` on the slice and on the whole; what is known after each."""
    from recbole_ext.models import recbole_config
    from recbole_ext.training import count_flops, prepare

    checkpoint = folder / f"{model}.pth"
    settings = {**PROTOCOL, **keys_for(model, model_class(model).type.name), "data_path": str(folder)}
    settings["checkpoint_dir"] = str(folder / "ours")
    own = OWN_MODELS.get(model)
    if own is not None and own.needs_item_vectors:
        settings |= {"item_embedding": str(folder / "store"), "hidden_size": VECTOR_WIDTH}
    try:
        run = prepare(recbole_config(model, SLICE, {**settings, **on_slice(model)}), checkpoint)
        count_flops(run)
        tried = {"metrics": {"validation": run.fit(), "test": run.test()}, "tables": _tables(run)}
        samples = prepare(recbole_config(model, SLICE, settings), checkpoint).samples.name
        tried |= {"runs": "yes", "samples": samples}
        yield tried
        timed = settings if run.config["MODEL_TYPE"].name == "DECISIONTREE" else {**settings, "eval_step": 0}
        run = prepare(recbole_config(model, WHOLE, timed), checkpoint)
    except RecboleExtError as error:
        yield {"runs": f"refused: {error}"}
        return
    began, spent = time.process_time(), []
    run.fit(lambda curve: spent.append(time.process_time() - began))
    yield {**tried, "seconds": round(spent[0], 2)}


def _tables(run: Any) -> str:
    """Where the hook attaches."""
    from recbole_ext.attach import item_tables

    if hasattr(run.model, "item_vector_coverage"):
        return "reads them itself"
    try:
        return ", ".join(table.name for table in item_tables(run.model, run.loaders.dataset.iid_field))
    except AttachError:
        return ""


def write_movies(folder: Path) -> None:
    """Write ml-100k as ``movies`` and its first users as ``movies-slice``, and a store of made-up vectors."""
    import torch

    from recbole_ext.store import ItemEmbeddingStore

    source = recbole_folder() / "dataset_example" / "ml-100k"
    draw = random.Random(0)
    graph = [line.split("\t") for line in _lines(source / "ml-100k.kg")[1:]]
    entities = sorted({part for head, _, tail in graph for part in (head, tail)})
    relations = sorted({relation for _, relation, _ in graph})
    interactions = _lines(source / "ml-100k.inter")
    few = [line for line in interactions[1:] if int(line.split("\t")[0]) <= USERS_OF_SLICE]
    for name, chosen in {WHOLE: interactions[1:], SLICE: few}.items():
        files = {kind: _lines(source / f"ml-100k.{kind}") for kind in ("user", "item", "kg", "link")}
        files["inter"] = [interactions[0], *chosen]
        files["ent"] = ["ent_id:token\tent_emb:float_seq", *(f"{entity}\t{_vector(draw)}" for entity in entities)]
        files["rel"] = ["rel_id:token\trel_emb:float_seq", *(f"{name}\t{_vector(draw)}" for name in relations)]
        (folder / name).mkdir(parents=True)
        for kind, lines in files.items():
            (folder / name / f"{name}.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    items = [line.split("\t")[0] for line in _lines(source / "ml-100k.item")[1:]]
    vectors = torch.randn(len(items), VECTOR_WIDTH, generator=torch.Generator().manual_seed(0))
    ItemEmbeddingStore(vectors, items, {"made_by": "random numbers, to try models"}).save(folder / "store")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _vector(draw: random.Random) -> str:
    return " ".join(f"{draw.gauss(0, 0.1):.4f}" for _ in range(VECTOR_WIDTH))


PAGE = """\
# Every model, tried

{models} models of RecBole 1.2.1 and of this package; {running} of them run here. Of {compared} that were compared with
stock RecBole, {equal} give its metrics to the last digit.

Made by `recbole-ext doctor --models`, which tries every model on ml-100k: one epoch, full ranking, the last item of
each user tests, histories of at most {length} items.

- *Vectors*: the tables that get the vectors of an item embedding store.
- *Samples*: what the model is trained on by default. `user` rows and `prefix` samples are shortcuts that a model proves
  exact; `augmented` is RecBole's own way.
- *Seconds*: of processor time for one epoch of training, on one core; other programs don't change it. No number: the
  epoch took longer than the survey waits.
- *Equal*: compared with stock RecBole on RecBole's own samples, on the first {users} users: the same seed gives the
  same metrics of validation and test, to the last digit. *Mended*: stock RecBole fails by itself where the table was
  made, and was run with this package's compat layer.

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
        seconds = "" if row.seconds is None else f"{row.seconds:.3g}"
        cells = [row.model, row.kind, row.runs, row.tables or "–", row.samples or "–", seconds, row.equals_stock]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return PAGE.format(
        models=len(rows),
        running=sum(row.runs == "yes" for row in rows),
        compared=sum(row.equals_stock[:1] not in ("–", "") for row in rows),
        equal=sum(row.equals_stock.startswith("yes") for row in rows),
        users=USERS_OF_SLICE,
        length=PROTOCOL["MAX_ITEM_LIST_LENGTH"],
        rows="\n".join(map(line, rows)),
        keys="\n".join(f"- **{row.model}**: " + "; ".join(f"`{key}`" for key in row.keys) for row in rows if row.keys),
    )
