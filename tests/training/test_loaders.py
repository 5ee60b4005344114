"""Loaders: RecBole's own classes, whole popularity, and evaluation with or without what a user has seen."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataset import DIENDataset, KGSeqDataset, KnowledgeBasedDataset

from recbole_ext.data.sequences import SequenceViewDataset
from recbole_ext.errors import ConfigurationError
from recbole_ext.training import build_trainer, choose_samples
from recbole_ext.training.evaluation import MAXIMUM_PAIRS, evaluation_batch_size
from recbole_ext.training.sampled_ranking import Candidates
from recbole_ext.training.seen_items import UnseenItemsLoader

Build = Callable[..., SimpleNamespace]
ONE_NEGATIVE = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
GRAPH = {
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
    }
}
LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}


def histories(folder: Path, dataset: str = "tiny") -> dict[str, list[str]]:
    """Item tokens by user token, oldest first."""
    items = defaultdict(list)
    for line in (folder / dataset / f"{dataset}.inter").read_text(encoding="utf-8").splitlines()[1:]:
        user, item = line.split("\t")[:2]
        items[user].append(item)
    return dict(items)


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("SASRec", {}, SequenceViewDataset),
        ("DIEN", ONE_NEGATIVE, DIENDataset),
        ("CFKG", {**ONE_NEGATIVE, **GRAPH}, KnowledgeBasedDataset),
    ],
)
def test_a_model_gets_the_dataset_that_it_has_in_recbole(
    build: Build, model: str, settings: dict[str, Any], expected: type
) -> None:
    assert type(build(model, "rich", **settings).dataset) is expected


def test_models_that_read_entities_get_both_histories_and_graph(build: Build) -> None:
    from recbole_ext.survey.keys import OF_A_MODEL

    built = build("GRU4RecKG", "rich", **OF_A_MODEL["GRU4RecKG"])
    assert isinstance(built.dataset, KGSeqDataset)
    assert choose_samples(built.config, built.model, built.loaders).name == "augmented"


@pytest.mark.parametrize("model", ["SASRec", "FPMC", "BPR"])
def test_popularity_is_counted_over_all_that_recbole_counts_it_over(
    build: Build, atomic_folder: Path, model: str
) -> None:
    sampled = {} if model == "SASRec" else ONE_NEGATIVE
    built = build(model, eval_args={**LEAVE_ONE_OUT, "mode": "pop10"}, **sampled)
    first = 0 if model == "BPR" else 1  # no sample of a sequential model predicts a user's first item
    counts = Counter(item for items in histories(atomic_folder).values() for item in items[first:])
    sampler = built.loaders.test._sampler
    token = built.dataset.field2id_token["item_id"]
    assert {token[item] for item in sampler.prob} == set(counts)
    draws = Counter(token[sampler._pop_sampling(20_000)].tolist())
    most, _ = counts.most_common(1)[0]
    assert draws[most] / 20_000 == pytest.approx(counts[most] / counts.total(), rel=0.25)


class TestSeenItems:
    """``rank_seen_items``: whether evaluation ranks what a user had seen before the item to find."""

    def ranks(self, built: SimpleNamespace) -> dict[str, Any]:
        choose_samples(built.config, built.model, built.loaders)
        trainer = build_trainer(built.config, built.model, built.checkpoint)
        trainer.eval_collector.data_collect(built.loaders.train)
        trainer.evaluate(built.loaders.test, load_best_model=False)
        users = built.dataset.field2id_token["user_id"][1:]
        return dict(zip(users, trainer.test_ranks(built.loaders.test).tolist(), strict=True))

    def by_hand(self, built: SimpleNamespace, folder: Path, ranks_seen: bool) -> dict[str, int]:
        """The rank of each user's last item among all, or among those not seen before, from the model's own scores."""
        token_of, id_of = built.dataset.field2id_token["item_id"], built.dataset.field2token_id["item_id"]
        expected = {}
        for user, items in histories(folder).items():
            seen = [id_of[item] for item in items[:-1]]
            scores = self.scores(built, user, seen).clone()
            scores[0] = -torch.inf
            if not ranks_seen:
                scores[seen] = -torch.inf
            expected[user] = int((scores > scores[id_of[items[-1]]]).sum()) + 1
        assert len(token_of) == 61
        return expected

    def scores(self, built: SimpleNamespace, user: str, seen: list[int]) -> torch.Tensor:
        from recbole.data.interaction import Interaction

        number = built.dataset.field2token_id["user_id"][user]
        longest = built.config["MAX_ITEM_LIST_LENGTH"]
        row = torch.zeros(1, longest, dtype=torch.long)
        window = seen[-longest:]
        row[0, : len(window)] = torch.tensor(window)
        fields = {"user_id": torch.tensor([number]), "item_id_list": row, "item_length": torch.tensor([len(window)])}
        built.model.eval()
        with torch.no_grad():
            return built.model.full_sort_predict(Interaction(fields)).view(-1)

    @pytest.mark.parametrize("samples", ["auto", "augmented"])
    @pytest.mark.parametrize("ranks_seen", [True, False])
    @pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "BPR", "ItemKNN"])
    def test_ranks_are_those_of_a_computation_by_hand(
        self, build: Build, atomic_folder: Path, model: str, ranks_seen: bool, samples: str
    ) -> None:
        sampled = ONE_NEGATIVE if model == "BPR" else {}
        built = build(
            model, rank_seen_items=ranks_seen, training_samples=samples, topk=[60], MAX_ITEM_LIST_LENGTH=8, **sampled
        )
        if model != "ItemKNN":  # its scores are of small numbers and tie
            torch.nn.init.normal_(built.model.item_embedding.weight)
        found, expected = self.ranks(built), self.by_hand(built, atomic_folder, ranks_seen)
        if model == "ItemKNN" and samples == "auto":  # of tied places the first is kept, and how many there are
            assert {user: first for user, (first, _) in found.items()} == expected
        elif model == "ItemKNN":
            assert sum(found[user] >= expected[user] for user in found) == len(found)
        else:
            assert found == expected

    @pytest.mark.parametrize(("model", "kind"), [("SASRec", UnseenItemsLoader), ("BPR", None)])
    def test_where_nobody_repeats_an_item_auto_leaves_seen_items_out(
        self, build: Build, model: str, kind: type | None
    ) -> None:
        sampled = ONE_NEGATIVE if model == "BPR" else {}
        built = build(model, rank_seen_items="auto", **sampled)
        assert built.config["rank_seen_items"] is False
        assert kind is None or type(built.loaders.test) is kind

    def test_where_somebody_repeats_an_item_auto_ranks_them(
        self, build: Build, atomic_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        lines = (atomic_folder / "tiny" / "tiny.inter").read_text(encoding="utf-8").splitlines()
        (tmp_path / "again").mkdir()
        repeated = "\n".join([*lines, lines[1].rsplit("\t", 1)[0] + "\t99"]) + "\n"
        (tmp_path / "again" / "again.inter").write_text(repeated, encoding="utf-8")
        for wanted, expected in (("auto", True), (False, False)):
            built = build("SASRec", "again", data_path=str(tmp_path), rank_seen_items=wanted)
            assert built.config["rank_seen_items"] is expected
        assert "1 of" in caplog.text and "repeat an item" in caplog.text

    def test_without_the_key_it_is_as_in_recbole(self, build: Build) -> None:
        general = build("BPR", rank_seen_items=None, repeatable=False, **ONE_NEGATIVE)
        assert general.config["rank_seen_items"] is False
        assert build("SASRec", rank_seen_items=None).config["rank_seen_items"] is True

    def test_an_unknown_value_is_refused(self, build: Build) -> None:
        with pytest.raises(ConfigurationError, match="rank_seen_items: 'never' is unknown"):
            build("SASRec", rank_seen_items="never")

    @pytest.mark.parametrize("mode", ["uni20", "pop20"])
    @pytest.mark.parametrize("model", ["SASRec", "DIN", "DIEN", "BPR"])
    def test_sampled_ranking_draws_no_item_that_the_user_has_seen(
        self, build: Build, atomic_folder: Path, model: str, mode: str
    ) -> None:
        sampled = {} if model == "SASRec" else ONE_NEGATIVE
        built = build(model, "rich", rank_seen_items=False, eval_args={**LEAVE_ONE_OUT, "mode": mode}, **sampled)
        choose_samples(built.config, built.model, built.loaders)
        items, users = (built.dataset.field2id_token[field] for field in ("item_id", "user_id"))
        seen = {user: set(before[:-1]) for user, before in histories(atomic_folder, "rich").items()}
        checked = 0
        for batch in built.loaders.test:
            samples, rows = batch[0], batch[1]
            if isinstance(rows, Candidates):
                of_users = zip(samples["user_id"], rows.items, strict=True)
                candidates = [(users[user], item) for user, row in of_users for item in row]
            else:
                candidates = list(zip(users[samples["user_id"]], samples["item_id"], strict=True))
            assert not any(items[int(item)] in seen[user] for user, item in candidates)
            checked += len(candidates)
        assert checked > 40 * 10

    def test_a_user_who_has_had_every_item_is_ranked_in_full_and_told_where_items_are_drawn(
        self, build: Build, tmp_path: Path
    ) -> None:
        rows = [(user, item, item) for user in range(3) for item in range(6 if user == 0 else 4)]
        lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
        (tmp_path / "all").mkdir()
        (tmp_path / "all" / "all.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
        keys: dict[str, Any] = {"data_path": str(tmp_path), "rank_seen_items": False, "topk": [5]}
        built = build("SASRec", "all", **keys)
        assert self.ranks(built)["0"] == 1, "all others are masked"
        with pytest.raises(ValueError, match="interacted with all items"):
            build("SASRec", "all", **keys, eval_args={**LEAVE_ONE_OUT, "mode": "uni2"})

    @pytest.fixture
    def back(self, tmp_path: Path) -> dict[str, Any]:
        """Keys of a dataset whose users 0 to 2 come back to their first item in the end, and the others to none."""
        ends = [1, 1, 1, 9, 9, 9]
        rows = [(user, item, time) for user in range(6) for time, item in enumerate([1, 2, 3 + user, ends[user]])]
        lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
        (tmp_path / "back").mkdir()
        (tmp_path / "back" / "back.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"data_path": str(tmp_path), "topk": [5]}

    @pytest.mark.parametrize("model", ["SASRec", "BPR"])
    def test_who_is_asked_for_a_seen_item_chooses_from_all(
        self, build: Build, back: dict[str, Any], caplog: pytest.LogCaptureFixture, model: str
    ) -> None:
        sampled = ONE_NEGATIVE if model == "BPR" else {}
        built = build(model, "back", **back, **sampled, rank_seen_items=False)
        batch, (row, _), _, _ = built.loaders.test.collate_fn(list(range(6)))
        users = built.dataset.field2id_token["user_id"][batch["user_id"]]
        masked = dict(zip(users, np.bincount(row.numpy(), minlength=6).tolist(), strict=True))
        assert masked == {"0": 0, "1": 0, "2": 0, "3": 3, "4": 3, "5": 3}
        assert "all are: 3 of 6 in test" in caplog.text and "in validation" not in caplog.text
        assert built.config["seen_targets"] == 3

    @pytest.mark.parametrize("model", ["SASRec", "BPR"])
    def test_samples_of_who_is_asked_for_a_seen_item_are_drawn_from_all(
        self, build: Build, back: dict[str, Any], model: str
    ) -> None:
        args = {**LEAVE_ONE_OUT, "mode": "uni50"}
        built = build(
            model, "back", **back, **({} if model == "SASRec" else ONE_NEGATIVE), eval_args=args, rank_seen_items=False
        )
        users, items = (built.dataset.field2token_id[field] for field in ("user_id", "item_id"))
        sampler = built.loaders.test._sampler
        drawn = set(sampler.sample_by_user_ids([users["0"]] * 2, [items["1"]] * 2, 100).tolist())
        assert drawn == set(range(1, built.dataset.item_num)) - {items["1"]}
        drawn = set(sampler.sample_by_user_ids([users["3"]] * 2, [items["9"]] * 2, 100).tolist())
        assert drawn.isdisjoint({items[token] for token in ("1", "2", "6", "9")})

    def test_without_the_key_the_item_to_find_alone_is_spared_as_in_recbole(
        self, build: Build, back: dict[str, Any]
    ) -> None:
        built = build("BPR", "back", **back, **ONE_NEGATIVE, rank_seen_items=None, repeatable=False)
        _, (row, item), _, positive = built.loaders.test.collate_fn(list(range(6)))
        assert not (item == positive[row]).any()
        assert sorted(np.bincount(row.numpy()).tolist()) == [2, 2, 2, 3, 3, 3]
        assert "seen_targets" not in built.config.final_config_dict


def test_evaluation_batches_count_users_and_stay_bounded(build: Build) -> None:
    config = build("BPR", **ONE_NEGATIVE).config
    assert evaluation_batch_size(config, "test", 61) == 512 * 61
    assert evaluation_batch_size(config, "test", 10**7) == 26 * 10**7
    config["training_samples"] = "augmented"
    assert evaluation_batch_size(config, "test", 61) == 512
    by_pairs = build("DeepFM", "rich", **ONE_NEGATIVE).config
    assert evaluation_batch_size(by_pairs, "test", 61) == MAXIMUM_PAIRS
    histories_by_pairs = build("DIN", "rich", **ONE_NEGATIVE).config
    assert evaluation_batch_size(histories_by_pairs, "test", 10**4) == 6


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "DeepFM"])
def test_batches_of_users_give_the_metrics_of_recboles_batches(build: Build, model: str) -> None:
    results = []
    for samples in ("auto", "augmented"):
        built = build(model, "rich", training_samples=samples, rank_seen_items=False, **ONE_NEGATIVE)
        trainer = build_trainer(built.config, built.model, built.checkpoint)
        trainer.eval_collector.data_collect(built.loaders.train)
        results.append((len(built.loaders.test), trainer.evaluate(built.loaders.test, load_best_model=False)))
    assert results[0][0] < results[1][0]
    assert results[0][1] == pytest.approx(results[1][1], abs=1e-7)


def test_a_save_of_the_data_is_never_read(build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """RecBole would take the loaders of a file left over there, whatever the data are now."""
    caplog.set_level(logging.ERROR)
    for name in ("tiny-for-SASRec-dataloader.pth", "tiny-SequentialDataset.pth"):
        (tmp_path / name).write_bytes(b"no pickle at all")
    assert len(build("SASRec", checkpoint_dir=str(tmp_path)).loaders.test) > 0
