"""What a benchmark's protocols mean for its runs, its vectors and its plan; models that have no item vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext.benchmark import Resolved
from recbole_ext.benchmark.plan import plan, plan_lines
from recbole_ext.data.dataset import Dataset
from recbole_ext.errors import ConfigurationError, RecboleExtError
from recbole_ext.models import is_trained, takes_item_vectors
from recbole_ext.store import ItemEmbeddingStore
from recbole_ext.tuning.corpus import read_corpus
from recbole_ext.vectors.encoder import Encoder

Resolve = Callable[..., Resolved]
CUTS = {"valid": 60, "test": 80}


def temporal(**keys: Any) -> dict[str, Any]:
    return {"eval_args": {"split": {"temporal": {**CUTS, **keys}}}}


@pytest.fixture
def shops(tmp_path: Path) -> Path:
    """``data_path`` of ``shop`` and ``mall``, whose times compare, and of ``steps``, which has none."""
    for name, first in (("shop", 0), ("mall", 30)):
        rows = [(user, (user + step) % 6, first + 12 * step + user) for step in range(5) for user in range(12)]
        rows += [(user, 6 + user % 2, time) for user in range(6) for time in (70 + user, 90 + user)]
        _write(tmp_path / "data", name, rows)
    _write(tmp_path / "data", "steps", [(user, (user + step) % 6, step) for step in range(5) for user in range(12)])
    return tmp_path / "data"


def _write(folder: Path, name: str, rows: list[tuple[int, int, int]]) -> None:
    (folder / name).mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *(f"u{u}\ti{i}\t{t}" for u, i, t in rows)]
    (folder / name / f"{name}.inter").write_text("\n".join(lines) + "\n")
    titles = ["item_id:token\ttitle:token_seq", *(f"i{item}\tthing number {item}" for item in range(8))]
    (folder / name / f"{name}.item").write_text("\n".join(titles) + "\n")


def nothing_is_done(_: object) -> bool:
    return False


# -- temporal ------------------------------------------------------------------------------------------------------


def test_a_temporal_protocol_is_resolved_checked_and_said(resolved: Resolve, shops: Path) -> None:
    found = resolved(datasets=["shop"], data_path=str(shops), protocols={"full": {}, "time": temporal()})
    full, time = found.specs()
    assert time.config["eval_args"]["split"] == {"temporal": CUTS} and time.config["eval_args"]["order"] == "TO"
    assert full.identity != time.identity
    text = "\n".join(plan_lines(found, nothing_is_done))
    assert "shop: temporal: 60 interactions before time 60 train, 6 before 80 validate, 6 test; 6 users are" in text
    assert "shop: temporal: 2 items are first seen after the first cut; they are ranked with the others, and 6" in text


@pytest.mark.parametrize("fetch", [True, False], ids=["run", "plan"])
@pytest.mark.parametrize(
    ("dataset", "keys", "message"),
    [
        ("shop", {"test": 500}, "shop: eval_args.split.temporal: .*no interaction is after the test cut"),
        ("shop", {"target": "all"}, "eval_args.split.temporal: target: "),
        ("shop", {"new_items": "leave_out"}, "shop: .*no interaction validates"),
        ("steps", {}, "holds no times but each row's place in its user's history"),
    ],
)
def test_a_cut_that_can_not_be_is_refused_by_run_and_plan_alike(
    resolved: Resolve, shops: Path, fetch: bool, dataset: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecboleExtError, match=message):
        resolved(datasets=[dataset], data_path=str(shops), protocols={"time": temporal(**keys)}, fetch=fetch)


def test_the_expected_counts_are_those_of_the_files_also_where_new_items_are_left_out(
    resolved: Resolve, shops: Path, tmp_path: Path
) -> None:
    (tmp_path / "configs").mkdir()
    config = tmp_path / "configs" / "mall.yaml"
    config.write_text("expected: {users: 12, items: 8, interactions: 72}\n")
    keys: dict[str, Any] = {"datasets": ["mall"], "data_path": str(shops)}
    keys["protocols"] = {"time": temporal(valid=60, test=80, new_items="leave_out")}
    assert next(resolved(**keys).specs()).expected == {}
    config.write_text("expected: {users: 12, items: 7}\n")
    with pytest.raises(ConfigurationError, match="mall: 8 items, but its dataset config expects 7"):
        resolved(**keys)


def test_vectors_of_behaviour_are_made_of_what_is_before_the_cut(resolved: Resolve, shops: Path) -> None:
    vectors = {"pairs": {"cooccurrence": "ppmi", "dim": 4, "transform": [{"pca": 4}], "config": {"hidden_size": 4}}}
    found = resolved(
        datasets=["shop"],
        data_path=str(shops),
        protocols={"full": {}, "time": temporal()},
        initialisations=vectors,
        models={"SASRec": {"inner_size": 8}},
    )
    full, time = found.stores
    assert full.path != time.path
    items = {item for history in time.dataset.training_histories() for item in history}
    assert items == {f"i{item}" for item in range(6)}
    assert sum(map(len, time.dataset.training_histories())) == 60


# -- what is tuned on ----------------------------------------------------------------------------------------------


def tuned_on(sources: list[str], bert: Path) -> dict[str, Any]:
    tune = {"objective": "pairs", "sources": sources, "epochs": 1}
    return {"tuned": {"encoder": str(bert), "transform": [{"pca": 4}], "tune": tune, "config": {"hidden_size": 4}}}


def test_nothing_that_is_later_than_training_is_tuned_on(
    resolved: Resolve, shops: Path, tiny_encoders: dict[str, Path]
) -> None:
    """Neither of other domains nor of the target itself."""
    found = resolved(
        datasets=["shop"],
        data_path=str(shops),
        protocols={"full": {}, "time": temporal()},
        initialisations=tuned_on(["mall", "shop"], tiny_encoders["bert"]),
    )
    full, time = found.encoders
    assert full.path != time.path
    assert isinstance(time.source, Encoder) and time.source.tune is not None
    mall, shop = time.tuned.sources
    # Of another domain the last two rows of a user before the cut are held out as ever; of the target all train.
    for source, rows in ((mall, 24), (shop, 60)):
        histories = source.training_histories()
        assert sum(map(len, histories)) == rows
        assert not {"i6", "i7"} & {item for history in histories for item in history}
    assert len(read_corpus([shop], time.tuned.tuning.settings).sequences) == 12
    whole = full.tuned.sources[1].training_histories()
    assert {"i6", "i7"} & {item for history in whole for item in history} or sum(map(len, whole)) > 36


def test_a_source_whose_times_do_not_compare_is_refused_under_temporal_alone(
    resolved: Resolve, shops: Path, tiny_encoders: dict[str, Path]
) -> None:
    keys: dict[str, Any] = {"datasets": ["shop"], "data_path": str(shops)}
    keys["initialisations"] = tuned_on(["steps"], tiny_encoders["bert"])
    resolved(**keys)
    with pytest.raises(ConfigurationError, match="steps holds no times that compare with those of shop under"):
        resolved(**keys, protocols={"time": temporal()})


def test_a_source_whose_later_rows_decide_which_earlier_ones_are_there_is_refused_under_temporal_alone(
    resolved: Resolve, shops: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mall.yaml").write_text("rm_dup_inter: last\n")
    keys: dict[str, Any] = {"datasets": ["shop"], "data_path": str(shops)}
    keys["initialisations"] = tuned_on(["mall"], tiny_encoders["bert"])
    resolved(**keys)
    with pytest.raises(ConfigurationError, match="mall: rm_dup_inter: last takes rows out because of later ones"):
        resolved(**keys, protocols={"time": temporal()})


# -- what was made before ------------------------------------------------------------------------------------------


def read_before(shops: Path, name: str, **keys: Any) -> dict[str, Any]:
    """What a request says of the interactions of ``name`` that were read under these keys."""
    return {"histories": Dataset.named(name, shops, configs=shops, keys=keys).histories_request()}


def tuned_before(folder: Path, bert: Path, **record: Any) -> dict[str, Any]:
    """An encoder in ``folder`` whose ``tuning.json`` says this; named as an initialisation."""
    shutil.copytree(bert, folder)
    (folder / "tuning.json").write_text(json.dumps(record))
    return {"tuned": {"encoder": str(folder), "transform": [{"pca": 4}], "config": {"hidden_size": 4}}}


CUT_BEFORE: dict[str, Any] = {"val_interval": {"timestamp": "[-inf,60.0)"}}
CUT_LATER: dict[str, Any] = {"val_interval": {"timestamp": "[-inf,60.0]"}}


def test_an_encoder_that_was_tuned_on_what_is_after_the_cut_is_refused_under_temporal_alone(
    resolved: Resolve, shops: Path, tiny_encoders: dict[str, Path], tmp_path: Path
) -> None:
    bert, all_times = tiny_encoders["bert"], {"mall": read_before(shops, "mall")}
    keys: dict[str, Any] = {"datasets": ["shop"], "data_path": str(shops)}
    late = tuned_before(tmp_path / "late", bert, source_requests=all_times)
    resolved(**keys, initialisations=late)
    ways = {
        "late": late,
        "second": tuned_before(
            tmp_path / "second", bert, source_requests={}, encoder_identity={"sources": all_times, "encoder": "x"}
        ),
        "after": tuned_before(
            tmp_path / "after", bert, source_requests={}, encoder_identity="x", encoder=str(tmp_path / "late")
        ),
        "at the cut": tuned_before(
            tmp_path / "at", bert, source_requests={"mall": read_before(shops, "mall", **CUT_LATER)}
        ),
    }
    for initialisations in ways.values():
        with pytest.raises(
            ConfigurationError, match=r"encoder: .* made of interactions of mall .*nothing from time 60 on.*`tune:`"
        ):
            resolved(**keys, initialisations=initialisations, protocols={"time": temporal()})
    cut = tuned_before(tmp_path / "cut", bert, source_requests={"mall": read_before(shops, "mall", **CUT_BEFORE)})
    for known in (cut, tuned_before(tmp_path / "foreign", bert)):
        resolved(**keys, initialisations=known, protocols={"time": temporal()})


@pytest.mark.parametrize(
    ("how", "refused"),
    [
        ({}, "of all times"),
        (temporal(), ""),
        (temporal(target="first"), ""),
        (temporal(valid=70), "until time 70"),
        (temporal(valid=0.5, test=0.9), ""),
        (temporal(valid=0.9, test=0.95), "until time 7"),
        (None, ""),
    ],
    ids=["leave-one-out", "same", "same training", "later", "earlier part", "later part", "foreign"],
)
def test_a_store_of_behaviour_after_the_cut_is_refused_under_temporal_alone(
    how: dict[str, Any] | None, refused: str, resolved: Resolve, shops: Path, tmp_path: Path
) -> None:
    request = (
        {"kind": "shuffled", "of": {"kind": "item2vec", **read_before(shops, "shop", **how)}} if how is not None else {}
    )
    items = [f"i{item}" for item in range(8)]
    meta = {"dataset": "shop", "request": request}
    ItemEmbeddingStore(torch.randn(8, 4), items, meta).save(tmp_path / "store")
    keys: dict[str, Any] = {"datasets": ["shop"], "data_path": str(shops)}
    keys["initialisations"] = {"given": {"store": str(tmp_path / "store"), "config": {"hidden_size": 4}}}
    resolved(**keys)
    if not refused:
        resolved(**keys, protocols={"time": temporal()})
        return
    with pytest.raises(ConfigurationError, match=rf"store: .* of interactions of shop {refused}.*`cooccurrence:`"):
        resolved(**keys, protocols={"time": temporal()})


def test_recformers_matrix_is_that_of_a_run_under_the_same_protocol(
    resolved: Resolve, shops: Path, tiny_encoders: dict[str, Path]
) -> None:
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    keys: dict[str, Any] = {
        "datasets": ["shop"],
        "data_path": str(shops),
        "models": {"SASRec": {"hidden_size": 16}, "RECFORMER": {}},
        "initialisations": {"bert": bert, "fine": {"finetune": "bert", "transform": [{"pca": 16}]}},
        "grids": {"RECFORMER": {"initialisations": ["bert"]}, "SASRec": {"initialisations": ["fine"]}},
        "protocols": {"full": {}, "uni": {"eval_args": {"mode": "uni3"}}, "time": temporal()},
    }
    specs = {(spec.model, spec.protocol): spec for spec in resolved(**keys).specs()}
    exported = {protocol: specs["RECFORMER", protocol].config["export_item_embedding"] for protocol in ("full", "time")}
    begun = {protocol: specs["SASRec", protocol].config["item_embedding"] for protocol in ("full", "uni", "time")}
    assert begun["full"] == begun["uni"] == exported["full"] and begun["time"] == exported["time"] != exported["full"]
    keys["grids"]["RECFORMER"]["protocols"] = ["full"]
    with pytest.raises(
        ConfigurationError, match="finetune: RECFORMER is run under no protocol that reads, filters and splits shop"
    ):
        resolved(**keys)


def test_a_general_model_begins_from_vectors_of_its_own_split(resolved: Resolve) -> None:
    """RecBole splits rows of one kind of model and samples of the other."""
    found = resolved(
        models={"SASRec": {"hidden_size": 16}, "BPR": {"embedding_size": 16}},
        initialisations={"behaviour": {"cooccurrence": "ppmi", "dim": 16}},
    )
    stores = {spec.model: spec.config["item_embedding"] for spec in found.specs()}
    assert stores["SASRec"] != stores["BPR"]
    assert {str(store.path): store.dataset.splits_rows for store in found.stores} == {
        stores["SASRec"]: False,
        stores["BPR"]: True,
    }


def test_recformers_matrix_is_refused_where_it_has_seen_what_a_general_model_is_asked_for(
    resolved: Resolve, own_data: Path, tiny_encoders: dict[str, Path]
) -> None:
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    keys: dict[str, Any] = {
        "data_path": str(own_data),
        "models": {"BPR": {"embedding_size": 16}, "RECFORMER": {}},
        "initialisations": {"bert": bert, "fine": {"finetune": "bert", "transform": [{"pca": 16}]}},
        "grids": {"RECFORMER": {"initialisations": ["bert"]}, "BPR": {"initialisations": ["fine"]}},
    }
    resolved(**keys)  # nobody has fewer than five rows
    with (own_data / "tiny" / "tiny.inter").open("a") as file:
        file.write("short\ti3\t1\nshort\ti4\t2\n")
    with pytest.raises(
        ConfigurationError, match="finetune: of tiny RECFORMER trains on rows that this model validates"
    ):
        resolved(**keys)
    resolved(**keys, protocols={"time": temporal(valid=0.5, test=0.75)})


# -- models without item vectors -----------------------------------------------------------------------------------

WITHOUT_VECTORS: dict[str, dict[str, Any]] = {"Pop": {}, "LastItem": {}, "RecentPop": {"recent_per_user": 2}}


@pytest.mark.parametrize("model", WITHOUT_VECTORS)
def test_a_model_without_item_vectors_is_run_without_and_the_plan_says_so(
    resolved: Resolve, tiny_encoders: dict[str, Path], model: str
) -> None:
    bert = {"encoder": str(tiny_encoders["bert"]), "transform": [{"pca": 16}]}
    models = {model: WITHOUT_VECTORS[model], "SASRec": {"hidden_size": 16}}
    found = resolved(models=models, initialisations={"random": {}, "bert": bert})
    assert [(row.key.model, row.key.variant) for row in found.rows] == [
        (model, "random"),
        ("SASRec", "random"),
        ("SASRec", "bert"),
    ]
    assert f"{model} has no item vectors, and is not run with bert." in "\n".join(plan_lines(found, nothing_is_done))
    with pytest.raises(ConfigurationError, match=f"models.{model}: it has no item vectors: give it an initialisation"):
        resolved(models=models, initialisations={"bert": bert})


@pytest.mark.parametrize("model", [*WITHOUT_VECTORS, "TransitionGraph"])
def test_a_scale_for_a_model_that_has_no_vectors_to_scale_is_refused_before_anything_is_computed(
    resolved: Resolve, model: str
) -> None:
    keys: dict[str, Any] = {"models": {model: WITHOUT_VECTORS.get(model, {}), "SASRec": {"hidden_size": 16}}}
    keys["search"] = {"space": {"item_embedding_scale": [0.02, 0.1]}}
    with pytest.raises(ConfigurationError, match=f"item_embedding_scale: there are no item vectors of {model} to scal"):
        resolved(**keys)
    resolved(**keys, grids={model: {"search": {}}})


def test_models_say_whether_they_take_vectors_and_whether_they_are_trained() -> None:
    told = {
        name: (is_trained(name), takes_item_vectors(name))
        for name in ("SASRec", "BPR", "FFM", "ItemKNN", "TransitionGraph", "NearestNeighbour")
    }
    assert told == {
        "SASRec": (True, True),
        "BPR": (True, True),
        "FFM": (True, False),
        "ItemKNN": (False, False),
        "TransitionGraph": (False, True),
        "NearestNeighbour": (False, True),
    }


@pytest.mark.parametrize("model", WITHOUT_VECTORS)
def test_a_model_without_training_is_planned_with_two_evaluations_whatever_the_epochs(
    resolved: Resolve, model: str
) -> None:
    def estimate(name: str, epochs: int) -> Any:
        (step,) = (
            step
            for step in plan(
                resolved(models={name: WITHOUT_VECTORS.get(name, {})}, config={"epochs": epochs, "topk": [5]}),
                nothing_is_done,
            )
            if step.kind == "run"
        )
        return step.estimate

    assert estimate(model, 1) == estimate(model, 300)
    assert estimate(model, 300).operations < estimate("SASRec", 1).operations
