"""From a benchmark to the specifications of its runs: layers, identity, baselines, budgets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved
from recbole_ext.errors import ConfigurationError

Resolve = Callable[..., Resolved]


@pytest.fixture
def store(store_of: Callable[..., Path], tmp_path: Path) -> Path:
    return store_of([f"i{item}" for item in range(60)], tmp_path / "vectors")


def first(resolved: Resolved) -> Any:
    return next(resolved.specs())


# --- layers ---


def test_every_layer_reaches_the_run_and_a_higher_one_wins(resolved: Resolve, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text("stopping_step: 2\nepochs: 9\n")
    found = resolved(
        "--weight_decay=0.1",
        models={"SASRec": {"hidden_size": 16, "inner_size": 32, "n_layers": 1, "learning_rate": 0.02}},
        initialisations={"random": {"config": {"n_heads": 4}}},
        search={"space": {"hidden_dropout_prob": [0.1, 0.2]}},
        config={"epochs": 2, "learning_rate": 0.01, "topk": [5, 10]},
    )
    configs = [spec.config for spec in found.specs()]
    assert [config["hidden_dropout_prob"] for config in configs] == [0.1, 0.2]
    for config in configs:
        said = {key: config[key] for key in ("stopping_step", "epochs", "learning_rate", "n_heads", "weight_decay")}
        assert said == {"stopping_step": 2, "epochs": 2, "learning_rate": 0.02, "n_heads": 4, "weight_decay": 0.1}
        assert config["eval_args"]["split"] == {"LS": "valid_and_test"}


def test_the_command_line_may_overrule_a_searched_key_only_where_trials_stay_different(resolved: Resolve) -> None:
    search = {"space": {"hidden_dropout_prob": [0.1, 0.2]}}
    with pytest.raises(ConfigurationError, match="make the same run"):
        resolved("--hidden_dropout_prob=0.3", search=search)


def test_a_protocols_keys_hold_for_all_its_runs_and_may_not_be_contradicted(resolved: Resolve) -> None:
    found = resolved(protocols={"full": {}, "uni10": {"eval_args": {"mode": "uni10"}}})
    assert [spec.config["eval_args"]["mode"] for spec in found.specs()] == ["full", "uni10"]
    with pytest.raises(ConfigurationError, match=r"protocols\.uni10 sets eval_args .* layer `model`"):
        resolved(
            protocols={"uni10": {"eval_args": {"mode": "uni10"}}}, models={"SASRec": {"eval_args": {"mode": "full"}}}
        )


# --- identity ---


def identity(found: Resolved) -> str:
    return str(first(found).identity)


def test_what_decides_a_result_is_part_of_its_identity(resolved: Resolve, own_data: Path) -> None:
    before = identity(resolved(data_path=str(own_data)))
    assert identity(resolved(data_path=str(own_data))) == before
    assert identity(resolved("--epochs=3", data_path=str(own_data))) != before
    assert identity(resolved("--show_progress=true", data_path=str(own_data))) == before
    assert identity(resolved("--worker=1", data_path=str(own_data))) != before
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.write("u0\ti3\t99\n")
    assert identity(resolved(data_path=str(own_data))) != before


@pytest.mark.parametrize(
    ("model", "key", "settings"),
    [
        ("S3Rec", "pre_model_path", {"train_stage": "finetune", "item_attribute": "title", "loss_type": "BPR"}),
        ("NeuMF", "mf_pretrain_path", {"use_pretrain": True}),
    ],
)
def test_the_content_of_a_file_that_a_model_begins_from_is_part_of_it_and_its_place_is_not(
    resolved: Resolve, tmp_path: Path, model: str, key: str, settings: dict[str, Any]
) -> None:
    def begun_from(path: Path, content: str) -> str:
        path.write_text(content)
        return identity(resolved(models={model: {**settings, key: str(path)}}))

    before = begun_from(tmp_path / "a.pth", "weights")
    assert begun_from(tmp_path / "b.pth", "weights") == before
    assert begun_from(tmp_path / "a.pth", "other weights") != before


def test_so_are_the_vectors_that_diversity_is_measured_in(
    resolved: Resolve, store_of: Callable[..., Path], tmp_path: Path
) -> None:
    def measured_in(folder: str, seed: int) -> str:
        store_of([f"i{item}" for item in range(60)], tmp_path / folder / "tiny", seed)
        vectors = str(tmp_path / folder / "{dataset}")
        return identity(resolved(config={"metrics": ["NDCG", "IntraListDistance"], "diversity_vectors": vectors}))

    before = measured_in("a", 0)
    assert measured_in("b", 0) == before
    assert measured_in("a", 1) != before


def test_a_file_that_is_not_there_yet_is_refused_and_listed_in_a_plan(resolved: Resolve) -> None:
    models = {"NeuMF": {"use_pretrain": True, "mf_pretrain_path": "nowhere/mf.pth"}}
    with pytest.raises(ConfigurationError, match=r"NeuMF, random: mf_pretrain_path: nowhere/mf\.pth: .* make it first"):
        resolved(models=models)
    assert any("mf_pretrain_path" in line for line in resolved(fetch=False, models=models).missing)
    written = {"NeuMF": {"mlp_train": False, "mf_pretrain_path": "nowhere/mf.pth"}}
    assert first(resolved(models=written)).contents == {}, "NeuMF writes it here"


def test_the_same_run_for_another_folder_of_results_has_a_checkpoint_of_its_own(
    resolved: Resolve, tmp_path: Path
) -> None:
    here, there = (first(resolved(results=str(tmp_path / name))) for name in ("here", "there"))
    assert here.identity == there.identity and here.artifacts == there.artifacts
    assert here.checkpoint_path != there.checkpoint_path


def test_an_item_file_is_part_of_it_where_recbole_reads_it_and_only_there(resolved: Resolve, own_data: Path) -> None:
    reads = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "title"]}}
    config = {"epochs": 2, "topk": [5, 10]}
    not_read, read = (
        lambda: identity(resolved(data_path=str(own_data), config=config)),
        lambda: identity(resolved(data_path=str(own_data), config={**config, **reads})),
    )
    before = not_read(), read()
    with (own_data / "tiny" / "tiny.item").open("a") as file:
        file.write("i60\tone more\n")
    after = not_read(), read()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_the_vectors_a_run_starts_from_are_part_of_it(
    resolved: Resolve, store: Path, store_of: Callable[..., Path]
) -> None:
    initialisations = {"given": {"store": str(store)}}
    before = identity(resolved(initialisations=initialisations))
    store_of([f"i{item}" for item in range(60)], store, seed=1)
    assert identity(resolved(initialisations=initialisations)) != before


def test_resolving_reads_nothing_again(resolved: Resolve, own_data: Path) -> None:
    found = resolved(data_path=str(own_data))
    before = identity(found)
    (own_data / "tiny" / "tiny.inter").unlink()
    assert identity(found) == before
    assert first(found).name.endswith(before[:12])


# --- rows ---


def baselines(found: Resolved) -> dict[str, str | None]:
    return {row.key.variant: row.baseline for row in found.rows}


def test_the_baseline_is_random_vectors_under_the_same_keys(resolved: Resolve, store: Path) -> None:
    wide = {"hidden_size": 32, "n_heads": 2}
    found = resolved(
        initialisations={
            "plain": {},
            "wide": {"config": wide},
            "vectors": {"store": str(store)},
            "wide-vectors": {"store": str(store), "mode": "adapter", "config": wide},
            "alone": {"store": str(store), "config": {"n_layers": 2}},
        }
    )
    assert baselines(found) == {
        "plain": None,
        "wide": None,
        "vectors": "plain",
        "wide-vectors": "wide",
        "alone": None,
    }


def test_an_entry_may_name_its_baseline_and_none_is_no_magic_name(resolved: Resolve, store: Path) -> None:
    found = resolved(
        initialisations={
            "none": {"store": str(store)},
            "frozen": {"store": str(store), "mode": "frozen", "baseline": "none"},
        }
    )
    assert baselines(found) == {"none": None, "frozen": "none"}
    with pytest.raises(ConfigurationError, match=r"initialisations\.a\.baseline: 'b' is no other entry"):
        resolved(initialisations={"a": {"baseline": "b"}})


def test_two_entries_that_say_the_same_are_refused(resolved: Resolve) -> None:
    with pytest.raises(ConfigurationError, match=r"initialisations\.b says the same as a"):
        resolved(initialisations={"a": {}, "b": {}})


def test_every_variant_gets_the_same_number_of_trials(resolved: Resolve, store: Path) -> None:
    both = {"random": {}, "vectors": {"store": str(store)}}
    found = resolved(initialisations=both, search={"space": {"item_embedding_scale": [0.02, 0.1, 0.3]}})
    assert [len(row.trials) for row in found.rows] == [3, 3]
    with pytest.raises(ConfigurationError, match=r"another number of points.*random: 1, vectors: 2"):
        resolved(initialisations=both, search={"space": {"item_embedding_mode": ["full", "frozen"]}})


def test_models_may_have_grids_and_searches_of_their_own(resolved: Resolve, store: Path) -> None:
    found = resolved(
        models={"SASRec": {"hidden_size": 16}, "GRU4Rec": {"embedding_size": 16}},
        initialisations={"random": {}, "vectors": {"store": str(store)}},
        grids={
            "GRU4Rec": {"initialisations": ["random"], "seeds": [1], "search": {"space": {"dropout_prob": [0.1, 0.2]}}}
        },
        search={"space": {"hidden_dropout_prob": [0.1, 0.2, 0.3]}},
        seeds=[1, 2],
    )
    counts = {row.key[1:3]: (len(row.trials), len(row.trials[0])) for row in found.rows}
    assert counts == {("SASRec", "random"): (3, 2), ("SASRec", "vectors"): (3, 2), ("GRU4Rec", "random"): (2, 1)}


def test_a_searched_key_that_the_model_does_not_have_is_refused(resolved: Resolve) -> None:
    with pytest.raises(ConfigurationError, match="search, point 1: SASRec has no key 'dropout_prob'"):
        resolved(search={"space": {"dropout_prob": [0.1, 0.2]}})


# --- refusals before computing ---


def negatives(**keys: Any) -> dict[str, Any]:
    return {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, **keys}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"config": {"epochs": "three"}}, "config: epochs should be int; got 'three'"),
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
        ({"transform": 5}, "item_embedding_transform: 5 is not a transform; use center"),
        ({"transform": [{"pac": 8}]}, "item_embedding_transform: {'pac': 8} is not a transform.* Did you mean 'pca'"),
        ({"transform": [{"pca": "wide"}]}, "pca needs a width"),
        ({"transform": [{"scale": 0}]}, "scale needs a number above 0"),
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
        ("epochs", "three", "epochs should be int; got 'three'"),
        ("epochs", 0, "epochs should be at least 1; got 0"),
        ("eval_batch_size", 0, "eval_batch_size should be at least 1"),
        ("MAX_ITEM_LIST_LENGTH", 0, "MAX_ITEM_LIST_LENGTH should be at least 1"),
        ("learning_rate", -0.1, "learning_rate should be a number above 0"),
        ("hidden_dropout_prob", 1, "hidden_dropout_prob should be from 0 to less than 1"),
        ("loss_type", "XE", "loss_type should be one of BPR, CE; got 'XE'"),
        ("hidden_act", "geluu", r"hidden_act should be one of gelu, .* Did you mean 'gelu'\?"),
        ("learner", "adamm", r"learner should be one of adam, .* Did you mean 'adam"),
        ("n_heads", 3, "hidden_size 16 is no multiple of n_heads 3"),
        ("window_stride", 0, "window_stride: 0 is not from 1 to MAX_ITEM_LIST_LENGTH, 50"),
        ("window_stride", 51, "window_stride: 51 is not from 1 to MAX_ITEM_LIST_LENGTH, 50"),
    ],
)
def test_a_value_that_no_run_could_have_is_refused_before_the_first_one(
    resolved: Resolve, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolved(config={"epochs": 2, key: value})


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
        ({"models": {"SASRec": {"nproc": "two"}}}, "nproc should be int"),
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


def test_a_change_of_a_users_model_is_another_run(
    resolved: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "changing_model.py"
    file.write_text(
        "from recbole.model.sequential_recommender.sasrec import SASRec\n\n\nclass Mine(SASRec):\n    pass\n"
    )
    before = first(resolved(models={"changing_model.Mine": {}})).identity
    assert first(resolved(models={"changing_model.Mine": {}})).identity == before
    file.write_text(file.read_text() + "# another\n")
    assert first(resolved(models={"changing_model.Mine": {}})).identity != before


def test_an_entry_whose_config_leaves_it_without_a_baseline_is_told(resolved: Resolve) -> None:
    words = {"lexical": "tfidf", "dim": 16, "config": {"attn_dropout_prob": 0.2}}
    said = "words has no baseline: no entry has random vectors under its config. Add one that has, or name a baseline."
    assert said in resolved(initialisations={"random": {}, "words": words}).notices
    like = {"config": {"attn_dropout_prob": 0.2}}
    assert said not in resolved(initialisations={"random": {}, "like": like, "words": words}).notices
    assert said not in resolved(initialisations={"random": {}, "words": {**words, "baseline": "random"}}).notices
