"""Conversions as RecBole sees them, and the real datasets against what their dataset configs promise."""

from __future__ import annotations

import html.entities
import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from recbole_ext.convert import convert
from recbole_ext.text import read_item_fields, render_texts

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = REPOSITORY / "../shared/data"


def load_in_recbole(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dataset as a sequential RecBole model gets it, under its dataset config where there is one."""
    from recbole.config import Config
    from recbole.data import create_dataset

    from recbole_ext.compat import make_recbole_work

    make_recbole_work()
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.chdir(folder)
    dataset_config = REPOSITORY / "dataset_configs" / f"{name}.yaml"
    settings = {
        "data_path": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_neg_sample_args": None,
        "use_gpu": False,
    }
    files = [str(dataset_config)] if dataset_config.exists() else []
    return create_dataset(Config(model="SASRec", dataset=name, config_file_list=files, config_dict=settings))


def test_recbole_reads_a_conversion_in_the_true_order_even_of_times_it_rounds_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In single precision these Unix times, a second apart, are all the same.
    times = [1_400_000_000 + n for n in range(8)]
    shuffled = [3, 0, 5, 7, 1, 4, 6, 2]
    rows = "".join(f"u{n % 2},i{n},{times[n]}\n" for n in shuffled)
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + rows)
    (tmp_path / "items.csv").write_text('item_id,title\ni0,"""quoted"" and, unbalanced """\n')
    convert(tmp_path, "csv", "Tiny", tmp_path / "out")
    dataset = load_in_recbole("Tiny", tmp_path / "out", monkeypatch)
    test_split = dataset.build()[-1].inter_feat
    histories = {
        tuple(dataset.id2token("item_id", [*row[:length].tolist(), target]))
        for row, length, target in zip(
            test_split["item_id_list"],
            test_split["item_length"].tolist(),
            test_split["item_id"].tolist(),
            strict=True,
        )
    }
    assert histories == {("i0", "i2", "i4", "i6"), ("i1", "i3", "i5", "i7")}


@pytest.fixture(scope="module", params=["Scientific", "Office"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    name = request.param
    if not (REAL_DATA / name).is_dir():
        pytest.skip(f"../shared/data/{name} is not here")
    out = tmp_path_factory.mktemp("converted")
    convert(REAL_DATA / name, "lcrec", name, out)
    return name, out


def config_of(name: str) -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "dataset_configs" / f"{name}.yaml").read_text("utf-8"))


def test_no_user_item_or_interaction_is_lost_and_every_order_is_kept(converted: tuple[str, Path]) -> None:
    name, out = converted
    histories = json.loads((REAL_DATA / name / f"{name}.inter.json").read_text("utf-8"))
    described = json.loads((REAL_DATA / name / f"{name}.item.json").read_text("utf-8"))
    rows = pd.read_csv(out / name / f"{name}.inter", sep="\t", dtype={"user_id:token": str, "item_id:token": str})
    rows = rows.sort_values("timestamp:float", kind="stable")
    written = rows.groupby("user_id:token")["item_id:token"].agg(list).to_dict()
    assert written == {user: [str(item) for item in history] for user, history in histories.items()}
    assert list(read_item_fields(out / name / f"{name}.item").index) == list(described)


def test_no_separator_control_character_or_html_entity_is_left(converted: tuple[str, Path]) -> None:
    name, out = converted
    fields = read_item_fields(out / name / f"{name}.item")
    values = fields.to_numpy().ravel()
    assert not [v for v in values if any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in v)]
    entities = [m for v in values for m in re.findall(r"&(#\d+;|#x[0-9a-fA-F]+;|[A-Za-z]\w*;)", v)]
    assert not [e for e in entities if e.startswith("#") or e in html.entities.html5]
    assert not [v for v in values if re.search(r"</?(br|p|b|i|li|ul|div|span)\s*/?>", v, re.IGNORECASE)]


def test_every_item_has_a_text_under_its_dataset_config(converted: tuple[str, Path]) -> None:
    name, out = converted
    texts = render_texts(read_item_fields(out / name / f"{name}.item"), config_of(name)["item_text"])
    assert (texts != "").all()
    assert texts.nunique() > 0.99 * len(texts)


def test_recbole_counts_what_the_dataset_config_expects(
    converted: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = converted
    dataset = load_in_recbole(name, out, monkeypatch)
    assert {
        "users": dataset.user_num - 1,  # RecBole counts its padding row
        "items": dataset.item_num - 1,
        "interactions": dataset.inter_num,
    } == config_of(name)["expected"]
