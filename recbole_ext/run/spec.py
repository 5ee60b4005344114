"""One run of a grid: what it is called, what it is configured with, and when its record still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_ext.data.files import read_dataset_config, recbole_keys
from recbole_ext.data.fingerprints import dataset_fingerprint, encoder_fingerprint, store_fingerprint
from recbole_ext.data.keys import Settings, model_defaults
from recbole_ext.data.protocol import PROTOCOL
from recbole_ext.models import needs_item_vectors, own_model_defaults, reads_text
from recbole_ext.run.benchmark import Benchmark

WITHOUT_EFFECT = ("data_path", "item_embedding", "encoder", "export_item_embedding", "export_encoder", "show_progress")
"""Keys that don't decide a result; what the first three point to is fingerprinted by its content."""


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
        if "encoder" in self.config:
            content["encoder"] = encoder_fingerprint(self.config["encoder"])
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """File stem of the record, readable and unique in its benchmark."""
        mode = "" if self.mode == "-" else f"-{self.mode}"
        stem = f"{self.dataset}-{self.model}-{self.init}{mode}-{self.protocol}-s{self.seed}"
        return f"{stem}-{self.fingerprint[:8]}"

    @property
    def exports(self) -> Path | None:
        """The store that this run makes beside its record."""
        path = self.config.get("export_item_embedding")
        return Path(path) if path else None

    @property
    def store(self) -> Path | None:
        """The store that this run starts from."""
        path = self.config.get("item_embedding")
        return Path(path) if path else None

    @property
    def record_path(self) -> Path:
        return self.folder / "runs" / f"{self.name}.json"

    @property
    def ranks_path(self) -> Path:
        return self.folder / "runs" / f"{self.name}.ranks.npy"

    @property
    def claim_path(self) -> Path:
        return self.folder / "runs" / f".{self.name}.lock"

    def identity(self) -> dict[str, Any]:
        """The record's leading keys."""
        own = asdict(self)
        keys = ("benchmark", "dataset", "model", "init", "mode", "protocol", "seed", "candidate")
        return {"run": self.name, **{key: own[key] for key in keys}}


def expand(benchmark: Benchmark, command: str) -> Iterator[RunSpec]:
    """Every run of the grid, each candidate with each seed, in reading order.

    A model that is made of item vectors has no run with a random initialisation.
    """
    for dataset in benchmark.datasets:
        settings = dataset_settings(benchmark, dataset)
        for model in benchmark.models:
            for init in benchmark.initialisations_of(model):
                for protocol in benchmark.protocols:
                    for candidate in benchmark.candidates(model, init):
                        for seed in benchmark.seeds_of(model):
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
        **(own_model_defaults(model) or {}),  # not fixed by a version, as RecBole's are, and so in the fingerprint
        **recbole_keys(settings),
        **benchmark.config,
        **benchmark.models[model],
        "seed": seed,
        "data_path": benchmark.data_path,
    }
    if reads_text(model):
        config["encoder"] = encoder_path(benchmark, dataset, init)
        if (export := _exported(benchmark, init)) and seed == benchmark.seeds[0]:
            config["export_item_embedding"] = str(store_path(benchmark, dataset, export))
            config["export_encoder"] = str(benchmark.artifacts / "encoders" / f"{benchmark.name}-{export}-{dataset}")
    elif not initialisation.is_random:
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
    takes_no_mode = initialisation.is_random or needs_item_vectors(model, config)
    mode = "text" if reads_text(model) else "-" if takes_no_mode else str(config["item_embedding_mode"])
    loss = config.get("loss_type", model_defaults(model).get("loss_type"))
    if loss == "CE" and "train_neg_sample_args" not in config:
        config["train_neg_sample_args"] = None
    return RunSpec(
        benchmark=benchmark.name,
        dataset=dataset,
        model=model,
        init=init,
        mode=mode,
        protocol=protocol,
        seed=seed,
        candidate=candidate,
        config=config,
        expected=settings.get("expected") or {},
        folder=benchmark.results / benchmark.name,
        artifacts=benchmark.artifacts,
        command=command,
    )


def _exported(benchmark: Benchmark, init: str) -> str | None:
    """The initialisation that is the item matrix of RECFORMER begun from ``init``."""
    return next((name for name, other in benchmark.initialisations.items() if other.finetune == init), None)


def encoder_path(benchmark: Benchmark, dataset: str, init: str) -> str:
    """What encodes this dataset's items for an initialisation: an encoder by name, or the folder of a tuned one."""
    initialisation = benchmark.initialisations[init]
    if initialisation.tune is None:
        return str(initialisation.encoder)
    sources = "+".join(initialisation.tune.sources_of(dataset))
    return str(benchmark.artifacts / "encoders" / f"{benchmark.name}-{init}-{sources}")


def dataset_settings(benchmark: Benchmark, dataset: str) -> Settings:
    """The dataset's YAML from ``dataset_configs``; without one, RecBole's default field names."""
    settings = read_dataset_config(benchmark.dataset_configs / f"{dataset}.yaml")
    return settings or {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


def store_path(benchmark: Benchmark, dataset: str, init: str) -> Path:
    """Where the store of this dataset and initialisation is, or will be made."""
    initialisation = benchmark.initialisations[init]
    if initialisation.store:
        return Path(initialisation.store.format(dataset=dataset))
    made_here = initialisation.tune or initialisation.finetune
    return benchmark.artifacts / "stores" / dataset / (f"{benchmark.name}-{init}" if made_here else init)
