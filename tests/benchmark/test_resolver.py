"""From a benchmark to the specifications of its runs: layers, identity, baselines, budgets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_ext.benchmark import Resolved
from recbole_ext.errors import ConfigurationError, SourceDataError
from recbole_ext.runs.single import build_config, refuse_changed_files
from recbole_ext.survey.keys import OF_A_MODEL

Resolve = Callable[..., Resolved]


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


def test_validation_goes_by_what_a_protocol_says_and_that_is_checked(resolved: Resolve) -> None:
    found = resolved(protocols={"by_mrr": {"valid_metric": "MRR@5"}})
    assert {spec.config["valid_metric"] for spec in found.specs()} == {"MRR@5"}
    with pytest.raises(ConfigurationError, match="valid_metric: 'Nonsense@7' is not among what is reported"):
        resolved(protocols={"by_nothing": {"valid_metric": "Nonsense@7"}})


def test_a_search_does_not_try_other_values_of_what_a_protocol_fixes(resolved: Resolve) -> None:
    short: dict[str, Any] = {"protocols": {"short": {"MAX_ITEM_LIST_LENGTH": 20}}}
    with pytest.raises(ConfigurationError, match=r"protocols\.short sets MAX_ITEM_LIST_LENGTH to 20, .* `trial` to 30"):
        resolved(**short, search={"space": {"MAX_ITEM_LIST_LENGTH": [20, 30]}})
    resolved(**short, search={"space": {"learning_rate": [0.1, 0.2]}})


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
        ("KD_DAGFM", "warm_up", {"phase": "distillation"}),
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


def test_so_are_the_vectors_by_which_ldiffrec_groups_items(resolved: Resolve, own_data: Path) -> None:
    def grouped_by(content: str) -> str:
        (own_data / "tiny" / "item_emb.npy").write_text(content)
        return identity(resolved(data_path=str(own_data), models={"LDiffRec": {"n_cate": 2}}))

    assert grouped_by("vectors") != grouped_by("other vectors")
    (own_data / "tiny" / "item_emb.npy").unlink()
    with pytest.raises(ConfigurationError, match=r"n_cate: .*item_emb\.npy: no file that can be read"):
        resolved(data_path=str(own_data), models={"LDiffRec": {"n_cate": 2}})


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


def test_a_key_encoder_of_a_users_own_model_is_part_of_it(
    resolved: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "encoding_model.py").write_text(
        "from recbole.model.sequential_recommender.sasrec import SASRec\n\n\n"
        "class Mine(SASRec):\n    defaults = {'encoder': 'cnn', 'export_encoder': False}\n"
    )
    found = [
        identity(resolved(models={"encoding_model.Mine": keys}))
        for keys in ({"encoder": "cnn"}, {"encoder": "rnn"}, {"encoder": "cnn", "export_encoder": True})
    ]
    assert len(set(found)) == 3


def test_so_is_the_graph_that_a_users_model_reads_as_the_model_does_that_it_is_made_from(
    resolved: Resolve, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(own_data))
    (own_data / "reading_model.py").write_text(
        "from recbole.model.sequential_recommender.ksr import KSR\n\n\nclass Mine(KSR):\n    pass\n"
    )

    keys = {"datasets": ["rich"], "data_path": str(own_data), "config": {**OF_A_MODEL["KSR"], "epochs": 1}}
    before = first(resolved(models={"reading_model.Mine": {}}, **keys))
    refuse_changed_files(before, build_config(before))
    with (own_data / "rich" / "rich.kg").open("a") as file:
        file.write("e1\tr1\te5\n")
    assert first(resolved(models={"reading_model.Mine": {}}, **keys)).identity != before.identity
    with pytest.raises(SourceDataError, match="its files have changed"):
        refuse_changed_files(before, build_config(before))


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


def test_an_entry_whose_config_leaves_it_without_a_baseline_is_told(resolved: Resolve) -> None:
    words = {"lexical": "tfidf", "dim": 16, "config": {"attn_dropout_prob": 0.2}}
    said = "words has no baseline: no entry has random vectors under its config. Add one that has, or name a baseline."
    assert said in resolved(initialisations={"random": {}, "words": words}).notices
    like = {"config": {"attn_dropout_prob": 0.2}}
    assert said not in resolved(initialisations={"random": {}, "like": like, "words": words}).notices
    assert said not in resolved(initialisations={"random": {}, "words": {**words, "baseline": "random"}}).notices
