"""From a RecBole config to the loaders of its three splits."""

from __future__ import annotations

import copy
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import recbole.data.dataset as recboles
import torch
from recbole.data import create_samplers, get_dataloader
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import KGSampler
from recbole.utils import ModelType

from recbole_ext.data.files import history_column, interaction_suffixes
from recbole_ext.data.given import given
from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.data.tables import Table
from recbole_ext.data.temporal import TEST, TRAIN, VALID, Temporal
from recbole_ext.data.temporal_dataset import TemporalSplit, temporal
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import companion
from recbole_ext.recbole_models import recbole_name
from recbole_ext.records.record import SEEN_TARGETS
from recbole_ext.training.evaluation import evaluation_batch_size
from recbole_ext.training.seen_items import UnseenItemsLoader, let_choose_from_all, targets_of

log = logging.getLogger(__name__)

RANK_SEEN_ITEMS = (True, False, "auto")


@dataclass
class Loaders:
    """The three splits as RecBole's loaders, and the whole dataset they come from."""

    dataset: Any
    train: Any
    valid: Any
    test: Any


def load(config: Any) -> Loaders:
    """Read and split the dataset of ``config``, from its files each time: by RecBole's own rules, or in time
    (:class:`recbole_ext.data.temporal_dataset.TemporalSplit`).

    Whether evaluation ranks what a user has seen already says ``rank_seen_items``, for all models alike: ``true``,
    ``false``, or ``auto``: not where no user of the dataset repeats an item. Without the key it is as in RecBole:
    ``repeatable`` says it for general models, and sequential ones rank all items. The answer is left in the config.
    Where it is no, whoever is asked for an item that they have seen has nothing left out, but for RecBole's own way.

    Raises:
        ConfigurationError: an unknown value of ``rank_seen_items``, or files that the model's dataset class can't read.
    """
    dataset = _dataset_class(config)(config)
    as_recbole = config["rank_seen_items"] is None
    config["rank_seen_items"] = _ranks_seen_items(config, dataset)
    is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    if not is_sequential:
        config["repeatable"] = config["rank_seen_items"]
    splits = dataset.build()
    samplers = _samplers(config, dataset, splits)
    if isinstance(dataset, SequenceViewDataset):
        # Popularity is counted over all samples, as in RecBole; from here on they would only take memory.
        dataset.inter_feat = splits[0].inter_feat
    train, *evaluated = (_loader_class(config, phase) for phase in ("train", "valid", "test"))
    if config["MODEL_TYPE"] == ModelType.KNOWLEDGE:
        negatives = config["train_neg_sample_args"]
        entities = KGSampler(dataset, negatives["distribution"], negatives["alpha"])
        loaders = [train(config, splits[0], samplers[0], entities, shuffle=True)]
    else:
        loaders = [train(config, splits[0], samplers[0], shuffle=config["shuffle"])]
    _keep_new_items_out(loaders[0], dataset)
    if is_sequential and not config["rank_seen_items"]:
        if any(config[f"{phase}_neg_sample_args"]["sample_num"] != "none" for phase in ("valid", "test")):
            samplers = _samplers_of_unseen_items(config, dataset, splits)
        evaluated = [UnseenItemsLoader if each is FullSortEvalDataLoader else each for each in evaluated]
    if not as_recbole and not config["rank_seen_items"]:
        for period in (VALID, TEST):
            _let_return(config, dataset, splits, samplers[period], period)
    for phase, loader_class, split, sampler in zip(("valid", "test"), evaluated, splits[1:], samplers[1:], strict=True):
        loaders.append(loader_class(_evaluation_config(config, phase, dataset.item_num), split, sampler, shuffle=False))
    return Loaders(dataset, *loaders)


def _dataset_class(config: Any) -> Any:
    return _under_protocol(config, _recboles_class(config))


def _under_protocol(config: Any, kind: type) -> Any:
    """The dataset class ``kind`` under the protocol ``temporal`` or ``given`` where that is asked for.

    Raises:
        ConfigurationError: the files are split already and hold no histories, which the class doesn't make either.
    """
    if config["benchmark_filename"]:
        looks_for_them = getattr(kind, "_benchmark_presets", None) is recboles.SequentialDataset._benchmark_presets
        if looks_for_them and kind is not SequenceViewDataset and not _has_given_histories(config):
            raise ConfigurationError(
                f"benchmark_filename: {config['model']} reads data by a class of its own, {kind.__name__}, which makes "
                "no histories of files that are split already. Give them in a column "
                f"{config['ITEM_ID_FIELD']}{config['LIST_SUFFIX']}:token_seq of each file, or leave the model out."
            )
        return given(kind)
    return kind if Temporal.of(config["eval_args"]) is None else temporal(kind)


def with_whole_histories(config: Any, loaders: Loaders) -> tuple[Any, list[Any]]:
    """The dataset and its three splits, the histories of a sequential model's samples as long as the data have them.

    RecBole's own dataset classes of some models (DIEN, GRU4RecKG, KSR) cut the samples of the same rows, so these rows
    are read again as histories; so are pre-split files with histories in their rows, whose lists stay whole here. A
    user's own class is taken as it is: what its samples are is its own to say.
    """
    own = companion(config.model_class, "Dataset", recboles)
    is_users = own is not None and own.__module__.partition(".")[0] != "recbole"
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL or isinstance(loaders.dataset, SequenceViewDataset) or is_users:
        return loaders.dataset, [loaders.train._dataset, loaders.valid._dataset, loaders.test._dataset]
    if _has_given_histories(config):
        whole = _dataset_class(config)(_changed(config, MAX_ITEM_LIST_LENGTH=sys.maxsize))
    else:
        # What such a class reads besides, such as a knowledge graph, has to be there for its config to make sense.
        kind, views = _recboles_class(config), _under_protocol(config, SequenceViewDataset)
        whole = type(f"Whole{kind.__name__}", (views, kind), {})(config)
    return whole, whole.build()


def _recboles_class(config: Any) -> Any:
    """The class that comes with the model in RecBole or beside a user's, else the one for models of its type."""
    own = companion(config.model_class, "Dataset", recboles)
    if own is not None:
        return own
    if config["MODEL_TYPE"] == ModelType.KNOWLEDGE:
        return recboles.KnowledgeBasedDataset
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
        return recboles.Dataset
    return recboles.SequentialDataset if _has_given_histories(config) else SequenceViewDataset


def _has_given_histories(config: Any) -> bool:
    """Whether the data are files that are split already of which one carries histories."""
    keys, stem = config.final_config_dict, Path(config["data_path"]) / config["dataset"]
    if history_column(keys) is None:
        return False
    headers = (Table.of(stem.with_name(f"{stem.name}.{suffix}"), keys).types for suffix in interaction_suffixes(keys))
    return any(history_column(keys) in header for header in headers)


def _loader_class(config: Any, phase: str) -> Any:
    named = {key: config[key] for key in ("MODEL_TYPE", "eval_args")}
    return get_dataloader({"model": recbole_name(config.model_class), **named}, phase)


def _evaluation_config(config: Any, phase: str, n_items: int) -> Any:
    """The config that RecBole's loader of ``phase`` reads.

    Its batches have a size of their own, and a loader without a sampler is taken for the test set's by RecBole 1.2.1,
    so that mode ``labeled`` for validation alone would sample negatives.
    """
    return _changed(
        config,
        eval_batch_size=evaluation_batch_size(config, phase, n_items),
        test_neg_sample_args=config[f"{phase}_neg_sample_args"],
    )


def _changed(config: Any, **keys: Any) -> Any:
    changed = copy.copy(config)
    changed.final_config_dict = {**config.final_config_dict, **keys}
    return changed


def _ranks_seen_items(config: Any, dataset: Any) -> bool:
    wanted = config["rank_seen_items"]
    if wanted is None:
        return bool(config["repeatable"])
    if wanted not in RANK_SEEN_ITEMS:
        raise ConfigurationError(f"rank_seen_items: {wanted!r} is unknown; choose true, false or auto.")
    rows = dataset.inter_feat
    if isinstance(dataset, TemporalSplit):
        rows = rows[dataset.timeline.period == TRAIN]  # whether to mask is not for what comes after the cut to say
    repeats = int(rows.duplicated([dataset.uid_field, dataset.iid_field]).sum())
    if wanted is False and repeats:
        log.warning(
            "rank_seen_items: false, but %d of %d interactions repeat an item that the user had seen",
            repeats,
            len(rows),
        )
    if wanted == "auto" and repeats:
        log.info(
            "rank_seen_items: auto ranks items that the user has seen: %d of %d interactions repeat one",
            repeats,
            len(rows),
        )
    return wanted if wanted != "auto" else repeats > 0


def _let_return(config: Any, dataset: Any, splits: list[Any], sampler: Any, period: int) -> None:
    """Let users who are asked in this period for an item that they have had choose from all; how many the log says, and
    of the test the config."""
    users, items, returns = targets_of(dataset, splits, period)
    if not (count := int(returns.sum())):
        return
    if sampler is not None:
        let_choose_from_all(sampler, users, items, returns)
    what = "validation" if period == VALID else "test"
    log.warning(
        "items that the user has seen are not ranked, but where one is to be found all are: %d of %d in %s",
        *(count, len(users), what),
    )
    if period == TEST:
        config[SEEN_TARGETS] = count


def _samplers(config: Any, dataset: Any, splits: list[Any]) -> tuple[Any, Any, Any]:
    """RecBole's samplers of training, validation and test.

    Under the protocol ``temporal`` those of training draw items of training alone and those of validation none that is
    first seen in the test period, popularity is that of training, and what a user has seen is all that was before the
    user's target.
    """
    if not isinstance(dataset, TemporalSplit):
        return create_samplers(config, dataset, splits)
    timeline, target = dataset.timeline, dataset.temporal.target
    trains = dataset.with_rows(np.flatnonzero(timeline.period == TRAIN))
    asked = (timeline.targets(period, target) for period in (VALID, TEST))
    seen = [trains, *(dataset.with_rows(timeline.until(targets)) for targets in asked)]
    try:
        samplers = create_samplers(config, trains, seen)
    except ValueError as error:  # a user who has had every item
        raise ConfigurationError(f"eval_args.split.temporal: {error}") from error
    for sampler in filter(None, samplers):
        if sampler.distribution == "popularity":
            sampler._get_candidates_list = trains.inter_feat[dataset.iid_field].tolist
            sampler._build_alias_table()
    _draw_from_the_first(dataset.n_trained_items, samplers[0], "of the training period")
    validates_on_samples = config["valid_neg_sample_args"]["sample_num"] != "none"
    _draw_from_the_first(splits[VALID].n_ranked_items, samplers[VALID] if validates_on_samples else None, "before test")
    return samplers


def _draw_from_the_first(n_items: int, sampler: Any, which: str) -> None:
    """Let a sampler, if there is one, draw from the first ``n_items`` items alone, the padding item among them.

    Raises:
        ConfigurationError: a user has had all of these, ``which`` in words, so that drawing would never end.
    """
    if sampler is None:
        return
    sampler.item_num = n_items
    if max(map(len, sampler.used_ids)) >= n_items - 1:
        raise ConfigurationError(
            f"eval_args.split.temporal: a user has had every item {which}, so that none is left to compare with. "
            "Choose a later cut."
        )


def _keep_new_items_out(loader: Any, dataset: Any) -> None:
    """Let items that training does not have be no negatives where RecBole draws some without a sampler."""
    n_trained = getattr(dataset, "n_trained_items", dataset.item_num)
    if n_trained == dataset.item_num:
        return
    if hasattr(dataset, "seq_sampler"):  # DIEN's, which has drawn from all items already
        raise ConfigurationError(
            f"eval_args.split.temporal: {dataset.kind.__name__} draws negatives from all items, those first seen after "
            "the cut among them. Take them out of the data: new_items: leave_out."
        )
    if hasattr(loader.transform, "_neg_sample"):  # BERT4Rec's masks
        draw = loader.transform._neg_sample
        loader.transform._neg_sample = lambda seen, _: draw(seen, n_trained)


def _samplers_of_unseen_items(config: Any, dataset: Any, splits: list[Any]) -> Any:
    """RecBole's samplers for general models, which draw no item that a user had in this split or one before.

    RecBole's samples of a sequential model lack each user's first item, which no history predicts.
    """
    if isinstance(dataset, TemporalSplit):
        return _samplers(_changed(config, repeatable=False), dataset, splits)
    train = copy.copy(splits[0])
    train.inter_feat = _interactions(train)
    return create_samplers(_changed(config, repeatable=False), dataset, [train, *splits[1:]])


def _interactions(split: Any) -> Interaction:
    if isinstance(split, SequenceViewDataset):
        return split.interactions()
    samples, items = split.inter_feat, split.iid_field + split.config["LIST_SUFFIX"]
    begins = samples[split.item_list_length_field] == 1
    firsts = {split.uid_field: samples[split.uid_field][begins], split.iid_field: samples[items][begins, 0]}
    return Interaction({field: torch.cat([samples[field], first]) for field, first in firsts.items()})
