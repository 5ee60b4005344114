"""Everything that a run needs, set up in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole.utils import init_seed

from recbole_ext.allocator import out_of_memory_as
from recbole_ext.attach import Coverage, attach_item_embedding
from recbole_ext.errors import ConfigurationError
from recbole_ext.models.needs import check_needs
from recbole_ext.training.freezing import freeze_blocks
from recbole_ext.training.loaders import Loaders, load
from recbole_ext.training.new_items import keep_new_items_out
from recbole_ext.training.samples import TrainingSamples, choose_samples
from recbole_ext.training.shares import require_shares_that_add_up
from recbole_ext.training.team import ALONE, Team
from recbole_ext.training.trainer import OnEpoch, build_trainer

TOO_LARGE = (
    "in a run: lower train_batch_size or eval_batch_size, let fewer runs share the device (parallel_runs), or choose a "
    "smaller model or a training_loss over some of the items."
)


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to train.

    Attributes:
        config: RecBole's ``Config``.
        loaders: the splits; its validation and test loaders are those that the run evaluates with.
        model: with its item vectors, where a store is named.
        coverage: how many items the store covered; ``None`` where none is named.
        samples: what the model is trained on.
        trainer: RecBole's trainer of this model, with :class:`recbole_ext.training.trainer.BenchmarkTrainer` in front.
    """

    config: Any
    loaders: Loaders
    model: Any
    coverage: Coverage | None
    samples: TrainingSamples
    trainer: Any

    def fit(self, on_epoch: OnEpoch | None = None) -> dict[str, float]:
        """Train; returns the validation metrics of the best epoch, none where nothing is validated.

        ``on_epoch`` is called as the trainer's says, whenever its curve has grown.
        """
        self.trainer.on_epoch = on_epoch
        self.trainer.team.begin(self.model)
        with _troubles_named(self.config, self.loaders.dataset):
            _, validation = self.trainer.fit(
                self.samples.loader, self.loaders.valid, verbose=False, show_progress=self.config["show_progress"]
            )
        return _numbers(validation or {})

    def test(self) -> dict[str, float]:
        """The test metrics of the best epoch."""
        show_progress = self.config["show_progress"]
        with _troubles_named(self.config, self.loaders.dataset):
            metrics = self.trainer.evaluate(self.loaders.test, load_best_model=True, show_progress=show_progress)
        return _numbers(metrics)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Python's own numbers: RecBole rounds GAUC in NumPy, whose single precision no JSON has."""
    return {name: float(value) for name, value in metrics.items()}


@contextmanager
def _troubles_named(config: Any, dataset: Any) -> Iterator[None]:
    """What a model may lack, memory and fields of the data, as a sentence that says the way out."""
    with out_of_memory_as(ConfigurationError, TOO_LARGE), fields_that_are_missing_are_named(config, dataset):
        yield


@contextmanager
def fields_that_are_missing_are_named(config: Any, dataset: Any) -> Iterator[None]:
    """Turn the ``KeyError`` of a model that asks the data for a field that they lack into a sentence."""
    try:
        yield
    except KeyError as error:
        field = error.args[0] if error.args else None
        if not isinstance(field, str) or field in dataset.field2type:
            raise
        raise ConfigurationError(
            f"{config['model']} reads a field {field!r}, which is not in the data. Load it with load_col, or name "
            "with the model's keys the field that it is to read instead."
        ) from error


def prepare(config: Any, checkpoint: Path, team: Team = ALONE) -> PreparedRun:
    """Set up the run that ``config`` describes; its best epoch is going to be saved to ``checkpoint``.

    The order of steps, and so of random draws, is that of RecBole's ``run_recbole``.

    Args:
        config: RecBole's ``Config``, as :func:`recbole_ext.models.recbole_config` makes it.
        team: the processes that share the run; all of them prepare it.

    Raises:
        ConfigurationError: a key has a value that does not fit the model or the data, or the model lacks what it needs.
        AttachError, StoreError: the store does not fit; see :func:`recbole_ext.attach.attach_item_embedding`.
    """
    # RecBole looks for the folder and then makes it: of two runs that start at once, one would fail.
    Path(config["checkpoint_dir"]).mkdir(parents=True, exist_ok=True)
    check_needs(config)
    init_seed(config["seed"], config["reproducibility"])
    loaders = load(config)
    if not len(loaders.test):
        raise ConfigurationError(
            f"eval_args: split {config['eval_args']['split']} holds out no test set, so there is nothing to report."
        )
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    with _troubles_named(config, loaders.dataset):
        model = config.model_class(config, loaders.train._dataset).to(config["device"])
    coverage = attach_item_embedding(model, loaders.train._dataset, config)
    freeze_blocks(model, config)
    keep_new_items_out(model, loaders.train._dataset)
    samples = choose_samples(config, model, loaders)
    if team.size > 1:
        require_shares_that_add_up(config, model, loaders.train, samples.loss_of_rows)
    return PreparedRun(
        config=config,
        loaders=loaders,
        model=model,
        coverage=coverage,
        samples=samples,
        trainer=build_trainer(config, model, checkpoint, samples.loss_of_rows, team),
    )
