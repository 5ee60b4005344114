"""The keys that RecBole, the hook and this package give a meaning: which models have them, what values they take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from recbole_ext.compat import recbole_folder
from recbole_ext.data.config import SET_BY_THE_BENCHMARK, check_eval_args, refuse_saved_data
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import model_defaults
from recbole_ext.recbole_keys import (
    ABOVE_0,
    FROM_0,
    FROM_0_TO_1,
    FROM_1,
    Range,
    Values,
    documented_types,
    documented_words,
    types_of,
    values_for_all_models,
)
from recbole_ext.wording import did_you_mean

Settings = dict[str, Any]

HOOK_KEYS: dict[str, tuple[str, ...]] = {
    "item_embedding": ("str",),
    "item_embedding_transform": ("list",),
    "item_embedding_mode": ("str",),
    "item_embedding_missing": ("str",),
    "item_embedding_scale": ("float", "None"),
    "item_embedding_bound": ("float", "None"),
    "item_embedding_dense_probability": ("float", "None"),
}
TRAINING_KEYS: dict[str, tuple[str, ...]] = {
    "rank_seen_items": ("bool", "str", "None"),
    "training_samples": ("str",),
    "window_stride": ("int", "None"),
    "training_loss": ("str",),
    "training_negatives": ("int", "None"),
    "training_negatives_shared": ("bool", "None"),
    "training_logq": ("bool", "None"),
    "gbce_t": ("float", "None"),
    "item_embedding_frozen_epochs": ("int", "None"),
    "frozen_blocks": ("int", "None"),
    "exact_time_order": ("bool",),
    "nproc": ("int",),
    "diversity_vectors": ("str", "None"),
}
_RANGES: dict[str, Range] = {
    "item_embedding_scale": ABOVE_0,
    "item_embedding_bound": FROM_0,
    "item_embedding_dense_probability": FROM_0_TO_1,
    "item_embedding_frozen_epochs": FROM_0,
    "frozen_blocks": FROM_0,
    "training_negatives": FROM_1,
    "gbce_t": FROM_0_TO_1,
}
MEANINGS: dict[str, str] = {
    "item_embedding": "The store of item vectors; absent: the model's own random ones.",
    "item_embedding_transform": "What is done to the vectors before, in order: `center`, `l2`, `{pca: D}`, "
    "`{width: D}`, `{select: D}`, `whiten`, `{scale: S}`.",
    "item_embedding_mode": "`full` (trained like any parameter, the default), `frozen`, `adapter` (a trained linear "
    "map), `bounded` (frozen and a change of bounded norm) or `dual` (trained rows, and a map for unseen items).",
    "item_embedding_missing": "Items that the store lacks: `error` (the default), `mean` or `random`.",
    "item_embedding_scale": "The standard deviation of the vectors' entries, after the transforms; of random vectors "
    "too.",
    "item_embedding_bound": "Of `bounded`: the largest norm of the change, in units of the vectors' mean norm; 0.5 by "
    "default.",
    "item_embedding_dense_probability": "Of `dual`: how often an item takes the map in training; 0.5 by default.",
    "rank_seen_items": "Whether evaluation ranks items that the user has had: `true`, `false`, or `auto` (the "
    "benchmark's default): not where no user repeats one.",
    "training_samples": "What is trained on: `auto` (the fastest way that the model proves exact; BERT4Rec "
    "has one of its own), `user`, `prefix` or "
    "`augmented` (RecBole's samples to the last bit).",
    "window_stride": "Begin windows of long histories at every so many items: cheaper, and no longer exact.",
    "training_loss": "`model` (its own), or for dot-product scorers `softmax`, `sampled_softmax`, `bce`, `gbce`, "
    "`sce`.",
    "training_negatives": "How many items a sampled loss draws.",
    "training_negatives_shared": "One draw for all targets of a part instead of one for each.",
    "training_logq": "Of `sampled_softmax`: correct for the sampling.",
    "gbce_t": "Of `gbce`: from 0 (plain BCE) to 1 (fully calibrated); 0.75 by default.",
    "item_embedding_frozen_epochs": "In mode `full`: for so many epochs the vectors stay as they are.",
    "frozen_blocks": "So many first transformer blocks stay as they were initialised.",
    "nproc": "Processes that share a run, one for each GPU: each computes its part of every batch. Sequential models "
    "with RecBole's own trainer; 1 by default.",
    "diversity_vectors": "Of the metric `IntraListDistance`: the store in whose vectors lists are diverse.",
    "exact_time_order": "Order by the exact time in the file (the default); `false`: RecBole's single precision.",
}
"""Every key of the hook and of training, in words for the reference."""
ATTACHING = tuple(key.removeprefix("item_embedding_") for key in HOOK_KEYS if key != "item_embedding")
"""What an entry of ``initialisations`` calls the keys that say how vectors are attached."""
PLACES = {
    **SET_BY_THE_BENCHMARK,
    "dataset": "datasets",
    "model": "models",
    "item_embedding": "initialisations.NAME",
    **{f"item_embedding_{key}": f"initialisations.NAME.{key}" for key in ATTACHING},
}
"""Keys of RecBole or of the hook that a benchmark sets by a key of its own."""
WITHOUT_EFFECT = (
    "data_path",
    "checkpoint_dir",
    "item_embedding",
    "show_progress",
    "state",
    "gpu_id",
    "use_gpu",
    "log_wandb",
    "wandb_project",
)
"""Keys that don't decide a result. What the paths point to is in the identity by its content or its request.
(``worker`` decides it: RecBole draws negatives in its loaders' workers. So does ``nproc``: each process draws its own
dropout.)"""


@dataclass(frozen=True)
class Keys(Values):
    """The keys that one model knows, and the values that they take."""

    model: str

    def check(self, where: str, key: str, value: Any) -> None:
        """See that this model has ``key`` and that ``value`` is of a type, or one of the few words, that it takes.

        Raises:
            ConfigurationError: it is not; names ``where``, the key, and the closest one that there is.
        """
        if key not in self.types:
            hint = did_you_mean(str(key), self.types)
            raise ConfigurationError(f"{where}: {self.model} has no key {key!r}. {hint}".rstrip())
        refuse_saved_data({key: value}, where)
        if key == "eval_args":
            check_eval_args(value, where)
        super().check(where, key, value)


@cache
def keys_of(model: str) -> Keys:
    """The keys of ``model``: RecBole's for every run, the model's own, the hook's and this package's.

    Raises:
        ConfigurationError: there is no model of that name.
    """
    defaults = model_defaults(model)
    of_all, of_model = values_for_all_models(), recbole_folder() / "properties" / "model" / f"{model}.yaml"
    types, words = {**HOOK_KEYS, **TRAINING_KEYS, **of_all.types}, dict(of_all.words)
    if of_model.is_file():
        types |= documented_types(of_model)
        words |= documented_words(of_model)
    for key, value in defaults.items():
        types.setdefault(key, types_of(value))
    return Keys(types, words, {**of_all.ranges, **_RANGES}, model)
