"""What the README tells someone who only has RecBole to write does what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

README = Path(__file__).resolve().parents[1] / "README.md"


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return found


@pytest.mark.slow
def test_the_lines_for_someone_who_only_has_recbole_train_and_evaluate_with_the_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py"])
    from recbole_ext import make_recbole_work

    make_recbole_work()
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer

    (tmp_path / "keys.yaml").write_text(block("yaml", "item_embedding_mode"), encoding="utf-8")
    settings: dict[str, object] = {
        "epochs": 1,
        "MAX_ITEM_LIST_LENGTH": 5,
        "train_neg_sample_args": None,
        "show_progress": False,
    }
    settings |= {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    config = Config("SASRec", "ml-100k", config_file_list=["keys.yaml"], config_dict=settings)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    script = {"config": config, "train_data": train_data, "get_model": get_model}
    exec(block("python", "attach_item_embedding"), script)
    model = script["model"]
    assert model.item_embedding.weight[1:].std().item() == pytest.approx(0.02, rel=0.01)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
    trainer.fit(train_data, valid_data, verbose=False)
    assert trainer.evaluate(test_data, load_best_model=True)["recall@10"] > 0


def test_the_benchmark_in_the_readme_is_one_that_runs_would_accept(tmp_path: Path) -> None:
    from recbole_ext.runs.benchmark_file import load_benchmark
    from recbole_ext.runs.spec import expand

    (tmp_path / "mine.yaml").write_text(block("yaml", "name: mine"), encoding="utf-8")
    runs = list(expand(load_benchmark(tmp_path / "mine.yaml"), "test"))
    assert len(runs) == 2 * 2 * 2 * 3
    assert yaml.safe_load(block("yaml", "name: mine"))["seeds"] == [42, 43, 44]


def test_every_table_of_the_performance_section_is_a_file_of_results_performance() -> None:
    section = README.read_text(encoding="utf-8").partition("## Performance\n")[2].partition("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    files = (README.parent / "results" / "performance").glob("*.md")
    made = {line for path in files for line in path.read_text(encoding="utf-8").splitlines()}
    assert len(shown) > 20 and set(shown) <= made
