from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from synthetic_runs import Benchmark

from recbole_ext.errors import ConfigurationError
from recbole_ext.report.records import Group, load_records
from recbole_ext.report.significance import Comparison, compare_with_none, holm, load_ranks, user_ndcg

NONE = ("Office", "SASRec", "none", "-", "full")
MINILM = ("Office", "SASRec", "minilm", "full", "full")
FROZEN = ("Office", "SASRec", "minilm", "frozen", "full")


def compare(benchmark: Benchmark) -> tuple[dict[Group, Comparison], list[str]]:
    return compare_with_none(load_records(benchmark.folder), benchmark.folder)


def test_per_user_ndcg_has_the_mean_that_recbole_reports(benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole.evaluator.metrics import NDCG

    record = benchmark.add(quality=0.4)
    ranks = load_ranks(benchmark.folder, record)
    # RecBole's own evaluator on the same ranking: which of a user's top 50 items is the test item
    hits = ranks[:, None] == np.arange(1, 51)
    monkeypatch.setattr(np, "float", float, raising=False)  # RecBole 1.2.1 puts it back itself when it runs
    metric = NDCG({"topk": [10], "metric_decimal_place": 4})
    reported = metric.topk_result("ndcg", metric.metric_info(hits, np.ones(len(ranks), dtype=int)))
    assert reported["ndcg@10"] == record["test"]["ndcg@10"]
    assert user_ndcg(ranks).mean() == pytest.approx(reported["ndcg@10"], abs=5e-5)
    assert 0.1 < reported["ndcg@10"] < 0.9


def test_per_user_ndcg_at_the_edges() -> None:
    expected = [0.0, 1.0, 1 / np.log2(3), 1 / np.log2(11), 0.0, 0.0]
    assert user_ndcg(np.array([0, 1, 2, 10, 11, 50], dtype=np.uint8)).tolist() == pytest.approx(expected)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_value_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1.0, p * len(p_values)) + 1e-12
    assert [c for _, c in sorted(zip(p_values, corrected, strict=True))] == sorted(corrected)


def test_the_test_pairs_users_over_the_seeds_that_both_groups_share(benchmark: Benchmark) -> None:
    quality = {
        ("none", 42): 0.3,
        ("none", 43): 0.32,
        ("none", 44): 0.9,
        ("minilm", 42): 0.33,
        ("minilm", 43): 0.31,
    }
    values = {
        key: user_ndcg(load_ranks(benchmark.folder, benchmark.add(init=key[0], seed=key[1], quality=q)))
        for key, q in quality.items()
    }
    differences = (values["minilm", 42] + values["minilm", 43] - values["none", 42] - values["none", 43]) / 2
    comparisons, notes = compare(benchmark)
    assert set(comparisons) == {MINILM}
    assert comparisons[MINILM].p == pytest.approx(wilcoxon(np.round(differences, 12)).pvalue)
    assert comparisons[MINILM].difference == pytest.approx(differences.mean())
    assert notes == []


def test_marks_say_which_way_a_significant_difference_goes(benchmark: Benchmark) -> None:
    benchmark.add(quality=0.5)
    benchmark.add(init="minilm", quality=0.6)
    benchmark.add(init="minilm", mode="frozen", quality=0.4)
    benchmark.add(init="same", quality=0.5)
    comparisons, _ = compare(benchmark)
    marks = {group[2:4]: comparison.mark for group, comparison in comparisons.items()}
    assert marks == {("minilm", "full"): "better", ("minilm", "frozen"): "worse", ("same", "full"): "tie"}
    assert comparisons["Office", "SASRec", "same", "full", "full"].p == 1.0


def test_a_few_large_gains_against_many_small_losses_are_called_mixed(benchmark: Benchmark) -> None:
    benchmark.add(ranks=np.array([0] * 30 + [9] * 150, dtype=np.uint8))
    benchmark.add(init="minilm", ranks=np.array([1] * 30 + [10] * 150, dtype=np.uint8))
    comparisons, _ = compare(benchmark)
    assert comparisons[MINILM].difference > 0 > comparisons[MINILM].rank_sum
    assert comparisons[MINILM].mark == "mixed"


def test_the_correction_spans_all_comparisons_of_one_dataset_and_protocol_and_no_others(
    benchmark: Benchmark,
) -> None:
    for dataset, protocol in (("Office", "full"), ("Office", "uni100"), ("Arts", "full")):
        benchmark.add(dataset=dataset, protocol=protocol, quality=0.5)
        benchmark.add(dataset=dataset, protocol=protocol, init="minilm", quality=0.505)
    benchmark.add(init="minilm", mode="frozen", quality=0.505)
    benchmark.add(model="GRU4Rec", quality=0.5)
    benchmark.add(model="GRU4Rec", init="minilm", quality=0.505)
    comparisons, _ = compare(benchmark)
    factors = {group: round(c.p_holm / c.p, 3) for group, c in comparisons.items()}
    assert len({c.p for c in comparisons.values()}) == 1
    assert factors.pop(("Office", "SASRec", "minilm", "full", "uni100")) == 1
    assert factors.pop(("Arts", "SASRec", "minilm", "full", "full")) == 1
    assert set(factors.values()) == {3}
    assert FROZEN in factors


def test_without_ranks_there_is_no_test_and_a_note_names_the_run(benchmark: Benchmark) -> None:
    benchmark.add()
    lacking = benchmark.add(init="minilm", with_ranks=False)
    comparisons, notes = compare(benchmark)
    assert comparisons == {}
    assert any(lacking["run"] in note and "no ranks file" in note for note in notes)


def test_without_a_none_partner_there_is_no_test_and_a_note_says_so(benchmark: Benchmark) -> None:
    benchmark.add(init="minilm")
    benchmark.add(model="GRU4Rec")
    benchmark.add(dataset="Arts")
    benchmark.add(protocol="uni100")
    benchmark.add(model="UniSRec", init="minilm", mode="-")  # has no `none`, so nothing is missing
    comparisons, notes = compare(benchmark)
    assert comparisons == {}
    assert notes == ["Office, SASRec, minilm (full), full: no run with `none` to compare with."]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 43}, "no seed"),
        ({"fingerprints": {"dataset": "other"}}, "fingerprint"),
        ({"ranks": np.ones(7, dtype=np.uint8)}, "not of the same users"),
    ],
)
def test_runs_that_cannot_be_paired_are_not_compared(benchmark: Benchmark, changes: dict, said: str) -> None:
    benchmark.add(seed=42)
    benchmark.add(**{"init": "minilm", "seed": 42} | changes)
    comparisons, notes = compare(benchmark)
    assert comparisons == {}
    assert said in " ".join(notes)


def test_ranks_that_contradict_their_record_are_left_out_with_a_note(benchmark: Benchmark) -> None:
    benchmark.add()
    record = benchmark.add(init="minilm")
    np.save(benchmark.folder / "runs" / f"{record['run']}.ranks.npy", np.ones(300, dtype=np.uint8))
    comparisons, notes = compare(benchmark)
    assert comparisons == {}
    assert any(record["run"] in note and "1.0000" in note for note in notes)


@pytest.mark.parametrize("content", [np.ones((3, 2), dtype=np.uint8), np.ones(3), np.ones(0, dtype=np.uint8)])
def test_ranks_of_another_shape_or_kind_are_refused(benchmark: Benchmark, content: np.ndarray) -> None:
    record = benchmark.add()
    np.save(benchmark.folder / "runs" / f"{record['run']}.ranks.npy", content)
    with pytest.raises(ConfigurationError, match="one integer per user"):
        load_ranks(benchmark.folder, record)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_ranks_are_never_unpickled(benchmark: Benchmark, tmp_path: Path) -> None:
    record = benchmark.add()
    trap = np.array([_Trap(tmp_path / "sprung")], dtype=object)
    np.save(benchmark.folder / "runs" / f"{record['run']}.ranks.npy", trap, allow_pickle=True)
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_ranks(benchmark.folder, record)
    assert not (tmp_path / "sprung").exists()
