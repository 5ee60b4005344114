"""What is tried on a GPU, and on the stand-in for one: models on all paths, vectors in all modes, objectives."""

from __future__ import annotations

from typing import Any

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0, "dropout_probs": [0.0, 0.0]}
SAMPLED = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
SHORT = {"MAX_ITEM_LIST_LENGTH": 6}
"""Windows slide, so that few positions of a row are read."""
WHOLE = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}

PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "user rows": ("SASRec", {}),
    "user rows, windows slide": ("SASRec", SHORT),
    "user rows, recurrent": ("GRU4Rec", {}),
    "user rows, BPR": ("SASRec", {"loss_type": "BPR", **SAMPLED}),
    "masked rows": ("BERT4Rec", {}),
    "masked rows, BPR": ("BERT4Rec", {"loss_type": "BPR"}),
    "prefixes": ("SASRec", {"training_samples": "prefix"}),
    "prefixes, RecBole's masks": ("BERT4Rec", {"training_samples": "prefix"}),
    "prefixes, trimmed": ("NARM", {}),
    "augmented": ("SASRec", {"training_samples": "augmented"}),
    "augmented, RecBole's masks": ("BERT4Rec", {"training_samples": "augmented", "train_batch_size": 64}),
    "augmented, general": ("BPR", SAMPLED),
    "sampled softmax": ("SASRec", {"training_loss": "sampled_softmax", "training_negatives": 7}),
    "bce": ("SASRec", {"training_loss": "bce", "training_negatives": 7}),
    "gbce": ("GSASRec", {"training_negatives": 7}),
    "sce": ("SASRec", {"training_loss": "sce", "training_negatives": 7}),
    "eSASRec": ("ESASRec", {}),
    "HSTU": ("HSTU", {}),
}
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    mode: ("SASRec", {"item_embedding_mode": mode, "item_embedding_frozen_epochs": 1 if mode == "full" else None})
    for mode in ("full", "frozen", "adapter", "bounded", "dual")
} | {
    "UniSRec": ("UniSRecID", {"n_experts": 2, "adaptor_dropout_prob": 0.0}),
    "WhitenRec": ("WhitenRec", {"projection_dropout_prob": 0.0}),
    "AlphaFuse": ("AlphaFuse", {"null_dim": 4}),
}
OBJECTIVE_OPTIONS: dict[str, dict[str, Any]] = {
    "pairs": {"hard_negatives": 2, "spare_neighbours": True, "debias": 1.0},
    "recformer": {"debias": 1.0},
}
