"""What RecBole makes of its data options, and the metrics of three models, as JSON to compare between two stacks.

    python tests/compat/stack_digest.py OUT.json [--full]

Run it in one environment; ``STACK_DIGEST=OUT.json pytest tests/compat/test_stacks.py`` in another compares. ``--full``
adds two epochs of each model on ml-100k.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

PACKAGES = ("numpy", "pandas", "scipy", "torch")
MODELS = ("SASRec", "BERT4Rec", "GRU4Rec")
SMALL = {"hidden_size": 16, "embedding_size": 16, "inner_size": 32, "topk": [5, 10], "train_batch_size": 256}
BY_RATIO = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
HISTORIES = {
    "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
    "benchmark_filename": ["train", "valid", "test"],
    "alias_of_item_id": ["item_id_list"],
    "MAX_ITEM_LIST_LENGTH": 10,
}

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "all fields": ("SASRec", {}),
    "few interactions filtered": (
        "SASRec",
        {"user_inter_num_interval": "[8,inf)", "item_inter_num_interval": "[5,inf)"},
    ),
    "values in an interval": ("SASRec", {"val_interval": {"rating": "[2,4)", "timestamp": "(3,inf)"}}),
    "values of a list": ("SASRec", {"val_interval": {"brand": ["b1", "b2"]}}),
    "first of duplicates": ("SASRec", {"rm_dup_inter": "first"}),
    "last of duplicates": ("SASRec", {"rm_dup_inter": "last"}),
    "items without features kept": ("SASRec", {"filter_inter_by_user_or_item": False}),
    "normalised": ("FM", {"normalize_all": True, "eval_args": BY_RATIO}),
    "in buckets": (
        "FM",
        {
            "numerical_features": ["price", "vector"],
            "discretization": {"price": {"method": "ED", "bucket": 5}, "vector": {"method": "LD"}},
            "eval_args": BY_RATIO,
        },
    ),
    "numbers as they are": ("FM", {"numerical_features": ["price", "vector"], "eval_args": BY_RATIO}),
    "labels by threshold": ("FM", {"threshold": {"rating": 3}, "eval_args": BY_RATIO}),
    "vectors preloaded": (
        "SASRec",
        {
            "additional_feat_suffix": ["vectors"],
            "alias_of_item_id": ["vector_id"],
            "preload_weight": {"vector_id": "values"},
        },
    ),
    "shortened sequences": ("SASRec", {"seq_len": {"words": 2}}),
    "benchmark files": ("SASRec", HISTORIES),
}


def write_dataset(folder: Path) -> None:
    """``rich``: 60 users whose ids are numbers such as 007, 80 items, ties in time, interactions repeated, features of
    every type with gaps."""
    draw = random.Random(11)
    target = folder / "rich"
    target.mkdir(parents=True)

    def save(suffix: str, lines: Iterable[str]) -> None:
        (target / f"rich.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def gap(value: Any) -> str:
        return "" if draw.random() < 0.15 else str(value)

    inter = ["user_id:token\titem_id:token\ttimestamp:float\trating:float"]
    for user in range(60):
        for _ in range(draw.randint(5, 40)):
            inter.append(f"{user:03d}\ti{draw.randint(0, 79)}\t{draw.randint(0, 12)}\t{gap(draw.randint(1, 5))}")
    save("inter", inter)
    item = ["item_id:token\tbrand:token\tprice:float\twords:token_seq\tvector:float_seq"]
    for number in range(75):
        words = " ".join(f"w{draw.randint(0, 30)}" for _ in range(draw.randint(1, 5)))
        vector = " ".join(f"{draw.uniform(-3, 9):.3f}" for _ in range(3))
        item.append(f"i{number}\t{gap(f'b{draw.randint(0, 4)}')}\t{gap(draw.uniform(1, 99))}\t{gap(words)}\t{vector}")
    save("item", item)
    save("user", ["user_id:token\tage:float", *(f"{user:03d}\t{gap(draw.randint(18, 80))}" for user in range(60))])
    vectors = [f"i{number}\t{draw.random():.4f} {draw.random():.4f}" for number in range(80)]
    save("vectors", ["vector_id:token\tvalues:float_seq", *vectors])
    for part, size in {"train": 300, "valid": 60, "test": 60}.items():
        lines = ["user_id:token\titem_id_list:token_seq\titem_id:token"]
        for _ in range(size):
            history = " ".join(f"i{draw.randint(0, 79)}" for _ in range(draw.randint(1, 9)))
            lines.append(f"{draw.randint(0, 59):03d}\t{history}\ti{draw.randint(0, 79)}")
        save(f"{part}.inter", lines)


def digest_of(dataset: Any, parts: Iterable[Any]) -> dict[str, str]:
    """Field of a table or id map: a hash of its values."""
    found = {}
    tables = {f"part {number}": part.inter_feat for number, part in enumerate(parts)}
    tables |= {name: table for name in ("user_feat", "item_feat") if (table := getattr(dataset, name)) is not None}
    for name, table in tables.items():
        for field, values in table.interaction.items():
            found[f"{name}.{field}"] = _hash(values.numpy().tobytes())
    for field, tokens in dataset.field2id_token.items():
        found[f"ids.{field}"] = _hash("\n".join(map(str, tokens)).encode())
    for field, matrix in dataset._preloaded_weight.items():
        found[f"preloaded.{field}"] = _hash(matrix.tobytes())
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def datasets(folder: Path) -> dict[str, dict[str, str]]:
    """Every data option's digest."""
    from recbole.data import create_dataset
    from recbole.utils import init_seed

    write_dataset(folder)
    found = {}
    for name, (model, settings) in OPTIONS.items():
        dataset = create_dataset(_config(model, "rich", folder, **settings))
        init_seed(1, True)
        found[name] = digest_of(dataset, dataset.build())
    return found


def _config(model: str, dataset: str, folder: Path, **settings: Any) -> Any:
    from recbole_ext.benchmark.protocol import PROTOCOL
    from recbole_ext.models import recbole_config

    defaults: dict[str, Any] = {"train_neg_sample_args": None, "load_col": None, "show_progress": False, "epochs": 2}
    if model == "FM":
        defaults["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1, "dynamic": False}
    paths = {"data_path": str(folder), "checkpoint_dir": str(folder / "saved" / model), "use_gpu": False}
    return recbole_config(model, dataset, {**PROTOCOL, **defaults, **SMALL, **paths, **settings})


def metrics(model: str, dataset: str, folder: Path, **settings: Any) -> dict[str, float]:
    """Test metrics and validation score after two epochs; the second one of a trainer that resumes from the first."""
    from recbole_ext.training import prepare

    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    checkpoint = folder / "saved" / f"{model}-{dataset}.pth"
    for epochs in (1, 2):
        run = prepare(_config(model, dataset, folder, load_col=columns, epochs=epochs, **settings), checkpoint)
        if epochs == 2:
            run.trainer.resume_checkpoint(checkpoint)
        run.fit()
    test = run.test()
    return {
        "validation": float(run.trainer.best_valid_score),
        **{name: float(value) for name, value in test.items()},
    }


def main(out: Path, full: bool) -> None:
    """Write what this environment gives to ``out``."""
    from recbole_ext import make_recbole_work

    make_recbole_work()
    runs = [("rich", model, {"training_samples": "augmented"}) for model in MODELS]
    runs += [("ml-100k", model, {}) for model in MODELS if full]
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        folder = Path(work)
        content = {
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "datasets": datasets(folder),
            "metrics": {f"{dataset} {model}": metrics(model, dataset, folder, **keys) for dataset, model, keys in runs},
        }
    out.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), "--full" in sys.argv)
