"""The text above all benchmarks: its numbers are those of the tables, and it can't ask for one that they lack."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from synthetic_cards import card, random_card
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.records.card import Gain
from recbole_ext.report import write_reports
from recbole_ext.report.readme import render, write_readme


@pytest.fixture
def results(tmp_path: Path) -> Path:
    benchmark = Benchmark(tmp_path / "trial")
    for seed in (1, 2, 3):
        benchmark.add(variant="none", seed=seed, quality=0.3)
        benchmark.add(variant="x", seed=seed, quality=0.5)
    benchmark.add(variant="untested", seed=1, quality=0.5)
    benchmark.write()
    write_reports(tmp_path)
    return tmp_path


def asked(verb: str, *words: str, variant: str = "x") -> str:
    dataset, model = "Office", "SASRec"
    return "{{ " + f"{verb}{('trial', dataset, model, variant, *words)}" + " }}"


def test_scores_gains_and_verdicts_are_those_of_the_table(results: Path) -> None:
    table = pd.read_csv(results / "trial" / "leaderboard.csv").set_index("variant").loc["x"]
    assert render(asked("score", "ndcg@10"), results) == f"{table['ndcg@10']:.4f} ± {table['ndcg@10_std']:.4f}"
    gain = render(asked("gain", "ndcg@10"), results)
    assert gain.startswith(f"+{table['ndcg@10_improvement_%']:.1f} % [+{table['ndcg@10_low_%']:.1f}, +")
    assert gain.endswith("p <0.001, 3 seeds")
    assert render(asked("verdict", "ndcg@10"), results) == "better"
    over = render(asked("gain_over", "none", "ndcg@10"), results)
    assert over.split(" [")[0] == gain.split(" [")[0] and over.endswith("p <0.001, 3 seeds")


def test_a_row_without_a_test_shows_nothing(results: Path) -> None:
    assert render(asked("verdict", "ndcg@10", variant="untested"), results) == "not shown"
    assert render(asked("gain", "ndcg@10", variant="untested"), results).endswith("%, 1 seed")


def test_gains_of_score_cards_are_those_on_the_card(tmp_path: Path) -> None:
    scored = card("minilm", 8.0, 2.5, datasets=("Toys", "Books"))
    toys = scored.datasets[0].model_copy(update={"gain": Gain(mean=-3.04, low=-7.0, high=1.0)})
    scored.model_copy(update={"datasets": [toys, scored.datasets[1]]}).write(tmp_path / "encoders")
    random_card().write(tmp_path / "encoders")
    assert render('{{ card_gain("shops", "minilm") }}', tmp_path) == "+8.0 % [+6.0, +10.0]"
    assert render('{{ card_gain("shops", "minilm", "Toys") }}', tmp_path) == "−3.0 % [−7.0, +1.0]"
    assert render('{{ card_gain("shops", "random") }}', tmp_path) == "0.0 %"
    with pytest.raises(ConfigurationError, match="shops-minilm.json has no dataset 'Tools'"):
        render('{{ card_gain("shops", "minilm", "Tools") }}', tmp_path)
    with pytest.raises(ConfigurationError, match=r"no score card .*shops-e5\.json"):
        render('{{ card_gain("shops", "e5") }}', tmp_path)
    assert render('{{ card_score("shops", "random", "Toys", "SASRec") }}', tmp_path) == "0.0500"
    with pytest.raises(ConfigurationError, match="has no score of GRU4Rec on 'Toys'"):
        render('{{ card_score("shops", "random", "Toys", "GRU4Rec") }}', tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (asked("score", "ndcg@10", variant="y"), "has no ndcg@10 of Office, SASRec, y, full"),
        (asked("score", "ndcg@7"), "has no ndcg@7"),
        (asked("gain_over", "y", "ndcg@10"), "no finished run of Office, SASRec, y, full"),
        (asked("gain_over", "untested", "ndcg@10"), "can't compare"),
        (asked("score", "ndcg@10").replace("trial", "other"), r"README.md.j2: .*other/leaderboard.csv can't be read"),
        ("{{ gian() }}", "'gian' is undefined"),
    ],
)
def test_a_number_that_no_table_has_is_refused_by_name(results: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        render(text, results)


def test_the_readme_is_written_from_its_source_alone(results: Path) -> None:
    assert write_readme(results) is None
    (results / "README.md.j2").write_text("NDCG@10 " + asked("verdict", "ndcg@10") + "\n", encoding="utf-8")
    write_reports(results)
    assert (results / "README.md").read_text(encoding="utf-8") == "NDCG@10 better\n"
