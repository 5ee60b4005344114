"""Where a page leads for more about a model or an encoder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from synthetic_runs import Benchmark

from recbole_ext.models import OWN_MODELS, model_names
from recbole_ext.report import write_report
from recbole_ext.report.links import of_encoder, of_model


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("SASRec", "https://recbole.io/docs/user_guide/model/sequential/sasrec.html"),
        ("BPR", "https://recbole.io/docs/user_guide/model/general/bpr.html"),
        ("XGBoost", "https://recbole.io/docs/user_guide/model/external/xgboost.html"),
        ("ESASRec", "https://arxiv.org/abs/2508.06450"),
        ("S3Rec", "https://recbole.io/docs/user_guide/model/sequential/s3rec.html"),
        ("LastItem", ""),
        ("my_package.models.MySASRec", ""),
        ("Layers", ""),
    ],
)
def test_a_model_leads_to_its_paper_or_to_recboles_page(model: str, address: str) -> None:
    assert of_model(model) == address


def test_every_model_of_recbole_has_a_page_and_every_own_one_with_a_paper_says_so_in_its_file() -> None:
    assert [name for name in model_names() if not of_model(name)] == ["LastItem", "NearestNeighbour"]
    models = Path(__file__).resolve().parents[2] / "recbole_ext" / "models"
    for own in OWN_MODELS.values():
        file = (models / f"{own.module.rpartition('.')[2]}.py").read_text(encoding="utf-8")
        assert not own.paper or f"arXiv {own.paper}" in file


def test_an_encoder_leads_to_its_repository_and_a_folder_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_encoder("minilm") == "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2"
    assert of_encoder("intfloat/e5-base-v2") == "https://huggingface.co/intfloat/e5-base-v2"
    for name in ("artifacts/encoders/smollm2", "./tuned", "/models/bert", "bert"):
        assert of_encoder(name) == ""
    monkeypatch.chdir(tmp_path)
    Path("tuned/bert").mkdir(parents=True)
    assert of_encoder("tuned/bert") == ""


def test_a_page_names_each_model_and_encoder_once(tmp_path: Path) -> None:
    benchmark = Benchmark(tmp_path)
    for model in ("SASRec", "GRU4Rec"):
        benchmark.add(model=model)
        benchmark.add(model=model, variant="minilm")
    write_report(benchmark.write())
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<a href="https://[^"]+">([^<]+)</a>', page) == ["SASRec", "minilm", "GRU4Rec"]
