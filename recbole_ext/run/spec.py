"""One run of a grid: what it is called, what it is configured with, and when its record still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.run.benchmark import DATASET_KEYS, Benchmark, Settings, model_defaults, recbole_folder

PROTOCOL: Settings = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "repeatable": True,
    "metrics": ["Recall", "NDCG", "MRR"],
    "topk": [1, 5, 10, 20, 50],
    "valid_metric": "NDCG@10",
    "stopping_step": 10,
    "epochs": 300,
    "metric_decimal_place": 8,
    "eval_batch_size": 512,
    "MAX_ITEM_LIST_LENGTH": 50,
}
"""The design's protocol: leave-one-out in time order, full ranking, early stopping on validation NDCG@10."""

WITHOUT_EFFECT = ("data_path", "item_embedding", "show_progress")
"""Keys that don't decide a result; what the first two point to is fingerprinted by its content."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that one run needs, as plain values; another process can take it from here."""

    benchmark: str
    dataset: str
    model: str
    init: str
    mode: str
    protocol: str
    seed: int
    candidate: dict[str, Any]
    config: dict[str, Any]
    expected: dict[str, int]
    folder: Path
    artifacts: Path
    command: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the result: settings, and the contents of dataset and store."""
        content = {
            "model": self.model,
            "seed": self.seed,
            "config": {key: value for key, value in self.config.items() if key not in WITHOUT_EFFECT},
            "dataset": dataset_fingerprint(self.dataset, self.config["data_path"]),
            "store": store_fingerprint(self.config.get("item_embedding")),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """File stem of the record, readable and unique in its benchmark."""
        mode = "" if self.mode == "-" else f"-{self.mode}"
        stem = f"{self.dataset}-{self.model}-{self.init}{mode}-{self.protocol}-s{self.seed}"
        return f"{stem}-{self.fingerprint[:8]}"

    @property
    def record_path(self) -> Path:
        return self.folder / "runs" / f"{self.name}.json"

    @property
    def ranks_path(self) -> Path:
        return self.folder / "runs" / f"{self.name}.ranks.npy"

    def identity(self) -> dict[str, Any]:
        """The record's leading keys."""
        own = asdict(self)
        keys = ("benchmark", "dataset", "model", "init", "mode", "protocol", "seed", "candidate")
        return {"run": self.name, **{key: own[key] for key in keys}}


def expand(benchmark: Benchmark, command: str) -> Iterator[RunSpec]:
    """Every run of the grid, each candidate with each seed, in reading order."""
    for dataset in benchmark.datasets:
        settings = dataset_settings(benchmark, dataset)
        for model in benchmark.models:
            for init in benchmark.initialisations:
                for protocol in benchmark.protocols:
                    for candidate in benchmark.candidates(init):
                        for seed in benchmark.seeds:
                            yield _spec(benchmark, dataset, settings, model, init, protocol, candidate, seed, command)


def _spec(
    benchmark: Benchmark,
    dataset: str,
    settings: Settings,
    model: str,
    init: str,
    protocol: str,
    candidate: Settings,
    seed: int,
    command: str,
) -> RunSpec:
    initialisation = benchmark.initialisations[init]
    config: Settings = {
        **PROTOCOL,
        **recbole_keys(settings),
        **benchmark.config,
        **benchmark.models[model],
        "seed": seed,
        "data_path": benchmark.data_path,
    }
    if not initialisation.is_random:
        config |= {
            "item_embedding": str(store_path(benchmark, dataset, init)),
            "item_embedding_mode": initialisation.mode,
            "item_embedding_transform": initialisation.transform,
            "item_embedding_missing": initialisation.missing,
        }
    config |= candidate | benchmark.protocols[protocol]
    # Who sets one part of eval_args, such as the mode, keeps the others: RecBole's own default splits at random.
    layers = (PROTOCOL, settings, benchmark.config, benchmark.models[model], candidate, benchmark.protocols[protocol])
    config["eval_args"] = {part: value for layer in layers for part, value in layer.get("eval_args", {}).items()}
    loss = config.get("loss_type", model_defaults(model).get("loss_type"))
    if loss == "CE" and "train_neg_sample_args" not in config:
        config["train_neg_sample_args"] = None
    return RunSpec(
        benchmark=benchmark.name,
        dataset=dataset,
        model=model,
        init=init,
        mode="-" if initialisation.is_random else str(config["item_embedding_mode"]),
        protocol=protocol,
        seed=seed,
        candidate=candidate,
        config=config,
        expected=settings.get("expected") or {},
        folder=benchmark.results / benchmark.name,
        artifacts=benchmark.artifacts,
        command=command,
    )


def dataset_settings(benchmark: Benchmark, dataset: str) -> Settings:
    """The dataset's YAML from ``dataset_configs``; without one, RecBole's default field names."""
    settings = read_dataset_config(benchmark.dataset_configs / f"{dataset}.yaml")
    return settings or {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


def recbole_keys(settings: Settings) -> Settings:
    """What of a dataset config is RecBole's."""
    return {key: value for key, value in settings.items() if key not in DATASET_KEYS}


def read_dataset_config(path: Path) -> Settings:
    """A dataset config; empty where there is none.

    Raises:
        ConfigurationError: the file is not a YAML mapping.
    """
    if not path.is_file():
        return {}
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path}: a dataset config is a mapping of RecBole keys.")
    return settings


def store_path(benchmark: Benchmark, dataset: str, init: str) -> Path:
    """Where the store of this dataset and initialisation is, or will be made."""
    initialisation = benchmark.initialisations[init]
    if initialisation.store:
        return Path(initialisation.store.format(dataset=dataset))
    return benchmark.artifacts / "stores" / dataset / init


def interaction_file(dataset: str, data_path: str) -> Path:
    """The ``.inter`` file as RecBole finds it; ml-100k lies in RecBole's wheel."""
    folder = Path(data_path) / dataset
    if dataset == "ml-100k":
        folder = recbole_folder() / "dataset_example" / dataset
    return folder / f"{dataset}.inter"


def require_interactions(dataset: str, data_path: str) -> None:
    """Raise ``SourceDataError`` where the dataset's ``.inter`` file is not there."""
    path = interaction_file(dataset, data_path)
    if not path.is_file():
        raise SourceDataError(
            f"{path}: no such file. Make it with `recbole-ext convert SOURCE --format FORMAT --name {dataset} --out "
            f"{data_path}`, or set data_path to where it is."
        )


def dataset_fingerprint(dataset: str, data_path: str) -> str | None:
    """SHA-256 of the dataset's ``.inter`` file; ``None`` where it is not there yet."""
    return _sha256(interaction_file(dataset, data_path))


def store_fingerprint(store: str | None) -> str | None:
    """SHA-256 of the store's vectors and item tokens, whatever its form; ``None`` without a store."""
    if not store:
        return None
    path = Path(store).expanduser()
    if path.is_dir():
        files = [path / "embeddings.safetensors", path / "items.json"]
    else:
        files = [path, path.with_suffix(".items.json"), path.with_suffix(".items.txt")]
    hashes = [digest for file in files if (digest := _sha256(file))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else None


_HASHES: dict[tuple[str, int, int], str] = {}


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    if key not in _HASHES:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        _HASHES[key] = digest.hexdigest()
    return _HASHES[key]
