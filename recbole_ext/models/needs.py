"""What a model needs beyond its name: packages, columns, keys. Asked before anything is computed.

RecBole finds out in the middle of a run, by a ``KeyError`` or an ``ImportError`` from inside a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_ext.data.files import GROUPED, columns_loaded, interaction_suffixes, suffixes_read
from recbole_ext.data.tables import Table
from recbole_ext.errors import ConfigurationError
from recbole_ext.metrics import reported
from recbole_ext.models import OWN_MODELS, VECTOR_FEATURE, require_package
from recbole_ext.recbole_models import recbole_name

LATER_PACKAGES = {"KGAT": "dgl", "KGIN": "torch_scatter", "MCCLK": "torch_scatter", "NCL": "faiss"}
"""What a model of RecBole imports while it is built or trained."""
FEATURES = {"FDSA": "selected_features", "GRU4RecF": "selected_features", "SASRecF": "selected_features"}
"""Models that read fields of the ``.item`` file, and the key that lists them."""
ENTITY_VECTORS = {"GRU4RecKG": ("ent_id",), "KSR": ("ent_id", "rel_id")}
"""Models that read given vectors of entities and relations, and the names under which they ask for them."""
READS_LABEL = {"DIEN", "DIN", "DMF", "FISM", "MKR", "NAIS", "NNCF", "NeuMF", "RippleNet"}
"""Models, beside the context-aware ones, whose loss compares scores with labels."""
NEEDS_NO_NEGATIVES = {"DiffRec", "LDiffRec", "MacridVAE", "MultiDAE", "MultiVAE", "RaCT", "RecVAE"}
"""Models that RecBole gives whole users instead of pairs of items."""


def check_needs(config: Any) -> None:
    """See that the run that RecBole's ``Config`` describes has all that its model and its evaluation need.

    Raises:
        ConfigurationError: it lacks a package, a column or a key; says which, and the way out.
        SourceDataError: the header of a file can't be read.
    """
    name = recbole_name(config.model_class)
    require_package(name, LATER_PACKAGES.get(name))
    if name == "LDiffRec" and config["n_cate"] > 1:
        require_package("LDiffRec with n_cate above 1", "kmeans_pytorch")
        _check_grouped(Path(config["data_path"]) / GROUPED)
    if name == "NNCF" and config["neigh_info_method"] == "louvain":
        require_package("NNCF with neigh_info_method: louvain", "community")
    columns = _loaded_columns(config, name)
    _check_evaluation(config, columns)
    _check_time(config, columns)
    _check_features(config, name, columns)
    _check_knowledge(config, name, columns)
    _check_samples(config, name, columns)


def _check_grouped(path: Path) -> None:
    """RecBole would unpickle what is in there, which runs whatever code its author put in."""
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"n_cate: LDiffRec groups items by the vectors in {path}, which is no array of numbers that can be read "
            "(nothing is ever unpickled). Write it with numpy.save, or set n_cate: 1."
        ) from error


def _loaded_columns(config: Any, name: str) -> dict[str, set[str]]:
    """The columns that RecBole loads for the model called ``name`` there, by kind of file (of split ones the first's).

    A kind without a file has no entry.
    """
    settings = {**config.final_config_dict, "model": name}
    interactions = interaction_suffixes(settings)
    others = [suffix for suffix in suffixes_read(settings) if suffix not in interactions]
    loaded = {}
    for kind, suffix in {"inter": interactions[0], **{suffix: suffix for suffix in others}}.items():
        path = Path(config["data_path"]) / f"{config['dataset']}.{suffix}"
        if path.is_file():
            loaded[kind] = set(columns_loaded(Table.of(path, settings), settings, kind))
    return loaded


def _check_evaluation(config: Any, columns: dict[str, set[str]]) -> None:
    modes = config["eval_args"]["mode"]
    ranks = config["eval_type"] == EvaluatorType.RANKING
    names = reported(config["metrics"], config["topk"])
    if str(config["valid_metric"]).lower() not in names:
        raise ConfigurationError(
            f"valid_metric: {config['valid_metric']!r} is not among what metrics and topk report: {', '.join(names)}."
        )
    if ranks and "labeled" in modes.values():
        raise ConfigurationError(
            "eval_args: mode labeled scores the interactions of a split alone, so nothing is ranked; take metrics such "
            "as [AUC, LogLoss], or mode full."
        )
    if "labeled" in modes.values() and set(modes.values()) != {"labeled"}:
        raise ConfigurationError(
            "eval_args: mode labeled for validation or test alone: RecBole 1.2.1 has it for both or neither."
        )
    if config["MODEL_TYPE"] == ModelType.DECISIONTREE and set(modes.values()) != {"labeled"}:
        raise ConfigurationError(
            f"{config['model']} predicts labels and ranks nothing: set metrics: [AUC, LogLoss], valid_metric: AUC and "
            "eval_args: {mode: labeled}."
        )
    if config["MODEL_TYPE"] == ModelType.DECISIONTREE and config["eval_step"] < 1:
        raise ConfigurationError(f"eval_step: {config['model']} is validated after each round; set it to 1.")
    if "labeled" in modes.values() and not _has_label(config, columns):
        raise ConfigurationError(f"eval_args: mode labeled: {_no_label(config)}")


def _check_time(config: Any, columns: dict[str, set[str]]) -> None:
    if config["benchmark_filename"]:
        return
    field, is_sequential = config["TIME_FIELD"], config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    in_time = config["eval_args"]["order"] == "TO"
    if is_sequential and not in_time:
        raise ConfigurationError(
            f"eval_args: {config['model']} is a sequential model, which RecBole splits in the order of time alone: set "
            "order: TO."
        )
    if in_time and "inter" in columns and field not in columns["inter"]:
        why = "a sequential model" if is_sequential else "eval_args: {order: TO}"
        raise ConfigurationError(
            f"{config['dataset']}: {why} needs the time of each interaction, but no column {field!r} is loaded from "
            "the .inter file. Name it with TIME_FIELD, and in load_col where that is set."
        )


def _check_features(config: Any, name: str, columns: dict[str, set[str]]) -> None:
    if name in FEATURES:
        key, wanted = FEATURES[name], config[FEATURES[name]] or []
    elif name == "S3Rec":
        key, wanted = "item_attribute", [config["item_attribute"]]
    else:
        return
    if config["model"] in OWN_MODELS:
        wanted = [field for field in wanted if field != VECTOR_FEATURE]
    for field in wanted:
        if field not in columns.get("item", ()):
            there = ", ".join(sorted(columns.get("item", ()))) or "none"
            raise ConfigurationError(
                f"{config['model']} reads the field {field!r} of the .item file, which is not loaded (loaded: {there})."
                f" Name the fields that it is to read with {key}, and load them: load_col: {{item: [item_id, …]}}."
            )


def _check_knowledge(config: Any, name: str, columns: dict[str, set[str]]) -> None:
    if config["MODEL_TYPE"] != ModelType.KNOWLEDGE and name not in ENTITY_VECTORS:
        return
    wanted = {
        "kg": [config[f"{part}_ID_FIELD"] for part in ("HEAD_ENTITY", "RELATION", "TAIL_ENTITY")],
        "link": [config["ITEM_ID_FIELD"], config["ENTITY_ID_FIELD"]],
    }
    for kind, fields in wanted.items():
        if not set(fields) <= columns.get(kind, set()):
            raise ConfigurationError(
                f"{config['model']} reads a knowledge graph: it needs the columns {', '.join(fields)} of a file "
                f"{config['dataset']}.{kind}, and {kind} in load_col where that is set."
            )
    for field in ENTITY_VECTORS.get(name, ()):
        if field not in (config["preload_weight"] or {}):
            kind = field.removesuffix("_id")
            raise ConfigurationError(
                f"{config['model']} reads given vectors of {'entities' if kind == 'ent' else 'relations'}: make a file "
                f"{config['dataset']}.{kind} with the columns {field}:token and {kind}_emb:float_seq, and set "
                f"additional_feat_suffix: [{kind}], load_col: {{{kind}: [{field}, {kind}_emb]}}, "
                f"alias_of_{'entity' if kind == 'ent' else 'relation'}_id: [{field}] and "
                f"preload_weight: {{{field}: {kind}_emb}}."
            )


def _check_samples(config: Any, name: str, columns: dict[str, set[str]]) -> None:
    if config["train_neg_sample_args"]["distribution"] != "none":
        return
    reads_label = config["MODEL_TYPE"] == ModelType.CONTEXT or name in READS_LABEL
    trees = config["MODEL_TYPE"] == ModelType.DECISIONTREE
    if (reads_label or trees) and not _has_label(config, columns):
        raise ConfigurationError(f"{config['model']} learns from labels: {_no_label(config)}" + ("" if trees else _OR))
    pairs = config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE and config["loss_type"] != "CE"
    if pairs and name not in NEEDS_NO_NEGATIVES:
        raise ConfigurationError(
            f"{config['model']} compares items with sampled ones, but train_neg_sample_args is none: set it to "
            "{distribution: uniform, sample_num: 1}, or leave it out."
        )


_OR = " Or let it tell interactions from sampled ones: train_neg_sample_args: {distribution: uniform, sample_num: 1}."


def _has_label(config: Any, columns: dict[str, set[str]]) -> bool:
    return bool(config["threshold"]) or config["LABEL_FIELD"] in columns.get("inter", ())


def _no_label(config: Any) -> str:
    return (
        f"there is no column {config['LABEL_FIELD']!r} (LABEL_FIELD) in the .inter file, and no threshold that makes "
        "one, such as threshold: {rating: 4}."
    )
