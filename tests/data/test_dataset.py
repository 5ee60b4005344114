"""One dataset, one answer: its files, its fingerprint, its size, its items' text, its users' histories."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ext.data.dataset import Dataset
from recbole_ext.data.sizes import Size
from recbole_ext.data.stock import stock_dataset
from recbole_ext.errors import ConfigurationError, SourceDataError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
Made = Callable[..., Dataset]

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
KNOWLEDGE: dict[str, Any] = {
    "model": "CKE",
    "load_col": {
        "inter": ["user_id", "item_id", "timestamp"],
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
    },
}
ITEMS = ["item_id:token\ttitle:token_seq\tbrand:token", "a\tA pen\tBIC", "b\tInk\t"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The files whose columns RecBole reads from now on."""
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    import recbole.data.dataset.dataset as module

    paths = set()
    really = module.pd.read_csv

    def noting(path: str, *arguments: Any, **options: Any) -> Any:
        paths.add(path)
        return really(path, *arguments, **options)

    monkeypatch.setattr(module.pd, "read_csv", noting)
    return paths


def test_ml_100k_lies_in_recbole_s_wheel_whatever_data_path_says() -> None:
    dataset = Dataset.named("ml-100k", "nowhere")
    dataset.require()
    assert [path.name for path in dataset.files()] == ["ml-100k.inter"]
    assert dataset.item_texts(["{movie_title}"])["1"] == "Toy Story"


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"inter"}),
        ({"load_col": None}, {"inter", "user", "item"}),
        ({"load_col": {"inter": ["user_id", "item_id"], "item": ["item_id", "class"]}}, {"inter", "item"}),
        ({"load_col": {"inter": "*", "user": "*"}}, {"inter", "user"}),
        ({"load_col": {"inter": ["user_id", "item_id"], "kg": ["head_id", "tail_id"]}, "model": "BPR"}, {"inter"}),
        ({"load_col": None, "unload_col": {"item": ["class"]}}, {"inter", "user", "item"}),
        (KNOWLEDGE, {"inter", "kg", "link"}),
        ({**KNOWLEDGE, "model": "SASRec", "MODEL_TYPE": "KNOWLEDGE"}, {"inter", "kg", "link"}),
    ],
)
def test_files_are_those_that_recbole_opens(keys: dict[str, Any], expected: set[str], opened: set[str]) -> None:
    dataset = Dataset.named("ml-100k", keys=keys)
    stock_dataset("ml-100k", dataset.folder, dataset.effective_keys)
    assert {str(path) for path in dataset.files()} == opened
    assert {path.suffix.lstrip(".") for path in dataset.files()} == expected


@pytest.mark.parametrize("suffix", ["ent", ["ent"]])
def test_files_of_further_features_are_those_that_recbole_opens(
    made: Made, inter: list[str], opened: set[str], suffix: object
) -> None:
    vectors = ["ent_id:token\tent_emb:float_seq", *(f"{item}\t1 2" for item in "abcdef")]
    columns = {"inter": ["user_id", "item_id", "timestamp"], "ent": ["ent_id", "ent_emb"]}
    keys = {"load_col": columns, "alias_of_item_id": ["ent_id"], "preload_weight": {"ent_id": "ent_emb"}}
    dataset = made({"inter": inter, "ent": vectors, "net": ["broken"]}, additional_feat_suffix=["ent"], **keys)
    stock_dataset("own", dataset.folder, dataset.effective_keys)
    assert {str(path) for path in dataset.files()} == opened
    asked = dataset.with_keys({"additional_feat_suffix": suffix})
    assert [path.name for path in asked.files()] == ["own.inter", "own.ent"]
    assert asked.check() == []


def test_files_that_are_split_already_stand_for_the_interactions(made: Made, inter: list[str]) -> None:
    splits = {f"{name}.inter": inter for name in ("train", "valid", "test")}
    dataset = made(splits, benchmark_filename=["train", "valid", "test"])
    dataset.require()
    assert [path.name for path in dataset.files()] == ["own.train.inter", "own.valid.inter", "own.test.inter"]
    (dataset.folder / "own.valid.inter").unlink()
    with pytest.raises(SourceDataError, match=r"own\.valid\.inter: no such file.*benchmark_filename"):
        dataset.require()


def test_split_files_without_their_protocol_are_named_with_it(made: Made, inter: list[str]) -> None:
    dataset = made({"test.inter": inter, "train.inter": inter})
    with pytest.raises(SourceDataError, match=r"no such file.* own\.test\.inter, own\.train\.inter: .*given: {bench"):
        dataset.require()


def test_a_dataset_that_is_not_there_is_an_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match=r"own\.inter: no such file.*recbole-ext convert .* --name own"):
        Dataset.named("own", tmp_path).require()
    (tmp_path / "Beauty").mkdir()
    with pytest.raises(SourceDataError, match=r"Baeuty\.inter: no such file\. Did you mean 'Beauty'\? Make it with"):
        Dataset.named("Baeuty", tmp_path).require()
    with pytest.raises(SourceDataError, match=r"ml100k\.item: no such file.* Did you mean 'ml-100k'\? Make it with"):
        Dataset.named("ml100k", tmp_path).item_fields()


# -- fingerprint ---------------------------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_every_file_that_is_read_and_with_no_other(made: Made, inter: list[str]) -> None:
    files = {"inter": inter, "item": ITEMS, "user": ["user_id:token\tage:float", "u1\t3"]}
    plain = made(files)
    features = plain.with_keys({"load_col": None})
    before = plain.fingerprint(), features.fingerprint()
    made({"item": [*ITEMS, "c\tPaper\t"]})
    assert plain.fingerprint() == before[0] and features.fingerprint() != before[1]
    made({"item": ITEMS})
    assert (plain.fingerprint(), features.fingerprint()) == before
    made({"inter": inter[:-1]})
    assert plain.fingerprint() != before[0]


def test_the_fingerprint_is_of_split_files_and_knows_which_is_which(made: Made, inter: list[str]) -> None:
    names = ("train", "valid", "test")
    splits = {f"{name}.inter": [*inter, f"{name}\ta\t1"] for name in names}
    dataset = made(splits, benchmark_filename=list(names))
    before = dataset.fingerprint()
    made({"test.inter": splits["valid.inter"], "valid.inter": splits["test.inter"]})
    assert dataset.fingerprint() != before


def test_a_file_is_hashed_once_as_long_as_it_stays_the_same(
    made: Made, inter: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = made({"inter": inter})
    before = dataset.fingerprint()
    path = dataset.files()[0]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: pytest.fail("read again"))
        assert dataset.fingerprint() == before
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"u1", b"u9"))  # as large as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert dataset.fingerprint() != before


# -- size ----------------------------------------------------------------------------------------------------------


def test_size_is_counted_under_the_keys_own_names_separator_and_byte_order_mark(made: Made) -> None:
    rows = ["\ufeffsession:token,sku:token,ts:float", "s1,a,1", "s1,NA,2", "s2,a,1"]
    keys = {"USER_ID_FIELD": "session", "ITEM_ID_FIELD": "sku", "TIME_FIELD": "ts", "field_separator": ","}
    assert made({"inter": rows}, **keys).size() == Size(users=2, items=2, interactions=3)
    with pytest.raises(
        SourceDataError, match=r"own\.inter, line 1: no column 'sku'.*there are session, item_id.*ITEM_ID_FIELD"
    ):
        made({"inter": ["session:token,item_id:token", "s,a"]}, **keys).size()


def test_size_of_split_files_counts_an_id_once(made: Made) -> None:
    rows = {name: [HEADER, f"u\t{name}\t1", "u\ta\t2"] for name in ("train", "valid", "test")}
    keys = {"benchmark_filename": list(rows)}
    dataset = made({f"{name}.inter": lines for name, lines in rows.items()}, **keys)
    assert dataset.size() == Size(users=1, items=4, interactions=6)
    header = "user_id:token\titem_id_list:token_seq\titem_id:token"
    files = {f"{name}.inter": [header, "u\ta b\tc", "u\ta b c\td"] for name in rows}
    assert made(files, **keys).size() == Size(users=1, items=4, interactions=6)


def test_size_is_what_the_config_expects_after_its_filters_and_counted_where_it_says_nothing(
    made: Made, inter: list[str]
) -> None:
    files = {"inter": inter}
    assert made(files).size() == Size(4, 6, 15)
    assert made(files, expected={"users": 3, "items": 5, "interactions": 12}).size() == Size(3, 5, 12)
    assert made(files, expected={"users": 3, "items": 5}).size() == Size(3, 5, 15)
    assert made(files, expected={"users": 3}).size() == Size(4, 6, 15)
    absent = {"expected": {"users": 10, "items": 5}, "user_inter_num_interval": "[4,inf)"}
    assert Dataset.named("absent", "nowhere", keys=absent).size() == Size(10, 5, 40)
    assert Dataset.named("absent", "nowhere").size() is None


# -- items ---------------------------------------------------------------------------------------------------------


def test_item_text_heeds_the_keys_names_and_separators(made: Made) -> None:
    items = ["sku:token,title:token_seq,kinds:token_seq", "a,A|pen,Office|Pens", "NA,Ink,"]
    keys = {"ITEM_ID_FIELD": "sku", "field_separator": ",", "seq_separator": "|"}
    dataset = made({"item": items}, **keys)
    assert dataset.item_texts().to_dict() == {"a": "A pen. Office Pens", "NA": "Ink"}
    assert dataset.item_texts(["{kinds}"]).to_dict() == {"a": "Office Pens", "NA": ""}
    assert dataset.item_key_values() == {
        "a": [("title", "A pen"), ("kinds", "Office Pens")],
        "NA": [("title", "Ink")],
    }


def test_the_template_is_the_asked_one_else_the_config_s_else_all_text_fields(made: Made) -> None:
    dataset = made({"item": ITEMS})
    assert dataset.template() == ["{title}", "{brand}"]
    configured = dataset.with_keys({"item_text": ["Brand: {brand}", "{title}"]})
    assert configured.template() == ["Brand: {brand}", "{title}"]
    assert configured.template(["{title}"]) == ["{title}"]
    assert configured.item_texts()["a"] == "Brand: BIC. A pen"
    assert configured.item_parts() == [["Brand: BIC", "A pen"], ["Ink"]]
    assert configured.template("{title}") == ["{title}"] and configured.item_texts("{title}")["a"] == "A pen"
    assert configured.item_key_values()["a"] == [("brand", "BIC"), ("title", "A pen")]
    assert configured.item_key_values(["title"]) == {"a": [("title", "A pen")], "b": [("title", "Ink")]}


def test_a_dataset_without_item_file_has_no_text_and_says_how_to_make_it(made: Made, inter: list[str]) -> None:
    with pytest.raises(SourceDataError, match=r"own\.item: no such file, so dataset 'own' has no item text.*convert"):
        made({"inter": inter}).item_texts()


# -- keys ----------------------------------------------------------------------------------------------------------


def test_recbole_is_told_to_load_user_item_and_time_by_their_own_names_unless_load_col_says_else() -> None:
    dataset = Dataset.named("x", keys={"USER_ID_FIELD": "session", "item_text": ["{t}"]})
    assert dataset.recbole_keys["load_col"] == {"inter": ["session", "item_id", "timestamp"]}
    assert "item_text" not in dataset.recbole_keys
    assert dataset.with_keys({"load_col": None}).recbole_keys["load_col"] is None
    assert dataset.effective_keys["field_separator"] == "\t"


@pytest.mark.parametrize("model", ["SASRec", "BPR", "CKE", "FM"])
def test_the_keys_can_be_all_of_a_run_s_as_recbole_has_them(model: str) -> None:
    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    from recbole_ext.models import recbole_config

    keys: dict[str, Any] = {"train_neg_sample_args": None} if model == "SASRec" else {}
    keys |= KNOWLEDGE if model == "CKE" else {}
    config = recbole_config(model, "ml-100k", keys)
    dataset = Dataset("ml-100k", Path("nowhere"), {**config.final_config_dict, "eval_args": LEAVE_ONE_OUT})
    found = {path.suffix.lstrip(".") for path in dataset.files()}
    assert found == {"CKE": {"inter", "kg", "link"}, "FM": {"inter", "user", "item"}}.get(model, {"inter"})
    assert any("83 of 943 users" in sentence for sentence in dataset.check())
    assert len(dataset.training_histories()) == 943


# -- histories -----------------------------------------------------------------------------------------------------

rows_of_users = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(1_700_000_000, 1_700_000_300)), min_size=1, max_size=60
)


def as_lines(rows: list[tuple[int, int, int]]) -> list[str]:
    return [HEADER, *(f"u{user}\ti{item}\t{time}" for user, item, time in rows)]


@settings(deadline=None, max_examples=30)
@given(rows_of_users)
def test_training_histories_are_all_but_the_last_two_by_exact_time(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "histories"
    folder.mkdir(exist_ok=True)
    (folder / "histories.inter").write_text("\n".join(as_lines(rows)) + "\n")
    in_order = sorted(rows, key=lambda row: row[2])
    whole = [[f"i{item}" for owner, item, _ in in_order if owner == user] for user in range(5)]
    # As RecBole leaves out: of n items there are n - 1 samples, of which the first always trains.
    expected = [items[: max(len(items) - 2, 2)] for items in whole if len(items) > 1]
    if not expected:
        return
    found = Dataset("histories", folder.parent).training_histories()
    assert sorted(map(list, found)) == sorted(expected)


def test_training_histories_follow_the_keys_filters_and_names(made: Made, inter: list[str]) -> None:
    rows = ["session:token,sku:token,ts:float", *(line.replace("\t", ",") for line in inter[1:])]
    keys = {"USER_ID_FIELD": "session", "ITEM_ID_FIELD": "sku", "TIME_FIELD": "ts", "field_separator": ","}
    dataset = made({"inter": rows}, user_inter_num_interval="[4,inf)", **keys)
    assert sorted(map("".join, dataset.training_histories())) == ["afc", "bc"]


def test_training_histories_of_one_cut_in_time_end_before_it(made: Made) -> None:
    rows = [HEADER, *(f"u{user}\ti{time}\t{time}" for user in range(5) for time in range(10))]
    split = {"split": {"TS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}
    histories = made({"inter": rows}, eval_args=split).training_histories()
    assert {len(history) for history in histories} <= {6, 7}
    assert not {item for history in histories for item in history} & {"i8", "i9"}


@pytest.mark.parametrize("split", [{"RS": [0.6, 0.2, 0.2]}, {"LS": "valid_and_test"}])
def test_a_split_drawn_at_random_has_no_training_histories(made: Made, split: dict[str, Any]) -> None:
    rows = [HEADER, *(f"u{user}\ti{time}\t{time}" for user in range(8) for time in range(10))]
    dataset = made({"inter": rows}, eval_args={"split": split, "order": "RO", "group_by": "user", "mode": "full"})
    with pytest.raises(ConfigurationError, match=r"eval_args\.order: RO draws the training split"):
        dataset.training_histories()


SPLITS: dict[str, dict[str, Any]] = {
    "leave-one-out": LEAVE_ONE_OUT,
    "ratio": {**LEAVE_ONE_OUT, "split": {"RS": [0.5, 0.25, 0.25]}},
    "ratio of all rows": {**LEAVE_ONE_OUT, "split": {"RS": [0.5, 0.25, 0.25]}, "group_by": "none"},
    "temporal": {**LEAVE_ONE_OUT, "split": {"temporal": {"valid": 0.5, "test": 0.75}}},
}


@pytest.mark.parametrize("split", SPLITS)
def test_training_histories_of_a_general_model_are_the_rows_that_it_trains_on(made: Made, split: str) -> None:
    """Of users with one to nine rows, spread over the same time."""
    from recbole_ext.models import recbole_config
    from recbole_ext.training.loaders import load

    rows = [HEADER, *(f"u{n}\ti{(n * row) % 7}\t{60 * row // n}" for n in range(1, 10) for row in range(n))]
    dataset = made({"inter": rows})
    keys: dict[str, Any] = {"eval_args": SPLITS[split], "data_path": str(dataset.data_path), "rank_seen_items": True}
    config = recbole_config("BPR", "own", {**keys, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}})
    train = load(config).train._dataset
    trained = train.inter_feat
    users, items = trained["user_id"].numpy(), train.id2token("item_id", trained["item_id"].numpy())
    expected = [items[users == user].tolist() for user in np.unique(users)]
    assert sorted(map(list, Dataset.of_config(config).training_histories())) == sorted(expected)


def test_only_a_model_whose_rows_are_split_has_histories_of_its_own(made: Made, inter: list[str]) -> None:
    """What was made for sequential models keeps its identity."""
    dataset = made({"inter": inter})
    plain = dataset.histories_request()
    assert set(plain) == {"files", "keys"}
    assert dataset.with_keys({"model": "SASRec"}).histories_request() == plain
    assert dataset.with_keys({"MODEL_TYPE": "SEQUENTIAL"}).histories_request() == plain
    for model in ("BPR", "FM", "CKE", "XGBoost", "Pop"):
        assert dataset.with_keys({"model": model}).histories_request() == {**plain, "split": "rows"}
    split = dataset.with_keys({"benchmark_filename": ["train", "valid", "test"]})
    assert not split.with_keys({"model": "BPR"}).splits_rows


@pytest.mark.parametrize("with_lists", [True, False])
def test_training_histories_of_split_files_are_those_of_the_first(made: Made, with_lists: bool) -> None:
    if with_lists:
        header = "user_id:token\titem_id_list:token_seq\titem_id:token"
        train = [header, "u1\ta\tb", "u1\ta b\tc", "u2\td\ta"]
        held = [header, "u1\ta b c\tx", "u2\td a\ty"]
        keys = {"load_col": {"inter": ["user_id", "item_id_list", "item_id"]}, "alias_of_item_id": ["item_id_list"]}
    else:
        train = [HEADER, "u1\tc\t3", "u1\ta\t1", "u2\td\t1", "u1\tb\t2", "u2\ta\t2"]
        held = [HEADER, "u1\tx\t9", "u2\ty\t9"]
        keys = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    dataset = made(
        {"train.inter": train, "valid.inter": held, "test.inter": held},
        **keys,
        benchmark_filename=["train", "valid", "test"],
    )
    assert sorted(map(list, dataset.training_histories())) == [["a", "b", "c"], ["d", "a"]]


def test_filters_that_leave_nothing_are_an_error_that_names_the_dataset(made: Made, inter: list[str]) -> None:
    dataset = made({"inter": inter}, user_inter_num_interval="[99,inf)")
    with pytest.raises(ConfigurationError, match="own: filters leave nothing of this dataset"):
        dataset.training_histories()


def test_ids_are_text_however_they_look(made: Made) -> None:
    rows = [
        HEADER,
        *(f"{user}\t{item}\t{time}" for user in ("01", "1", "1.0") for time, item in enumerate(("7", "07", "NA", "x"))),
    ]
    histories = made({"inter": rows}).training_histories()
    assert [list(history) for history in histories] == [["7", "07"]] * 3
    assert all(isinstance(history, np.ndarray) for history in histories)
