"""Runs under the protocol ``temporal``: what is learned, ranked and measured, against hand computations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_ext.compat import recbole_folder
from recbole_ext.errors import ConfigurationError
from recbole_ext.models import recbole_config
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.training import PreparedRun, prepare
from recbole_ext.training.new_items import n_trained_items

Build = Callable[..., SimpleNamespace]
Prepared = Callable[..., PreparedRun]
CUT, TEST_CUT = 1000, 1300
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
SAMPLED = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}


def temporal(mode: str = "full", **keys: Any) -> dict[str, Any]:
    return {"split": {"temporal": keys}, "group_by": "user", "order": "TO", "mode": mode}


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Dataset ``clock``: 30 users, 20 items before 1,000, four more after it; and its rows in the order of time."""
    draw = np.random.default_rng(3)
    rows = [(f"u{user}", f"i{draw.integers(20)}", time) for user in range(30) for time in draw.integers(0, CUT, 9)]
    rows += [(f"u{user}", f"i{draw.integers(24)}", time) for user in range(40) for time in draw.integers(CUT, 1600, 3)]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"]).sort_values("time", kind="stable")
    assert frame["item"][frame["time"] < CUT].nunique() == 20 and frame["item"].nunique() == 24
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock").mkdir()
    shuffled = frame.sample(frac=1, random_state=1).sort_values("time", kind="stable").iloc[::-1]
    frame = shuffled.sort_values("time", kind="stable")
    lines = [f"{user}\t{item}\t{time}" for user, item, time in shuffled.itertuples(index=False)]
    text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n"
    (folder / "clock" / "clock.inter").write_text(text)
    titles = ["item_id:token\ttitle:token_seq", *(f"i{item}\tthing {item}" for item in range(24))]
    (folder / "clock" / "clock.item").write_text("\n".join(titles) + "\n")
    return folder, frame


@pytest.fixture
def prepared(clock: tuple[Path, pd.DataFrame], tmp_path: Path) -> Prepared:
    def prepared(model: str, **settings: Any) -> PreparedRun:
        common = {
            "data_path": str(clock[0]),
            "checkpoint_dir": str(tmp_path / "checkpoints"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": temporal(valid=CUT, test=TEST_CUT),
            "rank_seen_items": "auto",
            "metrics": ["Recall", "NDCG", "MRR"],
            "topk": [1, 5, 10],
            "valid_metric": "NDCG@10",
            "train_neg_sample_args": None,
            "show_progress": False,
            "epochs": 2,
            "train_batch_size": 64,
            "MAX_ITEM_LIST_LENGTH": 8,
            "hidden_size": 16,
            "embedding_size": 16,
            "inner_size": 32,
            "metric_decimal_place": 8,
        }
        return prepare(recbole_config(model, "clock", {**common, **settings}), tmp_path / "best.pth")

    return prepared


def targets_of(frame: pd.DataFrame, begin: float, end: float = np.inf, target: str = "last") -> pd.DataFrame:
    """By pandas: the row that each user is asked for in a period, and the user's items before it."""
    frame = frame.reset_index(drop=True)
    has_history = frame.groupby("user").cumcount() > 0
    inside = frame[has_history & (frame["time"] >= begin) & (frame["time"] < end)]
    asked = inside.groupby("user").tail(1) if target == "last" else inside.groupby("user").head(1)
    before = [
        list(frame["item"][(frame["user"] == user) & (frame.index < at)])
        for at, user in zip(asked.index, asked["user"], strict=True)
    ]
    return asked.assign(before=pd.Series(before, index=asked.index, dtype=object))


def read_back(run: PreparedRun, split: Any) -> pd.DataFrame:
    """User, item and the newest items before it of a loader's samples, as tokens."""
    dataset = split._dataset
    samples = dataset[np.arange(len(dataset))]
    whole = run.loaders.dataset
    lists = zip(samples["item_id_list"].numpy(), samples["item_length"].tolist(), strict=True)
    return pd.DataFrame(
        {
            "user": whole.id2token("user_id", samples["user_id"].numpy()),
            "item": whole.id2token("item_id", samples["item_id"].numpy()),
            "before": [list(whole.id2token("item_id", items[:length])) for items, length in lists],
        }
    )


def by_user(frame: pd.DataFrame, longest: int) -> list[Any]:
    rows = frame.sort_values("user")
    return [
        [user, item, list(before)[-longest:]]
        for user, item, before in zip(rows["user"], rows["item"], rows["before"], strict=True)
    ]


# -- real data -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["last", pytest.param("first", marks=pytest.mark.slow)])
def test_on_ml_100k_rows_targets_and_histories_are_those_that_pandas_finds(tmp_path: Path, target: str) -> None:
    """SASRec and Pop learn an epoch there; RecBole normalises the times of this dataset to single precision."""
    path = recbole_folder() / "dataset_example" / "ml-100k" / "ml-100k.inter"
    frame = pd.read_csv(path, sep="\t", dtype={0: str, 1: str}).iloc[:, [0, 1, 3]]
    frame.columns = ["user", "item", "time"]
    frame = frame.sort_values("time", kind="stable")
    cuts = [frame["time"].iloc[int(np.ceil(share * len(frame)))] for share in (0.8, 0.9)]
    common: dict[str, Any] = {
        "eval_args": temporal(valid=0.8, test=0.9, target=target),
        "checkpoint_dir": str(tmp_path),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "rank_seen_items": "auto",
        "train_neg_sample_args": None,
        "metrics": ["NDCG"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "epochs": 2,
        "learning_rate": 0.01,
        "show_progress": False,
        "train_batch_size": 1024,
        "MAX_ITEM_LIST_LENGTH": 20,
        "window_stride": 20,
        "hidden_size": 8,
        "inner_size": 8,
        "n_layers": 1,
        "metric_decimal_place": 8,
        "data_path": str(tmp_path),
    }
    run = prepare(recbole_config("SASRec", "ml-100k", common), tmp_path / "best.pth")
    train = read_back(run, run.loaders.train)
    early = frame[frame["time"] < cuts[0]]
    learned = pd.concat([train[["user", "item"]], early.groupby("user").head(1)[["user", "item"]]])
    assert sorted(learned.values.tolist()) == sorted(early[["user", "item"]].values.tolist())
    for loader, (begin, end) in ((run.loaders.valid, cuts), (run.loaders.test, (cuts[1], np.inf))):
        expected = targets_of(frame, begin, end, target)
        assert len(expected) > 50
        assert by_user(read_back(run, loader), 20) == by_user(expected, 20)
    validation, test = run.fit(), run.test()
    assert validation["ndcg@10"] > 0 and test["ndcg@10"] > 0
    assert run.loaders.dataset.counted.new_items == len(set(frame["item"]) - set(early["item"])) > 0

    pop = prepare(recbole_config("Pop", "ml-100k", {**common, "shuffle": False}), tmp_path / "pop.pth")
    pop.fit()
    asked = targets_of(frame, cuts[1], target=target).sort_values("user")
    # RecBole's Pop counts the batches that hold an item, not its rows.
    batches = early.assign(batch=np.arange(len(early)) // common["train_batch_size"])
    counts = batches.drop_duplicates(["batch", "item"])["item"].value_counts()
    dataset = pop.loaders.dataset
    scores = torch.tensor([0.0, *(float(counts.get(item, 0)) for item in dataset.field2id_token["item_id"][1:])])
    assert torch.equal(pop.model.item_cnt[:, 0].float(), scores)
    gains = [_gain(counts, item, before) for item, before in zip(asked["item"], asked["before"], strict=True)]
    low, high = np.mean(gains, axis=0)
    assert 0 < low <= pop.test()["ndcg@10"] <= high  # in between, as ties fall


def _gain(counts: pd.Series, item: str, seen: list[str]) -> tuple[float, float]:
    """NDCG at 10 of an item by popularity among what its user has not seen, at the worst and best place of a tie."""
    own = counts.get(item, 0)
    others = counts[~counts.index.isin(set(seen) - {item})]
    best = 1 + int((others > own).sum())
    worst = best + int(((others == own) & (others.index != item)).sum())
    low, high = (1 / np.log2(rank + 1) if rank <= 10 else 0.0 for rank in (worst, best))
    return low, high


# -- what is evaluated ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", ["auto", "augmented"])
@pytest.mark.parametrize(("target", "seen"), [("last", True), ("first", False)])
def test_metrics_are_those_of_a_hand_computation_from_the_scores(
    prepared: Prepared, clock: tuple[Path, pd.DataFrame], samples: str, target: str, seen: bool
) -> None:
    args = temporal(valid=CUT, test=TEST_CUT, target=target)
    run = prepared("SASRec", eval_args=args, training_samples=samples, rank_seen_items=seen)
    run.fit()
    found = run.test()
    asked, ids = targets_of(clock[1], TEST_CUT, target=target), run.loaders.dataset.field2token_id["item_id"]
    ranks = []
    for item, before in zip(asked["item"], asked["before"], strict=True):
        history = torch.tensor([[ids[one] for one in before[-8:]]])
        padded = torch.nn.functional.pad(history, (0, 8 - history.shape[1]))
        batch = {"item_id_list": padded, "item_length": torch.tensor([history.shape[1]])}
        with torch.no_grad():
            scores = run.model.full_sort_predict(batch)[0]
        scores[0] = -torch.inf
        if not seen:
            scores[[ids[one] for one in before if item not in before]] = -torch.inf
        ranks.append(1 + int((scores > scores[ids[item]]).sum()))
    place = np.array(ranks, dtype=float)
    expected: dict[str, float] = {}
    for k in (1, 5, 10):
        hit = place <= k
        expected |= {f"recall@{k}": hit.mean(), f"mrr@{k}": (hit / place).mean()}
        expected[f"ndcg@{k}"] = (hit / np.log2(place + 1)).mean()
    assert found == pytest.approx(expected, abs=1e-7)
    assert any(item not in set(clock[1]["item"][clock[1]["time"] < CUT]) for item in asked["item"])


@pytest.mark.parametrize("seen", [True, False])
def test_all_models_are_asked_the_same_and_mask_the_same(prepared: Prepared, seen: bool) -> None:
    asked = {}
    for model in ("SASRec", "Pop", "BPR", "DIN", "FPMC"):
        run = prepared(model, rank_seen_items=seen, **({} if model in ("SASRec", "Pop") else SAMPLED))
        run.fit()
        run.test()
        loader = run.loaders.test
        found: dict[str, Any] = {}
        for interaction, history, _, items in loader:
            masked: dict[int, set[int]] = {}
            for row, item in zip(*map(torch.Tensor.tolist, history), strict=True) if history is not None else ():
                masked.setdefault(row, set()).add(item)
            for row, user in enumerate(interaction["user_id"].tolist()):
                found[user] = (items[row].item(), masked.get(row, set()))
        asked[model] = dict(sorted(found.items()))
        assert len(run.trainer.test_ranks(loader)) == len(found)
    assert all(found == asked["SASRec"] for found in asked.values())


FIRST_IN_THE_TEST_PERIOD = [(f"u{user}", f"i{90 + user % 5}", 1400 + user) for user in range(12)]
"""Later than every row of ``clock`` that decides who is asked for what in validation."""


@pytest.fixture
def clocks(clock: tuple[Path, pd.DataFrame], tmp_path: Path) -> list[Path]:
    """The data path of ``clock``, and that of the same with five more items in the test period."""
    (tmp_path / "clock").mkdir()
    text = (clock[0] / "clock" / "clock.inter").read_text()
    more = ["\t".join(map(str, row)) for row in FIRST_IN_THE_TEST_PERIOD]
    (tmp_path / "clock" / "clock.inter").write_text(text + "\n".join(more) + "\n")
    return [clock[0], tmp_path]


def spokes() -> ItemEmbeddingStore:
    """Vectors of the items of ``clocks``, in which the five of the test period lie among the others."""
    angles = torch.tensor([*range(24), *(place + 0.5 for place in range(5))]) / 4
    return ItemEmbeddingStore(
        torch.stack([angles.cos(), angles.sin()], dim=1), [f"i{item}" for item in [*range(24), *range(90, 95)]]
    )


@pytest.mark.parametrize("mode", ["full", "uni5"])
@pytest.mark.parametrize("model", ["NearestNeighbour", "Pop"])
def test_rows_of_the_test_period_change_no_rank_of_validation(
    prepared: Prepared, clocks: list[Path], model: str, mode: str
) -> None:
    ranks, vectors = [], {"item_embedding": spokes()} if model == "NearestNeighbour" else {}
    for data in clocks:
        args = temporal(mode, valid=CUT, test=TEST_CUT)
        run = prepared(model, data_path=str(data), eval_args=args, topk=[10, 24], shuffle=False, **vectors)
        validation = run.fit()
        np.random.seed(1)  # RecBole's sampler draws from numpy's own generator
        run.trainer.evaluate(run.loaders.valid, load_best_model=False)
        ranks.append((run.trainer.test_ranks(run.loaders.valid).tolist(), validation if mode == "full" else None))
        n_items = run.loaders.dataset.item_num
    assert ranks[0] == ranks[1] and len(ranks[0][0]) > 10
    assert n_items == 30


@pytest.mark.parametrize("model", ["SASRec", "BPR", "DIN"])
def test_items_first_seen_in_the_test_period_are_ranked_in_it_and_not_in_validation(
    prepared: Prepared, clocks: list[Path], model: str
) -> None:
    run = prepared(model, data_path=str(clocks[1]), **({} if model == "SASRec" else SAMPLED))
    names = run.loaders.dataset.field2id_token["item_id"]
    for loader, expected in ((run.loaders.valid, 24), (run.loaders.test, 29)):
        run.trainer.eval_collector.begin(loader)
        run.model.eval()
        scores = torch.cat([run.trainer.scores_of(batch, loader._dataset) for batch in loader])
        ranked = {str(names[item]) for item in scores.isfinite().any(dim=0).nonzero()}
        assert len(ranked) == expected
        assert ({"i90", "i91", "i92", "i93", "i94"} <= ranked) == (expected == 29)


def test_whether_seen_items_are_masked_is_not_for_what_comes_after_the_cut_to_say(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{(user + step) % 9}", 10 * step) for user in range(6) for step in range(5)]
    later = [(f"u{user}", f"i{user % 9}", 100 + 50 * period) for user in range(6) for period in range(2)]
    (tmp_path / "again").mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in [*rows, *later])]
    (tmp_path / "again" / "again.inter").write_text("\n".join(lines) + "\n")
    keys: dict[str, Any] = {"data_path": str(tmp_path), "load_col": None, "rank_seen_items": "auto", "hidden_size": 8}
    keys |= {"eval_args": temporal(valid=100, test=150), "checkpoint_dir": str(tmp_path), "train_neg_sample_args": None}
    keys |= {"topk": [5], "metrics": ["NDCG"], "valid_metric": "NDCG@5"}
    run = prepare(recbole_config("GRU4Rec", "again", keys), tmp_path / "best.pth")
    assert run.config["rank_seen_items"] is False
    assert run.config["seen_targets"] == 6, "all come back"
    assert not any(len(rows) for _, (rows, _), *_ in run.loaders.test), "which no mask may give away"


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_popularity_is_that_of_training(prepared: Prepared, clock: tuple[Path, pd.DataFrame], model: str) -> None:
    early = clock[1][clock[1]["time"] < CUT]
    by_popularity = {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}}
    loss = {"loss_type": "BPR"} if model == "SASRec" else {}
    args = temporal("pop5", valid=CUT, test=TEST_CUT)
    run = prepared(model, eval_args=args, rank_seen_items=True, **by_popularity, **loss)
    names = run.loaders.dataset.field2id_token["item_id"]
    for loader in (run.loaders.train, run.loaders.valid, run.loaders.test):
        sampler = loader._sampler
        assert sampler.distribution == "popularity"
        counted = sampler._get_candidates_list()
        assert pd.Series([str(names[item]) for item in counted]).value_counts().to_dict() == (
            early["item"].value_counts().to_dict()
        )
        assert {str(names[item]) for item in sampler.prob} == set(early["item"])
    matrix = np.asarray(run.loaders.train._dataset.inter_matrix(form="csr").sum(axis=0)).ravel()
    assert {str(names[item]): int(n) for item, n in enumerate(matrix) if n} == early["item"].value_counts().to_dict()


# -- what is learned -----------------------------------------------------------------------------------------------


def test_rows_and_recboles_samples_are_the_same_training(prepared: Prepared) -> None:
    """Without dropout, in whole batches: the same parameters after two epochs, the same metrics."""
    whole = {**NO_DROPOUT, "train_batch_size": 10**6, "loss_type": "CE"}
    for model in ("SASRec", "GRU4Rec"):
        fast, stock = (prepared(model, training_samples=samples, **whole) for samples in ("auto", "augmented"))
        assert (fast.samples.name, stock.samples.name) == ("user", "augmented")
        assert n_trained_items(fast.model) == n_trained_items(stock.model) == 21 < fast.model.n_items
        validations = fast.fit(), stock.fit()
        for (name, one), other in zip(fast.model.named_parameters(), stock.model.parameters(), strict=True):
            assert torch.allclose(one, other, atol=2e-5), (model, name)
        assert validations[0] == pytest.approx(validations[1], abs=1e-6)
        assert fast.test() == pytest.approx(stock.test(), abs=1e-6)


LEARNING = {
    "SASRec": ("SASRec", {}),
    "SASRec, BPR": ("SASRec", {"loss_type": "BPR", **SAMPLED}),
    "SASRec, augmented": ("SASRec", {"training_samples": "augmented"}),
    "GRU4Rec, prefix": ("GRU4Rec", {"training_samples": "prefix"}),
    "BERT4Rec": ("BERT4Rec", {}),
    "BERT4Rec, prefix": ("BERT4Rec", {"training_samples": "prefix"}),
    "BERT4Rec, augmented": ("BERT4Rec", {"training_samples": "augmented"}),
    "BERT4Rec, BPR": ("BERT4Rec", {"loss_type": "BPR", **SAMPLED}),
    "BERT4Rec, BPR, augmented": ("BERT4Rec", {"loss_type": "BPR", "training_samples": "augmented", **SAMPLED}),
    "SINE": ("SINE", {}),
    "NARM": ("NARM", {}),
    "ESASRec": ("ESASRec", {}),
    "HSTU": ("HSTU", {}),
    "GSASRec": ("GSASRec", {}),
    **{loss: ("SASRec", {"training_loss": loss}) for loss in ("softmax", "sampled_softmax", "bce", "gbce", "sce")},
    "softmax, augmented": ("SASRec", {"training_loss": "softmax", "training_samples": "augmented"}),
    "BPR": ("BPR", SAMPLED),
    "LightGCN": ("LightGCN", SAMPLED),
}


@pytest.mark.parametrize(("model", "settings"), LEARNING.values(), ids=LEARNING)
def test_new_items_are_no_negatives(prepared: Prepared, model: str, settings: dict[str, Any]) -> None:
    """Their rows stay as they were drawn, whatever the loss and the samples; those of all others are learned."""
    run = prepared(model, **settings)
    table = run.model.item_embedding.weight
    before, known = table.detach().clone(), run.loaders.dataset.n_trained_items
    assert known == 21 and run.loaders.dataset.item_num == 25
    run.fit()
    assert torch.equal(table[known:25], before[known:25])
    assert (table[1:known] != before[1:known]).any(dim=1).all()
    assert set(run.test()) >= {"ndcg@10"}


@pytest.mark.parametrize("mode", ["frozen", "adapter", "bounded", "dual", "full"])
def test_vectors_of_new_items_decide_nothing_in_training(prepared: Prepared, mode: str) -> None:
    """Other vectors for them: the same transforms, the same training; new items alone are ranked elsewhere."""
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(24, 20, generator=draw)
    tables = []
    for change in (0.0, 9.0):
        changed = vectors.clone()
        changed[20:] += change
        run = prepared(
            "SASRec",
            item_embedding=ItemEmbeddingStore(changed, [f"i{item}" for item in range(24)]),
            item_embedding_transform=["center", {"pca": 16}, "whiten", {"scale": 0.1}],
            item_embedding_mode=mode,
            **NO_DROPOUT,
        )
        run.fit()
        tables.append(run.model.item_embedding.weight.detach())
    assert torch.allclose(tables[0][:21], tables[1][:21], atol=1e-6)
    assert not torch.allclose(tables[0][21:25], tables[1][21:25], atol=1e-2)


@pytest.mark.parametrize("model", ["MultiVAE", "DIEN", "RepeatNet"])
def test_a_model_that_would_learn_from_new_items_is_refused_unless_they_are_left_out(
    prepared: Prepared, model: str
) -> None:
    models: dict[str, dict[str, Any]] = {"MultiVAE": {"mlp_hidden_size": [12], "latent_dimension": 12}, "DIEN": SAMPLED}
    own = models.get(model, {})
    with pytest.raises(ConfigurationError, match=r"eval_args\.split\.temporal: .*new_items: leave_out"):
        prepared(model, **own)
    run = prepared(model, eval_args=temporal(valid=CUT, test=TEST_CUT, new_items="leave_out"), **own)
    assert run.loaders.dataset.item_num == 21
    run.fit()
    assert run.test()["recall@10"] >= 0


def test_left_out_items_leave_every_other_number_as_without_them(
    prepared: Prepared, clock: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    """``leave_out`` is the same as data whose later rows hold no new item."""
    early = set(clock[1]["item"][clock[1]["time"] < CUT])
    kept = clock[1][(clock[1]["time"] < CUT) | clock[1]["item"].isin(early)]
    (tmp_path / "clock").mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in kept.values)]
    (tmp_path / "clock" / "clock.inter").write_text("\n".join(lines) + "\n")
    found = []
    for settings in (
        {"eval_args": temporal(valid=CUT, test=TEST_CUT, new_items="leave_out")},
        {"data_path": str(tmp_path)},
    ):
        run = prepared("SASRec", **settings)
        found.append((run.fit(), run.test()))
    assert found[0] == found[1]


def test_a_user_who_has_had_everything_is_named_instead_of_searched_for_ever(tmp_path: Path) -> None:
    rows = [("u1", f"i{item}", item) for item in range(3)] + [("u2", "i0", 1), ("u2", "i1", 2)]
    rows += [(user, f"i{5 + n}", 10 + 5 * n) for user in ("u1", "u2") for n in range(2)] + [("u2", "i9", 16)]
    (tmp_path / "few").mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    (tmp_path / "few" / "few.inter").write_text("\n".join(lines) + "\n")
    keys = {"data_path": str(tmp_path), "load_col": None, "eval_args": temporal(valid=10, test=15)}
    with pytest.raises(ConfigurationError, match="a user has had every item of the training period"):
        prepare(recbole_config("BPR", "few", {**keys, "checkpoint_dir": str(tmp_path)}), tmp_path / "best.pth")
