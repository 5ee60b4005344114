"""``recbole-ext bench rectools``: an epoch of SASRec here beside one of RecTools' SASRec, if it is installed.

RecTools (https://github.com/MobileTeleSystems/RecTools) reads one row per user, too, so the ratio says nothing of
RecBole's copies: it is what sequences without padding, and a softmax at the targets alone, are worth.
"""

from __future__ import annotations

import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_ext.bench.contestants import enter
from recbole_ext.bench.measuring import timed
from recbole_ext.data.dataset import Dataset
from recbole_ext.data.sequences import training_rows
from recbole_ext.errors import ConfigurationError
from recbole_ext.runs.trial import lone_run

if TYPE_CHECKING:
    import pandas as pd


def run_rectools(dataset: Dataset, repeats: int) -> dict[str, Any]:
    """Median seconds of an epoch of each, in turns, an epoch of each first that does not count.

    Both train the same training rows with RecBole's defaults of SASRec (two layers, two heads, width 64, dropout 0.5,
    histories of 50 items), softmax over all items, each in batches of its own default: 2,048 targets here, 128 users
    there.

    Raises:
        ConfigurationError: RecTools is not installed.
    """
    try:
        from rectools.dataset import Dataset as RecToolsDataset
        from rectools.models import SASRecModel
    except ImportError as error:
        raise ConfigurationError(
            f"bench rectools: RecTools can't be imported ({error}): pip install 'rectools[torch]'."
        ) from error
    from recbole_ext.machine import device_in_words

    with tempfile.TemporaryDirectory() as folder:
        own = enter("recbole-ext", lone_run("SASRec", dataset, {}, Path(folder)))
        config, rows = own.trainer.config, _training(own.train_data._dataset)
        epochs: list[float] = []
        model = SASRecModel(
            n_blocks=config["n_layers"],
            n_heads=config["n_heads"],
            n_factors=config["hidden_size"],
            dropout_rate=config["hidden_dropout_prob"],
            session_max_len=config["MAX_ITEM_LIST_LENGTH"],
            lr=config["learning_rate"],
            loss="softmax",
            get_trainer_func=lambda: _trainer(epochs),
        )
        theirs = RecToolsDataset.construct(rows)
        seconds: dict[str, list[float]] = {"RecTools": [], "recbole-ext": []}
        for repeat in range(repeats + 1):
            model.fit_partial(theirs, min_epochs=1, max_epochs=1)
            taken = {"RecTools": epochs[-1], "recbole-ext": timed(own.train_epoch)[0]}
            for side in seconds if repeat else ():
                seconds[side].append(taken[side])
        device = device_in_words(own.trainer.device)
    medians = {side: median(values) for side, values in seconds.items()}
    return {
        "dataset": dataset.name,
        "device": device,
        "rectools": version("rectools"),
        "batches": {"RecTools": f"{model.batch_size} users", "recbole-ext": f"{config['train_batch_size']} targets"},
        "seconds": seconds,
        "seconds_per_epoch": medians,
        "ratio": medians["RecTools"] / medians["recbole-ext"],
    }


def rectools_table(result: dict[str, Any]) -> list[str]:
    """One line: both sides and their ratio."""
    own, theirs = (result["seconds_per_epoch"][side] for side in ("recbole-ext", "RecTools"))
    return [
        f"| SASRec, seconds per epoch | RecTools {result['rectools']} | recbole-ext | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| {result['dataset']} | {theirs:.2f} | {own:.2f} | {result['ratio']:.1f} |",
    ]


def _training(train: Any) -> pd.DataFrame:
    """The training rows as RecTools reads them, in the order of each user's history."""
    import pandas

    rows = np.sort(training_rows(train))
    users, items = (train.history[field].numpy()[rows] for field in (train.uid_field, train.iid_field))
    in_order = pandas.to_datetime(np.arange(len(rows)), unit="s")
    return pandas.DataFrame({"user_id": users, "item_id": items, "weight": 1.0, "datetime": in_order})


def _trainer(epochs: list[float]) -> Any:
    """Lightning's trainer as RecTools sets it up, which adds the seconds of each epoch's steps to ``epochs``."""
    from pytorch_lightning import Callback, Trainer

    class Timer(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            epochs.append(-time.perf_counter())

        def on_train_epoch_end(self, *_: Any) -> None:
            epochs[-1] += time.perf_counter()

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(max_epochs=1, devices=1, enable_checkpointing=False, callbacks=[Timer()], **quiet)
