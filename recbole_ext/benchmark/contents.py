"""Keys that name a file which decides a result: its content is part of a run's identity, and not where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recbole_ext.data.files import GROUPED
from recbole_ext.errors import ConfigurationError, StoreError
from recbole_ext.hashing import sha256_of_file
from recbole_ext.models import model_class, reads_text
from recbole_ext.named_classes import class_at, code_of_class
from recbole_ext.recbole_models import recbole_name
from recbole_ext.store.files import fingerprint_of


def contents(model: str, dataset: str, config: Mapping[str, Any], where: str) -> dict[str, str]:
    """By key the SHA-256 of what it names, for the keys that are set; of metrics those of a user's own, by their paths.

    Args:
        config: RecBole's, with the model's defaults.

    Raises:
        ConfigurationError: there is no such file or store, so that nobody knows yet what is to be run.
    """
    found = {key: _of_file(str(config[key]), f"{where}: {key}") for key in _of_a_model(model, config) if config[key]}
    if recbole_name(model_class(model)) == "LDiffRec" and config["n_cate"] > 1:
        found[GROUPED] = _of_file(str(Path(config["data_path"]) / GROUPED), f"{where}: n_cate")
    if vectors := config.get("diversity_vectors"):
        path = Path(str(vectors).replace("{dataset}", dataset))
        try:
            found["diversity_vectors"] = fingerprint_of(path)
        except StoreError as error:
            raise ConfigurationError(f"{where}: diversity_vectors: {error}") from error
    metrics = config.get("metrics") or []
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        if "." in metric and (code := code_of_class(class_at(metric, f"{where}: metrics"), f"{where}: metrics")):
            found[f"metrics: {metric}"] = code
    return found


def _of_a_model(model: str, config: Mapping[str, Any]) -> Iterator[str]:
    """The keys by which a model is told what to begin from."""
    name = recbole_name(model_class(model))
    names = ["pre_model_path", "pretrain_path"]
    if config.get("use_pretrain"):  # else NeuMF writes them
        names += ["mf_pretrain_path", "mlp_pretrain_path"]
    if name == "KD_DAGFM" and config["phase"] != "teacher_training":
        names.append("warm_up")
    if name == "XGBoost":
        names.append("xgb_model")
    if reads_text(model):
        names.append("checkpoint")
    return (key for key in names if key in config)


def _of_file(path: str, where: str) -> str:
    try:
        return sha256_of_file(Path(path))
    except OSError as error:
        raise ConfigurationError(
            f"{where}: {path}: no file that can be read. What is in it is part of what is run: make it first, or "
            "correct the path."
        ) from error
