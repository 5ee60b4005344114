"""A faster way is taken only where it is the user's objective: also what begins at zero, or shows in training alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.sequential_recommender.sasrec import SASRec
from recbole.trainer import Trainer
from recbole.utils import InputType
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from recbole_ext.errors import ConfigurationError
from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.training.exactness import has_known_loss, rows_are_exact
from recbole_ext.training.rows import UserRowLoader

Build = Callable[..., SimpleNamespace]


class Plain(SASRec):
    """Says nothing about the loss."""


class Biased(SASRec):
    """Every item has a bias, which is zero at the start."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.item_bias = torch.nn.Parameter(torch.zeros(self.n_items))

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return outputs @ self.item_embedding.weight.T + self.item_bias

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        return self.loss_fct(self.full_sort_predict(interaction), interaction[self.POS_ITEM_ID])


class WarmedUp(SASRec):
    """Multiplies scores by a number that is 1 at the start."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return self.loss_fct(self.scale * outputs @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])


class Mapped(SASRec):
    """Maps the outputs, by the identity at the start, in the loss alone."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.map = torch.nn.Parameter(torch.eye(self.hidden_size))

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]) @ self.map
        return self.loss_fct(outputs @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])


class Counting(SASRec):
    """Weighs its loss by how often it was asked for."""

    asked = 0

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        self.asked += 1
        return super().calculate_loss(interaction) * min(1.0, self.asked / 100)


class Lazy(SASRec):
    """Counts from the first time on that it is asked, and keeps rotations as complex numbers."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.asked: int | None = None
        self.register_buffer("rotations", torch.polar(torch.ones(4), torch.arange(4.0)))

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        self.asked = 1 if self.asked is None else self.asked + 1
        return super().calculate_loss(interaction)


class TwoPasses(SASRec):
    """Adds the squared distance of two passes, which differ by their dropout alone."""

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        one, other = (self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]) for _ in range(2))
        loss = self.loss_fct(one @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])
        return loss + 5 * (one - other).pow(2).mean()


class AgainstTheBatch(SASRec):
    """Compares the samples of a batch with each other, in training alone."""

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        outputs = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        loss = self.loss_fct(outputs @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])
        return loss + (outputs @ outputs.T).pow(2).sum() if self.training else loss


class MixedInTraining(SASRec):
    """Its outputs are mixed with another sample's, in training alone."""

    def forward(self, item_seq: Any, item_seq_len: Any) -> torch.Tensor:
        outputs = super().forward(item_seq, item_seq_len)
        return 0.7 * outputs + 0.3 * outputs.roll(1, 0) if self.training else outputs


class Heavy(SASRec):
    """Adds the size of its vectors to RecBole's loss, and counts in whole numbers and in double precision."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.whole = torch.nn.Parameter(torch.zeros(3, dtype=torch.long), requires_grad=False)
        self.third = torch.nn.Parameter(torch.tensor(1 / 3, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(2))

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        self.seen += 1
        return super().calculate_loss(interaction) + self.item_embedding.weight.pow(2).sum()


class Pointwise(SequentialRecommender):
    """Has no negatives in a sample, and a loss that reads no label."""

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.items = torch.nn.Embedding(self.n_items, 8)

    def scores(self, interaction: Any) -> torch.Tensor:
        return self.items(interaction[self.ITEM_SEQ]).mean(dim=1) @ self.items.weight.T

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        return cross_entropy(self.scores(interaction), interaction[self.POS_ITEM_ID])


class Labelled(Pointwise):
    """Reads the label."""

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        scores = self.scores(interaction).gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)
        return binary_cross_entropy_with_logits(scores, interaction["label"].to(scores.dtype))


class Halved(SASRec):
    """Is trained by a trainer of its own."""


class HalvedTrainer(Trainer):
    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        super()._train_epoch(train_data, epoch_idx, *args, **kwargs)
        with torch.no_grad():
            self.model.item_embedding.weight.zero_()
        return 0.5


class NormalisedOverBatch(torch.nn.BatchNorm1d):
    """Of the embedded items of all samples, with their padding."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden.flatten(0, -2)).view_as(hidden)


def named(model: type) -> str:
    return f"{model.__module__}.{model.__name__}"


def gradient_of(built: SimpleNamespace, name: str) -> torch.Tensor:
    samples = choose_samples(built.config, built.model, built.loaders)
    built.model.train()
    batch = next(iter(samples.loader))
    loss = samples.loss_of_rows(built.model, batch[0]) if samples.loss_of_rows else built.model.calculate_loss(batch)
    loss.backward()
    return built.model.get_parameter(name).grad


@pytest.mark.parametrize(("model", "parameter"), [(Biased, "item_bias"), (WarmedUp, "scale"), (Mapped, "map")])
def test_a_parameter_that_begins_neutral_is_trained(build: Build, model: type, parameter: str) -> None:
    built = build(named(model))
    start = built.model.get_parameter(parameter).detach().clone()
    assert gradient_of(built, parameter).abs().max() > 0
    assert torch.equal(built.model.get_parameter(parameter).detach(), start), "the probe puts it back"


def test_what_dropout_alone_shows_stays_in_the_loss(build: Build) -> None:
    built = build(named(TwoPasses), hidden_dropout_prob=0.5)
    samples = choose_samples(built.config, built.model, built.loaders)
    part = next(iter(samples.loader))[0]
    assert samples.loss_of_rows is not None
    built.model.train()
    torch.manual_seed(0)
    with_distance = samples.loss_of_rows(built.model, part)
    built.model.eval()
    assert with_distance > samples.loss_of_rows(built.model, part) + 0.1


@pytest.mark.parametrize("model", [AgainstTheBatch, MixedInTraining])
def test_what_compares_a_batch_in_training_alone_is_not_computed_on_rows(build: Build, model: type) -> None:
    built = build(named(model))
    assert choose_samples(built.config, built.model, built.loaders).name != "user"


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_what_is_normalised_over_a_batch_is_trained_on_recboles_batches(build: Build, model: str) -> None:
    built = build(model)
    assert choose_samples(built.config, built.model, built.loaders).name == "user"
    built = build(model)
    built.model.LayerNorm = NormalisedOverBatch(built.model.hidden_size)
    assert choose_samples(built.config, built.model, built.loaders).name == "augmented"


def test_negatives_that_a_loss_would_take_for_targets_are_refused(build: Build) -> None:
    sampled = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    built = build(named(Pointwise), **sampled)
    with pytest.raises(ConfigurationError, match=r"the loss of Pointwise reads no label.*train_neg_sample_args: null"):
        choose_samples(built.config, built.model, built.loaders)
    for model, keys in ((Pointwise, {}), (Labelled, sampled)):
        built = build(named(model), **keys)
        assert choose_samples(built.config, built.model, built.loaders)


def test_a_loss_that_reads_labels_is_told_though_turning_them_round_leaves_it_nearly_as_it_is(build: Build) -> None:
    """As of a fresh model whose scores are next to zero, with as many negatives as targets."""
    built = build(named(Labelled), train_neg_sample_args={"distribution": "uniform", "sample_num": 1})
    with torch.no_grad():
        for parameter in built.model.parameters():
            parameter *= 1e-4
    assert choose_samples(built.config, built.model, built.loaders)


def test_an_epoch_of_a_users_own_trainer_is_run_on_recboles_samples(build: Build) -> None:
    built = build(named(Halved), epochs=1)
    samples = choose_samples(built.config, built.model, built.loaders)
    trainer = build_trainer(built.config, built.model, built.checkpoint, samples.loss_of_rows)
    trainer.fit(samples.loader, verbose=False)
    assert samples.name == "augmented" and not built.model.item_embedding.weight.any()
    built = build(named(Halved), training_samples="user")
    with pytest.raises(ConfigurationError, match="'user' would go past the _train_epoch of HalvedTrainer; use auto"):
        choose_samples(built.config, built.model, built.loaders)


def test_a_class_that_leaves_the_loss_alone_is_as_fast_as_its_parent(build: Build) -> None:
    own, parent = build(named(Plain)), build("SASRec")
    for built in (own, parent):
        of_rows = choose_samples(built.config, built.model, built.loaders).loss_of_rows
        assert of_rows is not None and inspect.getclosurevars(of_rows).nonlocals["loss"].__name__ == "softmax_loss"


def test_whose_loss_it_is_is_told_by_the_class_that_defines_it(build: Build) -> None:
    built = build("SASRec")
    assert has_known_loss(built.model)
    built.model.calculate_loss = lambda interaction: torch.zeros(())
    assert not has_known_loss(built.model)
    assert not has_known_loss(build(named(TwoPasses)).model)


def test_a_training_loss_that_would_drop_a_term_of_the_users_is_refused(build: Build) -> None:
    built = build(named(Heavy), training_loss="gbce")
    with pytest.raises(ConfigurationError, match="Heavy adds to the loss of its scores something"):
        choose_samples(built.config, built.model, built.loaders)


def test_probes_do_not_count_as_training(build: Build) -> None:
    built = build(named(Counting))
    for asked in (0, 3):
        if asked:
            built.model.asked = asked
        choose_samples(built.config, built.model, built.loaders)
        assert built.model.asked == asked


def test_probes_bear_complex_buffers_and_what_begins_as_nothing(build: Build) -> None:
    built = build(named(Lazy))
    assert choose_samples(built.config, built.model, built.loaders).name == "user"
    assert built.model.asked is None


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", named(Heavy)])
def test_probes_leave_a_model_as_it_was(build: Build, model: str) -> None:
    built = build(model)
    before = {name: value.clone() for name, value in built.model.state_dict().items()}
    built.model.train()
    train = built.loaders.train
    rows_are_exact(built.model, UserRowLoader(built.config, train._dataset, train._sampler))
    assert all(module.training for module in built.model.modules())
    for name, value in built.model.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name]), name
