"""What can't be right, or is not there, is refused or told before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved
from recbole_ext.errors import ConfigurationError

Resolve = Callable[..., Resolved]


def first(resolved: Resolved) -> Any:
    return next(resolved.specs())


def negatives(**keys: Any) -> dict[str, Any]:
    return {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, **keys}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"config": {"epochs": "three"}}, "config: epochs: a whole number is needed; got 'three'"),
    ({"config": {"metrics": ["NDGC"]}}, "no metric 'NDGC'. Did you mean 'NDCG'"),
    ({"config": {"valid_metric": "NDCG@7"}}, "valid_metric: 'NDCG@7' is not among"),
    ({"config": {"topk": [0]}}, "topk: whole numbers from 1 on"),
    ({"config": {"topk": []}}, "leave nothing to report"),
    ({"config": negatives(sample_num="x")}, "train_neg_sample_args.sample_num: a whole number from 1 on; got 'x'"),
    ({"config": negatives(sample_num=0)}, "train_neg_sample_args.sample_num: a whole number from 1 on; got 0"),
    ({"config": negatives(alpha="x")}, "train_neg_sample_args.alpha: a number is needed"),
    ({"config": negatives(dynamic="x")}, "train_neg_sample_args.dynamic: true or false"),
    ({"seeds": [-1]}, "seeds.0: at least 0 is needed"),
    ({"seeds": [2**32]}, "seeds.0: at most 4294967295 is needed"),
    ({"config": {"eval_args": {"split": {"LS": "valid_only"}}}}, "leaves nothing to test"),
    (
        {"config": {"eval_step": 0}, "search": {"space": {"learning_rate": [0.1, 0.2]}}},
        "nothing to choose by: eval_step is 0",
    ),
    ({"config": {"eval_args": {"split": {"RS": 0.8}}}}, "config: eval_args.split: RS has the shares of training"),
    ({"config": {"seed": 1}}, "'seed' is not set here but by `seeds`"),
    ({"config": {"item_embedding_mode": "frozen"}}, "'item_embedding_mode' is not set here"),
    ({"config": {"save_dataloaders": True}}, "save_dataloaders is refused"),
    ({"initialisations": {"a": {"mode": "frozen"}}}, "'mode' is about item vectors, and this entry has no source"),
    ({"initialisations": {"a": {"config": {"item_embedding_scale": 1}}}}, "is set beside it, as `scale`"),
    ({"models": {"SASRec": {"dropout_prob": 1}}}, "SASRec has no key 'dropout_prob'"),
    ({"models": {"UniSRec": {}}}, "models.UniSRec: it is made of item vectors"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_can_not_be_right_is_refused_before_anything_is_computed(
    resolved: Resolve, keys: dict[str, Any], message: str
) -> None:
    config = {"epochs": 2, **keys.pop("config", {})} if "config" in keys else None
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        resolved(**keys, **({"config": config} if config else {}))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"models": {"SASRec": {"rank_seen_items": True}, "GRU4Rec": {}}}, "rank_seen_items is True for SASRec"),
        ({"models": {"SASRec": {}, "GRU4Rec": {"topk": [5]}}}, r"topk is \[.*for GRU4Rec, .*tested alike"),
        (
            {"search": {"space": {"rank_seen_items": [True, False]}}},
            "rank_seen_items is True for SASRec, .*, rank_seen_items=True and False",
        ),
        ({"initialisations": {"a": {}, "b": {"config": {"metrics": ["NDCG"]}}}}, "metrics is"),
    ],
)
def test_rows_of_one_table_that_would_be_tested_in_several_ways_are_refused(
    resolved: Resolve, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        resolved(**keys)
    resolved(models={"SASRec": {"rank_seen_items": True}, "GRU4Rec": {"rank_seen_items": True}})


def test_one_way_of_testing_may_be_written_in_several_forms(resolved: Resolve) -> None:
    mode = {"valid": "full", "test": "full"}
    first = {"topk": [10], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@10"}
    other = {"topk": 10, "metrics": ["ndcg", "recall"], "valid_metric": "ndcg@10", "eval_args": {"mode": mode}}
    resolved(models={"SASRec": first, "GRU4Rec": other})


def test_vectors_that_do_not_fit_are_refused_with_the_ways_out(resolved: Resolve, store: Path) -> None:
    way_out = r"the vectors are 16 wide, the model's items 64.*\[{width: 64}\].*mode: adapter"
    with pytest.raises(ConfigurationError, match=way_out):
        resolved(models=["SASRec"], initialisations={"a": {"store": str(store)}})
    with pytest.raises(ConfigurationError, match=r"pca needs a width from 1 to 16"):
        resolved(initialisations={"a": {"store": str(store), "transform": [{"pca": 17}]}})


def test_expected_counts_are_checked(resolved: Resolve, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text("expected: {users: 41}\n")
    with pytest.raises(ConfigurationError, match="40 users.*41"):
        resolved()


def test_the_protocols_own_valid_metric_goes_to_the_nearest_cutoff(resolved: Resolve) -> None:
    def valid_metric(**config: Any) -> str:
        return str(first(resolved(config={"epochs": 1, **config})).config["valid_metric"])

    assert valid_metric() == "NDCG@10"
    assert valid_metric(topk=[3, 7]) == "NDCG@7"
    assert valid_metric(topk=[20, 400]) == "NDCG@20"
    assert valid_metric(metrics=["Recall", "MRR"], topk=[5]) == "Recall@5"
    assert valid_metric(metrics=["GAUC", "Recall"]) == "GAUC"


def test_no_validation_set_is_fine_where_nothing_is_chosen(resolved: Resolve) -> None:
    for config in ({"eval_step": 0}, {"eval_args": {"split": {"LS": "test_only"}}}):
        assert len(list(resolved(config={"epochs": 1, **config}).specs())) == 1


def test_a_plan_lists_what_is_missing_instead_of_refusing(resolved: Resolve) -> None:
    found = resolved(fetch=False, datasets=["tiny", "nowhere"], initialisations={"a": {"store": "nothing/{dataset}"}})
    assert any("nowhere" in line for line in found.missing)
    assert any("nothing/tiny" in line for line in found.missing)


def test_the_scale_of_random_vectors_reaches_the_run_and_nothing_else_of_the_hook_does(resolved: Resolve) -> None:
    found = resolved(
        "--item_embedding_mode=frozen",
        initialisations={"random": {"scale": 0.3}},
        search={"space": {"item_embedding_missing": ["mean"]}},
    )
    assert {key: value for key, value in first(found).config.items() if key.startswith("item_embedding")} == {
        "item_embedding_scale": 0.3
    }


def test_items_without_text_are_told_where_a_source_reads_the_text(resolved: Resolve, own_data: Path) -> None:
    item = own_data / "tiny" / "tiny.item"
    lines = item.read_text(encoding="utf-8").splitlines()
    item.write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
    said = "tiny: tiny.item: 2 of 60 items have no row there, and so no text."
    behaviour = {"cooccurrence": "ppmi", "dim": 16}
    words = {"lexical": "tfidf", "dim": 16, "missing": "mean"}
    assert said not in resolved(data_path=str(own_data), initialisations={"behaviour": behaviour}).notices
    assert said in resolved(data_path=str(own_data), initialisations={"words": words}).notices


def test_an_item_without_text_is_refused_before_vectors_are_made_unless_something_is_said_about_it(
    resolved: Resolve, own_data: Path
) -> None:
    item = own_data / "tiny" / "tiny.item"
    lines = item.read_text(encoding="utf-8").splitlines()
    item.write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
    words = {"lexical": "tfidf", "dim": 16}
    with pytest.raises(ConfigurationError, match=r"tiny, .*words: 2 of 60 items have no text.*missing: mean"):
        resolved(data_path=str(own_data), initialisations={"words": words})
    assert resolved(data_path=str(own_data), initialisations={"words": {**words, "missing": "random"}}).rows
    with pytest.raises(ConfigurationError, match="2 of 60 items have no text"):
        resolved(data_path=str(own_data), initialisations={"wrong": {"shuffled": words}})


def test_an_item_without_text_that_filters_leave_out_is_not_asked_for_one(resolved: Resolve, own_data: Path) -> None:
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.write("u0\trare\t-1\n")
    keys = {"data_path": str(own_data), "initialisations": {"words": {"lexical": "tfidf", "dim": 16}}}
    with pytest.raises(ConfigurationError, match="1 of 61 items have no text, and so no vector, the first rare"):
        resolved(**keys)
    assert resolved("--item_inter_num_interval=[2,inf)", **keys).rows


# --- words and transforms ---


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"mode": "frozn"}, r"item_embedding_mode: 'frozn' is unknown; choose one of full, .* Did you mean 'frozen'\?"),
        ({"missing": "zero"}, "item_embedding_missing: 'zero' is unknown; choose one of error, mean, random"),
        ({"transform": ["pca"]}, "item_embedding_transform: 'pca' is not a transform; use center"),
        ({"transform": 5}, "initialisations.words: item_embedding_transform: a list is needed; got 5"),
        ({"transform": [{"pac": 8}]}, "item_embedding_transform: {'pac': 8} is not a transform.* Did you mean 'pca'"),
        ({"transform": [{"pca": "wide"}]}, "pca needs a width"),
        ({"transform": [{"scale": 0}]}, "scale needs a number above 0"),
        ({"scale": "x"}, "initialisations.words: item_embedding_scale: a number or null is needed; got 'x'"),
        ({"scale": -1}, "item_embedding_scale should be a number above 0; got -1"),
        ({"mode": "bounded", "bound": "x"}, "item_embedding_bound: a number or null is needed; got 'x'"),
        ({"mode": "dual", "dense_probability": 7}, "item_embedding_dense_probability should be from 0 to 1; got 7"),
        ({"transform": [{"scale": 0.02}], "scale": 0.1}, r"scales the vectors after all transforms, .*{'scale': 0.02}"),
    ],
)
@pytest.mark.parametrize("model", ["SASRec", "WhitenRec"])
def test_how_vectors_are_attached_is_checked_before_they_are_made(
    resolved: Resolve, model: str, entry: dict[str, Any], message: str
) -> None:
    """Also for models that read them themselves."""
    words = {"lexical": "tfidf", "dim": 16, **entry}
    models = {model: {"hidden_size": 16, "inner_size": 32, "n_layers": 1}}
    with pytest.raises(ConfigurationError, match=message):
        resolved(models=models, initialisations={"words": words}, fetch=False)


@pytest.mark.parametrize(
    ("key", "value"), [("training_samples", "users"), ("training_loss", "softmx"), ("rank_seen_items", "maybe")]
)
def test_words_that_only_a_run_would_refuse_are_refused_before_it(resolved: Resolve, key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{key}: '{value}' is unknown; choose one of"):
        resolved(config={"epochs": 2, key: value})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", "three", "epochs: a whole number is needed; got 'three'"),
        ("epochs", 0, "epochs should be at least 1; got 0"),
        ("eval_batch_size", 0, "eval_batch_size should be at least 1"),
        ("MAX_ITEM_LIST_LENGTH", 0, "MAX_ITEM_LIST_LENGTH should be at least 1"),
        ("learning_rate", -0.1, "learning_rate should be a number above 0"),
        ("hidden_dropout_prob", 1, "hidden_dropout_prob should be from 0 to less than 1"),
        ("loss_type", "XE", "loss_type should be one of BPR, CE; got 'XE'"),
        ("hidden_act", "geluu", r"hidden_act should be one of gelu, .* Did you mean 'gelu'\?"),
        ("learner", "adamm", r"learner should be one of adam, .* Did you mean 'adam"),
        ("n_heads", 3, "hidden_size 16 is no multiple of n_heads 3"),
        ("worker", -1, "worker should be 0 or more; got -1"),
        ("training_negatives", -3, "training_negatives should be at least 1; got -3"),
        ("gbce_t", 2, "gbce_t should be from 0 to 1; got 2"),
        ("frozen_blocks", -1, "frozen_blocks should be 0 or more; got -1"),
        ("frozen_blocks", 9, "frozen_blocks: 9 are more than the model's n_layers"),
        ("window_stride", 0, "window_stride: 0 is not from 1 to MAX_ITEM_LIST_LENGTH, 50"),
        ("window_stride", 51, "window_stride: 51 is not from 1 to MAX_ITEM_LIST_LENGTH, 50"),
    ],
)
def test_a_value_that_no_run_could_have_is_refused_before_the_first_one(
    resolved: Resolve, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolved(config={"epochs": 2, key: value})


def test_a_share_of_masked_items_that_masks_none_or_all_is_refused(resolved: Resolve) -> None:
    for ratio in (0, 1, 2):
        with pytest.raises(ConfigurationError, match=f"mask_ratio should be above 0 and less than 1; got {ratio}"):
            resolved(models={"BERT4Rec": {"mask_ratio": ratio}})


def test_a_window_may_begin_where_the_one_before_ends(resolved: Resolve) -> None:
    assert first(resolved(config={"epochs": 2, "window_stride": 50})).config["window_stride"] == 50


def test_the_words_of_recboles_comments_are_those_that_its_own_defaults_use() -> None:
    """So that a comment that is wrong refuses nothing."""
    from recbole_ext.benchmark.keys import keys_of
    from recbole_ext.models import model_defaults, model_names

    for model in model_names():
        keys = keys_of(model)
        for key, value in model_defaults(model).items():
            words = keys.words.get(key)
            if words and isinstance(value, str):
                assert {value, value.lower()} & set(words), f"{model}: {key}: {value}, {words}"


# --- several processes a run ---


def test_nproc_is_how_many_processes_share_a_run(resolved: Resolve) -> None:
    assert first(resolved()).processes == first(resolved("--nproc=1")).processes == 1
    assert first(resolved("--nproc=2")).processes == 2
    both = resolved(models={"SASRec": {"nproc": 2}, "Pop": {}})
    assert {spec.model: spec.processes for spec in both.specs()} == {"SASRec": 2, "Pop": 1}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"models": {"Pop": {"nproc": 2}}}, "nproc: Pop is no sequential model, .* below the models"),
        ({"models": {"BPR": {"nproc": 2}}}, "nproc: BPR is no sequential model"),
        ({"models": {"LastItem": {"nproc": 2}}}, "nproc: LastItem is trained in a way of its own"),
        ({"models": {"SASRec": {"nproc": 2, "training_loss": "sce"}}}, "nproc: the loss sce is one of all targets"),
        ({"models": {"SASRec": {"nproc": 0}}}, "nproc should be at least 1"),
        ({"models": {"SASRec": {"nproc": "two"}}}, "nproc: a whole number is needed"),
    ],
)
def test_runs_that_processes_cant_share_are_refused(resolved: Resolve, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        resolved(**keys)


def test_ray_gives_each_process_a_gpu_or_is_told_that_there_is_none_to_give(resolved: Resolve) -> None:
    on_ray: dict[str, Any] = {"models": {"SASRec": {"nproc": 2}}, "executor": "ray"}
    with pytest.raises(ConfigurationError, match="take a GPU each, but gpus_per_run is 0.5. Set gpus_per_run to 2"):
        resolved(**on_ray, gpus_per_run=0.5, config={"epochs": 2})
    resolved(**on_ray, gpus_per_run=2, config={"epochs": 2})
    resolved(**on_ray, config={"epochs": 2, "use_gpu": False})


def test_a_gpu_that_ray_is_not_told_of_is_not_promised_to_runs(resolved: Resolve) -> None:
    on_gpus: dict[str, Any] = {"config": {"epochs": 2, "use_gpu": True}}
    with pytest.raises(ConfigurationError, match="use_gpu: true, but gpus_per_run is 0"):
        resolved(**on_gpus, executor="ray")
    resolved(**on_gpus, executor="ray", gpus_per_run=0.5)
    resolved(**on_gpus)


def test_a_gpu_that_is_asked_for_and_not_there_is_missing_whatever_layer_asks(
    resolved: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_ext.machine.gpu_trouble", lambda: "torch finds no GPU here")
    asked: list[dict[str, Any]] = [
        {"config": {"epochs": 2, "use_gpu": True}},
        {"config": {"epochs": 2}, "models": {"SASRec": {"gpu_id": 3}}},
    ]
    for keys in asked:
        for fetch in (True, False):
            (line,) = resolved(**keys, fetch=fetch).missing
            assert "torch finds no GPU here. Leave " in line
        assert not resolved(**keys, executor="ray", gpus_per_run=1).missing


# --- names that promise something ---


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("temporal", "split: {temporal: {}}"), ("given", "benchmark_filename: "), ("uni100", "mode: uni100")],
)
def test_a_protocol_of_a_known_name_that_does_not_do_what_it_says_is_refused(
    resolved: Resolve, name: str, way_out: str
) -> None:
    with pytest.raises(
        ConfigurationError, match=f"protocols.{name}: a name alone changes nothing.*{re.escape(way_out)}"
    ):
        resolved(protocols={"full": {}, name: {}})


# --- one table, one metric ---


def test_protocols_that_validate_by_several_metrics_are_refused_with_the_ways_out(resolved: Resolve) -> None:
    for other in ({"valid_metric": "MRR@10"}, {"topk": [5]}):
        with pytest.raises(
            ConfigurationError, match=r"by ndcg@10 \(tiny, full\) and .* \(tiny, other\).* Set valid_met"
        ):
            resolved(protocols={"full": {}, "other": other}, config={"epochs": 2})
    resolved(protocols={"full": {}, "other": {"topk": [5]}}, config={"epochs": 2, "valid_metric": "NDCG@5"})
