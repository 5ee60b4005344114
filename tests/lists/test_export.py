"""The split written down is the one that runs train on and are tested with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished_lists import OLD_ITEMS, Finished

from recbole_ext.errors import ConfigurationError
from recbole_ext.lists.evaluate import evaluate
from recbole_ext.lists.export import export_split


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_the_exported_split_is_every_interaction_once(
    here: Finished, tmp_path: Path, atomic_folder: Path, format: str
) -> None:
    found = export_split(here.file, tmp_path / "split", format=format)
    read = pd.read_csv if format == "csv" else pd.read_parquet
    parts = {name: read(tmp_path / "split" / f"{name}.{format}") for name in ("train", "valid", "test", "items")}
    assert found.rows == {name: len(part) for name, part in parts.items()}
    table = pd.read_csv(atomic_folder / "tiny" / "tiny.inter", sep="\t").set_axis(["user", "item", "timestamp"], axis=1)
    whole = pd.concat([parts[name] for name in ("train", "valid", "test")])
    both = [frame.sort_values(["user", "timestamp"])[["user", "item"]].to_numpy().tolist() for frame in (whole, table)]
    assert both[0] == both[1]
    last = table.groupby("user").tail(1).set_index("user")["item"]
    assert parts["test"].set_index("user")["item"].to_dict() == last.to_dict()
    assert (whole.sort_values(["user", "position"]).groupby("user")["timestamp"].diff().dropna() > 0).all()
    assert sorted(parts["items"]["item"]) == sorted(OLD_ITEMS)
    said = json.loads((tmp_path / "split" / "split.json").read_text(encoding="utf-8"))
    assert said["dataset"] == "tiny" and said["topk"] == 10 and "without those that the user had" in said["ranked"]


def exported(tmp_path: Path, histories: dict[str, list[int]], benchmark: Any, **overrides: Any) -> dict[str, Any]:
    """The parts of a split of users with items at these times, ``iTIME`` each: user, time and position of each row."""
    (tmp_path / "data" / "made").mkdir(parents=True)
    rows = [f"{user}\ti{time}\t{time}" for user, times in histories.items() for time in times]
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *rows]
    (tmp_path / "data" / "made" / "made.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = export_split(benchmark, tmp_path / "split", overrides={"data_path": str(tmp_path / "data"), **overrides})
    parts = {part: pd.read_csv(tmp_path / "split" / f"{part}.csv") for part in found.rows if part != "items"}
    return {
        part: sorted(frame[["user", "timestamp", "position"]].to_records(index=False).tolist())
        for part, frame in parts.items()
    }


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_the_exported_training_part_under_one_cut_in_time_is_every_row_before_it(tmp_path: Path, model: str) -> None:
    histories = {"often": [1, 2, 3, 11, 12, 21, 22], "once": [4], "later": [5, 13, 23], "new": [14, 24]}
    temporal = {"eval_args": {"split": {"temporal": {"valid": 10, "test": 20}}}}
    benchmark = {"name": "cut", "datasets": ["made"], "models": [model], "initialisations": ["random"]}
    parts = exported(tmp_path, histories, {**benchmark, "protocols": {"temporal": temporal}})
    before = [(user, time, place) for user, times in histories.items() for place, time in enumerate(times) if time < 10]
    assert parts["train"] == sorted(before)
    assert parts["valid"] == [("later", 13, 1), ("often", 12, 4)]
    assert parts["test"] == [("later", 23, 2), ("new", 24, 1), ("often", 22, 6)]
    assert parts["history"] == [("new", 14, 0), ("often", 11, 3), ("often", 21, 5)]
    said = json.loads((tmp_path / "split" / "split.json").read_text(encoding="utf-8"))
    assert said["history"].endswith("to be read, not trained on")


def test_a_mapping_of_which_rows_are_exported_may_include_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("below.yaml").write_text("{datasets: [made], models: [SASRec]}")
    histories = {"one": [1, 2, 3, 4, 5], "two": [2, 3, 4, 5, 6]}
    parts = exported(tmp_path, histories, {"name": "above", "include": "below.yaml"})
    assert parts["test"] == [("one", 5, 4), ("two", 6, 4)]


def test_lists_of_one_item_export_every_row_once(tmp_path: Path) -> None:
    histories = {"one": [1, 2, 3, 4, 5], "two": [2, 3, 4, 5, 6]}
    parts = exported(tmp_path, histories, "made", MAX_ITEM_LIST_LENGTH=1)
    assert parts["train"] == [(user, times[place], place) for user, times in histories.items() for place in range(3)]


def test_exported_times_are_exact(tmp_path: Path) -> None:
    (tmp_path / "data" / "exact").mkdir(parents=True)
    rows = [f"u{user}\ti{user + step}\t{1_600_000_000 + step}" for user in range(4) for step in range(6)]
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *rows]
    (tmp_path / "data" / "exact" / "exact.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    export_split("exact", tmp_path / "split", overrides={"data_path": str(tmp_path / "data")})
    test = pd.read_csv(tmp_path / "split" / "test.csv")
    assert set(test["timestamp"]) == {1_600_000_005} and set(test["position"]) == {5}


def test_a_split_is_not_written_over_something_else(here: Finished, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="there is something else than a split"):
        export_split(here.file, tmp_path / "mine")
    export_split(here.file, tmp_path / "split")
    export_split(here.file, tmp_path / "split")
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    (tmp_path / "split" / "notes.txt").write_text("mine as well", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"split: notes\.txt beside the split of before would be lost"):
        export_split(here.file, tmp_path / "split")
    assert (tmp_path / "split" / "notes.txt").is_file()


def test_lists_made_of_the_exported_rows_get_what_their_ranks_say(here: Finished, tmp_path: Path) -> None:
    export_split(here.file, tmp_path / "split")
    test = pd.read_csv(tmp_path / "split" / "test.csv")
    (record,) = evaluate(test.assign(rank=1)[["user", "item", "rank"]], here.file, "other").records
    assert record.lists is not None and set(record.lists.test.values()) == {1.0}
