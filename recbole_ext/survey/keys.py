"""What each model needs on ml-100k beyond its name, and the protocol by which all are tried."""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

PROTOCOL: Settings = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
    "topk": [5, 10, 20],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 8,
    "epochs": 1,
    "exact_time_order": False,  # stock RecBole sorts by times in single precision
    "MAX_ITEM_LIST_LENGTH": 20,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "show_progress": False,
    "state": "ERROR",
    "use_gpu": False,
}
ON_SLICE: Settings = {"train_batch_size": 512, "training_samples": "augmented"}
OF_A_MODEL_ON_SLICE: dict[str, Settings] = {"DGCF": {"train_batch_size": 64}}
"""DGCF draws more users for a batch than the slice has, unless batches are many."""

SECONDS_OF_AN_EPOCH = 15
"""Of processor time, after which an epoch on the whole data is given up and estimated."""

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


def keys_for(model: str, kind: str) -> Settings:
    """The keys that ``model``, of RecBole's type ``kind``, needs on ml-100k beyond its name."""
    return OF_A_MODEL.get(model, OF_A_TYPE[kind])


def on_slice(model: str) -> Settings:
    """The keys of a run on the slice, beside those that the model needs anyway."""
    return {**ON_SLICE, **OF_A_MODEL_ON_SLICE.get(model, {})}
