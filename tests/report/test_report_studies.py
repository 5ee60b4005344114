from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_runs import add_study

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.studies import load_studies


def test_studies_are_the_folders_with_a_study_json_by_name(tmp_path: Path) -> None:
    add_study(tmp_path / "layers")
    add_study(tmp_path / "attention", text="Short.")
    (tmp_path / "unfinished").mkdir()
    attention, layers = load_studies(tmp_path)
    assert (attention.name, attention.text, attention.address) == ("attention", "Short.", f"{tmp_path.name}/attention/")
    assert [path.name for path in attention.figures] == ["attention.png"]
    assert list(attention.to_pandas()["layers"]) == [6]
    assert "<p>Short.</p>" in attention._repr_html_() and attention.sentence in attention._repr_html_()
    assert layers.text == ""


def test_without_a_folder_there_are_no_studies(tmp_path: Path) -> None:
    assert load_studies(tmp_path / "studies") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a study but a list"),
        (json.dumps({"name": "layers", "title": "T", "sentence": 3, "command": "c"}), "key `sentence`"),
        (json.dumps({"name": "layers", "title": "T", "sentence": "S"}), "key `command`"),
        (json.dumps(dict.fromkeys(("name", "title", "sentence", "command"), "layers")), "key `rows`"),
    ],
)
def test_a_damaged_study_is_named_with_the_way_out(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "study.json").write_text(content)
    with pytest.raises(ConfigurationError, match=said) as error:
        load_studies(tmp_path)
    assert str(tmp_path / "layers" / "study.json") in str(error.value)
    assert "recbole-ext study layers" in str(error.value)


def test_the_text_becomes_html_below_the_studys_heading_with_its_links_resolved(tmp_path: Path) -> None:
    links = "See [numbers](table.csv) and [paper](https://arxiv.org/abs/2404.08796)."
    text = f"## Heads\n\n### More\n\n{links}\n\n| a |\n| - |\n| 1 |\n"
    add_study(tmp_path / "layers", text=text)
    (study,) = load_studies(tmp_path)
    html = study.text_as_html()
    assert "<h4>Heads</h4>" in html
    assert "<h5>More</h5>" in html
    assert f'href="{tmp_path.name}/layers/table.csv"' in html
    assert 'href="https://arxiv.org/abs/2404.08796"' in html
    assert "<table>" in html


def test_a_text_can_bring_in_neither_html_nor_pictures_nor_scripts(tmp_path: Path) -> None:
    text = "<script>alert(1)</script> ![x](https://example.org/x.png) [y](javascript:alert(1))"
    add_study(tmp_path / "layers", text=text)
    html = load_studies(tmp_path)[0].text_as_html()
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
