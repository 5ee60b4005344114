"""Against a row's own baseline: what the interval covers, what is corrected, and what is not tested and why."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import stats
from synthetic_runs import Benchmark, drawn_ranks, made

from recbole_ext.records import RowKey
from recbole_ext.records.ranks import alone
from recbole_ext.report.leaderboard import baselines_of
from recbole_ext.report.ranks import metric_of_ranks
from recbole_ext.report.results import read_results
from recbole_ext.report.significance import (
    Comparisons,
    Difference,
    compare_with_baselines,
    difference_of_means,
    holm,
    mean_gain,
    mean_of_independent,
    ratio_of_means,
)

MINILM = RowKey("Office", "SASRec", "minilm", "full")
SEEDS = (42, 43, 44)


def compare(benchmark: Benchmark, metrics: tuple[str, ...] = ("ndcg@10",)) -> Comparisons:
    results = read_results(benchmark.folder, benchmark.grid())
    return compare_with_baselines(results, baselines_of({r.key: r for r in results}), metrics, benchmark.folder)


def add_both(benchmark: Benchmark, none: float = 0.3, minilm: float = 0.5, **both: Any) -> None:
    for seed in SEEDS:
        benchmark.add(seed=seed, quality=none, **both)
        benchmark.add(seed=seed, quality=minilm, variant="minilm", **both)


# --- the interval ---

values_of = arrays.arrays(float, st.tuples(st.integers(2, 4), st.just(6)), elements=st.floats(0, 1, width=16))


def sides(users: int, seeds: tuple[int, int], reps: int) -> Any:
    """Draws of per-user values of two rows: heavy-tailed users, as many near zero as in NDCG, paired."""
    draw = np.random.default_rng(11)

    def values(of_difference: float, of_seeds: float, of_interaction: float) -> tuple[NDArray[Any], NDArray[Any]]:
        user = draw.exponential(0.06, users)
        drift = draw.normal(0, of_difference, users)
        found = []
        for side, n_seeds in zip((0.5, -0.5), seeds, strict=True):
            noise = draw.exponential(of_interaction, (n_seeds, users)) - of_interaction
            found.append(user + side * drift + draw.normal(0, of_seeds, (n_seeds, 1)) + noise)
        return found[0], found[1]

    return (values for _ in range(reps))


# Standard deviations as found in runs on ml-100k, Office and Scientific: of the difference between users, of seeds, and
# of a user from seed to seed.
SITUATIONS = [
    (4905, (3, 3), 0.07, 0.0, 0.06),
    (4905, (3, 3), 0.07, 0.002, 0.06),
    (8317, (3, 3), 0.05, 0.001, 0.09),
    (943, (3, 3), 0.034, 0.0, 0.12),
    (943, (3, 3), 0.034, 0.005, 0.12),
    (943, (5, 3), 0.034, 0.003, 0.08),
    (943, (3, 3), 0.034, 0.02, 0.08),
]


@pytest.mark.parametrize(("users", "seeds", "of_difference", "of_seeds", "of_interaction"), SITUATIONS)
def test_the_interval_covers_the_truth_as_often_as_it_says(
    users: int, seeds: tuple[int, int], of_difference: float, of_seeds: float, of_interaction: float
) -> None:
    reps = 800 if users > 1000 else 2000
    covered = 0
    for values in sides(users, seeds, reps):
        low, high = difference_of_means(*values(of_difference, of_seeds, of_interaction)).interval
        covered += low <= 0 <= high
    assert 0.93 <= covered / reps <= 0.98


def test_an_interval_over_users_alone_would_cover_too_little() -> None:
    covered = 0
    for values in sides(943, (3, 3), 500):
        ours, others = values(0.034, 0.02, 0.08)
        differences = ours.mean(axis=0) - others.mean(axis=0)
        low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
        covered += low <= 0 <= high
    assert covered / 500 < 0.7


def test_the_interval_of_a_gain_covers_it_as_often_as_it_says_where_the_baseline_is_an_estimate_too() -> None:
    """A gain of a half, of other users: an interval that takes the baseline's mean for known covers too little."""
    draw, covered, covered_of_known = np.random.default_rng(5), 0, 0
    for _ in range(500):
        user, helped, noise = draw.exponential(1.0, 400), draw.random(400), draw.normal(0, 0.05, (6, 400))
        own, others = user + helped + noise[:3], user + noise[3:]
        found = ratio_of_means(own, others)
        covered += found.low <= 0.5 <= found.high
        low, high = (end / float(others.mean()) for end in difference_of_means(own, others).interval)
        covered_of_known += low <= 0.5 <= high
    assert 0.93 <= covered / 500 <= 0.98
    assert covered_of_known / 500 < 0.9


@given(values_of, values_of)
@example(np.zeros((2, 6)), np.vstack([[0.0, *[0.53125] * 5], [0.53125] * 6]))  # once failed: of rounding alone
@settings(max_examples=200, deadline=None)
def test_the_interval_of_a_gain_leaves_zero_out_just_where_the_difference_is_shown(
    ours: NDArray[Any], others: NDArray[Any]
) -> None:
    found, p = ratio_of_means(ours, others), difference_of_means(ours, others).p
    if not others.mean():
        assert math.isnan(found.gain)
    elif abs(p - 0.05) > 1e-6:
        assert found.low <= found.gain <= found.high
        assert (found.low >= 0 or found.high <= 0) == (p < 0.05) or found.gain == 0


def test_spread_that_rounding_alone_makes_is_no_spread_of_seeds() -> None:
    """Seeds that differ by one user's value: their mean square is that of the interaction, whatever the unit."""
    ours, others = np.zeros((2, 6)), np.full((2, 6), 0.53125)
    others[0, 0] = 0.0
    freedom = [difference_of_means(ours, unit * others).freedom for unit in (0.001, 0.01, 0.5, 1.0, 3.0)]
    assert freedom == pytest.approx([5.0] * 5)


def test_a_gain_is_no_matter_of_units_and_open_where_the_baseline_may_be_at_zero() -> None:
    draw = np.random.default_rng(0)
    ours, others = draw.random((3, 50)), draw.random((3, 50))
    seven, one = ratio_of_means(7 * ours, 7 * others), ratio_of_means(ours, others)
    assert (seven.low, seven.high) == pytest.approx((one.low, one.high))
    rare = np.zeros((3, 50))
    rare[:, 0] = 1.0
    assert ratio_of_means(ours, rare).high == math.inf


def test_by_hand() -> None:
    """Two users, two seeds a side; the interaction's mean squares are 0.5 and 0, those of the seeds 0.5 and 2."""
    ours = np.array([[1.0, 2.0], [3.0, 2.0]])  # means of users 2, 2; of seeds 1.5, 2.5; interaction ± 0.5
    others = np.array([[0.0, 1.0], [2.0, 3.0]])  # means of users 1, 2; of seeds 0.5, 2.5; no interaction
    found = difference_of_means(ours, others)
    of_users = 0.5 / 2  # differences 1, 0 of variance 0.5
    of_seeds = (0.5 - 1.0 / 2) / 2 + (2.0 - 0.0) / 2
    pooled = (0.5 / 2) ** 2 + (2.0 / 2) ** 2
    assert found.mean == pytest.approx(0.5)
    assert found.error == pytest.approx(math.sqrt(of_users + of_seeds))
    assert found.freedom == pytest.approx((of_users + of_seeds) ** 2 / (of_users**2 + pooled))


def test_without_any_spread_between_seeds_it_is_the_paired_t_test_over_users() -> None:
    draw = np.random.default_rng(0)
    ours, others = draw.random((1, 50)).repeat(3, axis=0), draw.random((1, 50)).repeat(3, axis=0)
    found = difference_of_means(ours, others)
    expected = stats.ttest_rel(ours[0], others[0])
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


@given(values_of, values_of)
@example(np.zeros((2, 6)), np.vstack([[0.0, *[0.53125] * 5], [0.53125] * 6]))  # once failed: of rounding alone
@settings(max_examples=200, deadline=None)
def test_turning_the_sides_turns_the_difference_and_p_agrees_with_the_interval(
    ours: NDArray[Any], others: NDArray[Any]
) -> None:
    found, turned = difference_of_means(ours, others), difference_of_means(others, ours)
    assert found.mean == pytest.approx(-turned.mean)
    assert found.interval == pytest.approx((-turned.interval[1], -turned.interval[0]), abs=1e-9)
    low, high = found.interval
    if abs(found.p - 0.05) > 1e-6:
        assert (low > 0 or high < 0) == (found.p < 0.05)


def test_equal_rows_do_not_differ() -> None:
    same = np.ones((3, 10))
    assert (difference_of_means(same, same).p, difference_of_means(same, same).interval) == (1.0, (0.0, 0.0))
    assert difference_of_means(same, same - 0.5).p == 0.0


# --- the correction ---


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_value_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert p <= c <= min(1.0, p * len(p_values)) + 1e-12
    assert [c for _, c in sorted(zip(p_values, corrected, strict=True))] == sorted(corrected)


def test_the_correction_spans_all_comparisons_of_a_dataset_and_protocol_metric_by_metric(benchmark: Benchmark) -> None:
    for dataset, protocol in (("Office", "full"), ("Office", "uni100"), ("Arts", "full")):
        add_both(benchmark, 0.5, 0.52, dataset=dataset, protocol=protocol)
    add_both(benchmark, 0.5, 0.52, model="GRU4Rec")
    for seed in SEEDS:
        benchmark.add(variant="tuned", seed=seed, quality=0.52)
    made = compare(benchmark, ("ndcg@10", "recall@10")).made
    factors = {compared: round(c.p_holm / c.p, 3) for compared, c in made.items()}
    assert len(made) == 10
    for (key, _), factor in factors.items():
        assert factor == (3 if (key.dataset, key.protocol) == ("Office", "full") else 1)


def test_the_correction_spans_the_protocols_that_a_study_compares_with_one(benchmark: Benchmark) -> None:
    for protocol, quality in (("short", 0.5), ("long", 0.52), ("longer", 0.53), ("longest", 0.54)):
        for seed in SEEDS:
            benchmark.add(protocol=protocol, quality=quality, seed=seed)
    short, *others = read_results(benchmark.folder, benchmark.grid())
    made = compare_with_baselines([short, *others], {o.key: short for o in others}, ["ndcg@10"], benchmark.folder).made
    corrected = [comparison.p_holm for comparison in made.values()]
    assert corrected == pytest.approx(holm(comparison.p for comparison in made.values())) and len(corrected) == 3


# --- rows against their baselines ---


def test_each_metric_is_compared_by_its_own_values_over_all_users_and_seeds(benchmark: Benchmark) -> None:
    add_both(benchmark)
    made = compare(benchmark, ("ndcg@10", "ndcg@5", "recall@10")).made
    ours, others = (alone(np.stack([drawn_ranks(300, quality, seed) for seed in SEEDS])) for quality in (0.5, 0.3))
    for metric in ("ndcg@10", "ndcg@5", "recall@10"):
        expected = difference_of_means(metric_of_ranks(metric, ours), metric_of_ranks(metric, others))
        comparison = made[MINILM, metric]
        assert (comparison.low, comparison.high) == pytest.approx(expected.interval)
        assert (comparison.difference, comparison.p) == pytest.approx((expected.mean, expected.p))
    assert len({comparison.p for comparison in made.values()}) == 3


def test_marks_say_which_way_a_difference_goes(benchmark: Benchmark) -> None:
    for variant, quality in (("none", 0.5), ("better", 0.7), ("worse", 0.3), ("same", 0.5)):
        for seed in SEEDS:
            benchmark.add(variant=variant, quality=quality, seed=seed)
    made = compare(benchmark).made
    assert {key.variant: comparison.mark for (key, _), comparison in made.items()} == {
        "better": "better",
        "worse": "worse",
        "same": "tie",
    }


def test_no_name_is_magic_a_row_is_compared_with_the_baseline_it_names(benchmark: Benchmark) -> None:
    for variant, quality, baseline in (("none", 0.9, "wide"), ("wide", 0.3, None), ("minilm", 0.5, "wide")):
        for seed in SEEDS:
            benchmark.add(variant=variant, quality=quality, seed=seed)
        benchmark.rows[RowKey("Office", "SASRec", variant, "full")]["baseline"] = baseline
    made = compare(benchmark).made
    assert {key.variant: comparison.mark for (key, _), comparison in made.items()} == {
        "none": "better",
        "minilm": "better",
    }


def test_other_seeds_than_the_baseline_s_do_as_well(benchmark: Benchmark) -> None:
    for seed in SEEDS:
        benchmark.add(seed=seed)
    for seed in range(5):
        benchmark.add(variant="minilm", seed=seed, quality=0.6)
    assert compare(benchmark).made[MINILM, "ndcg@10"].mark == "better"


def add_tunings(benchmark: Benchmark, tunings: dict[int, str], quality: float = 0.6) -> None:
    """Runs of ``minilm`` by seed, each with the store of the tuning named."""
    for seed, store in tunings.items():
        benchmark.add(variant="minilm", seed=seed, quality=quality, store_fingerprint=store * 64)


def test_runs_of_one_tuning_are_one_draw(benchmark: Benchmark) -> None:
    tunings = {42: "a", 43: "b", 44: "c", 45: "a", 46: "b", 47: "c"}
    for seed in tunings:
        benchmark.add(seed=seed)
    add_tunings(benchmark, tunings)
    found = compare(benchmark).made[MINILM, "ndcg@10"]
    values = {
        name: metric_of_ranks("ndcg@10", alone(np.stack([drawn_ranks(300, quality, seed) for seed in tunings])))
        for name, quality in (("none", 0.3), ("minilm", 0.6))
    }
    of_tunings = np.stack([values["minilm"][[number, number + 3]].mean(axis=0) for number in range(3)])
    expected = difference_of_means(of_tunings, values["none"])
    assert (found.difference, found.low, found.high) == pytest.approx((expected.mean, *expected.interval))


def test_runs_of_a_model_that_reads_text_are_one_draw_where_they_begin_from_one_tuned_encoder(
    benchmark: Benchmark,
) -> None:
    for seed, tuning in enumerate("abab"):
        benchmark.add(seed=seed)
        config = made()["config"] | {"encoder": f"artifacts/encoders/recformer-{tuning}"}
        benchmark.add(variant="minilm", mode="text", seed=seed, store_fingerprint=None, config=config)
    assert compare(benchmark).untested[MINILM] == "no test: needs 3 tuning seeds, has 2"


def test_three_tunings_are_needed_however_many_runs_there_are(benchmark: Benchmark) -> None:
    for seed in range(4):
        benchmark.add(seed=seed)
    add_tunings(benchmark, dict(enumerate("abab")))
    assert compare(benchmark).untested[MINILM] == "no test: needs 3 tuning seeds, has 2"


def test_the_interval_over_tunings_covers_the_truth_as_often_as_it_says() -> None:
    """Three tunings of two runs each against six runs without: what a tuning brings about, its runs share."""
    draw, reps, covered = np.random.default_rng(5), 1000, 0
    for _ in range(reps):
        user = draw.exponential(0.06, 900)
        tuning = np.repeat(draw.normal(0, 0.003, 3), 2)
        runs = draw.normal(0, 0.002, 12)
        ours, others = (
            user + side[:, None] + draw.exponential(0.08, (6, 900)) - 0.08 for side in (tuning + runs[:6], runs[6:])
        )
        low, high = difference_of_means(ours.reshape(3, 2, -1).mean(axis=1), others).interval
        covered += low <= 0 <= high
    assert 0.93 <= covered / reps <= 0.985


@pytest.mark.parametrize(
    ("ours", "others", "said"),
    [((42, 43), SEEDS, "needs 3 seeds, has 2"), (SEEDS, (42,), "needs 3 seeds, none has 1")],
)
def test_below_three_seeds_on_either_side_there_is_no_test_and_it_says_why(
    benchmark: Benchmark, ours: tuple[int, ...], others: tuple[int, ...], said: str
) -> None:
    for seed in others:
        benchmark.add(seed=seed, quality=0.1)
    for seed in ours:
        benchmark.add(variant="minilm", seed=seed, quality=0.9)
    found = compare(benchmark)
    assert found.made == {}
    assert said in found.untested[MINILM]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"with_ranks": False}, "no ranks were kept"),
        ({"ranks": np.ones(7, dtype=np.int32)}, "other users or data"),
        ({"test_interactions": np.zeros(300)}, "other users or data"),
    ],
)
def test_rows_that_can_not_be_paired_are_not_compared(benchmark: Benchmark, changes: Any, said: str) -> None:
    for seed in SEEDS:
        benchmark.add(seed=seed)
        benchmark.add(variant="minilm", seed=seed, **changes)
    found = compare(benchmark)
    assert found.made == {}
    assert said in found.untested[MINILM]


def test_where_users_have_several_test_items_only_what_ranks_decide_is_tested(benchmark: Benchmark) -> None:
    add_both(benchmark, popularity=None)
    found = compare(benchmark, ("ndcg@10", "mrr@10"))
    assert [metric for _, metric in found.made] == ["mrr@10"]
    assert found.untested[MINILM] == "no test: ranks do not decide NDCG@10"


def test_test_rows_of_one_user_are_not_taken_for_independent_ones(benchmark: Benchmark) -> None:
    add_both(benchmark, popularity=None, tested=300)
    found = compare(benchmark, ("mrr@10",))
    assert found.made == {}
    assert found.untested[MINILM] == "no test: users have several test rows, which are not independent"


def test_files_alone_tell_the_data_where_users_have_several_test_items(benchmark: Benchmark) -> None:
    for seed in SEEDS:
        benchmark.add(seed=seed, popularity=None)
        benchmark.add(variant="minilm", seed=seed, popularity=None, dataset_fingerprint="e" * 64)
    assert "other users or data" in compare(benchmark, ("mrr@10",)).untested[MINILM]


def test_ranks_that_contradict_their_record_are_left_out_with_a_note(benchmark: Benchmark) -> None:
    add_both(benchmark)
    run = f"{benchmark.folder}/runs/Office-SASRec-minilm-full-s42.ranks.npy"
    np.save(run, np.ones(300, dtype=np.int32))
    found = compare(benchmark)
    assert found.made == {}
    assert "can't be used" in found.untested[MINILM]
    (note,) = found.notes
    assert "minilm-full-s42.ranks.npy gives recall@1 1.0000" in note


# --- means over rows ---


def test_the_mean_of_independent_differences_is_as_sure_as_their_variances_say() -> None:
    one, other = Difference(0.1, 0.03, 10.0), Difference(0.3, 0.04, 20.0)
    mean = mean_of_independent([one, other])
    assert mean.mean == pytest.approx(0.2) and mean.error == pytest.approx(0.025)
    assert 10 < mean.freedom < 30
    alone = mean_of_independent([one])
    assert (alone.mean, alone.error, alone.freedom) == pytest.approx((0.1, 0.03, 10.0))
    assert mean_of_independent([Difference(0.0, 0.0, math.inf)]).interval == (0.0, 0.0)


def gain_of(benchmark: Benchmark, *models: str) -> Difference | str:
    results = {r.key: r for r in read_results(benchmark.folder, benchmark.grid())}
    pairs = [(results[MINILM._replace(model=m)], results[MINILM._replace(model=m, variant="none")]) for m in models]
    return mean_gain(pairs, "ndcg@10", benchmark.folder)


def test_the_mean_gain_is_relative_to_each_rows_own_baseline(benchmark: Benchmark) -> None:
    gains = []
    for model, quality in (("SASRec", 0.3), ("BERT4Rec", 0.5)):
        add_both(benchmark, quality, quality + 0.1, model=model)
        gain = gain_of(benchmark, model)
        assert isinstance(gain, Difference)
        gains.append(gain)
    both = gain_of(benchmark, "SASRec", "BERT4Rec")
    assert isinstance(both, Difference)
    assert both.mean == pytest.approx((gains[0].mean + gains[1].mean) / 2)


def test_two_models_tested_on_the_same_users_are_not_twice_as_many_users(benchmark: Benchmark) -> None:
    for model in ("SASRec", "Twin"):  # the same draws for both
        add_both(benchmark, 0.3, 0.5, model=model)
    one, both = gain_of(benchmark, "SASRec"), gain_of(benchmark, "SASRec", "Twin")
    assert isinstance(one, Difference) and isinstance(both, Difference)
    assert (both.mean, both.error) == pytest.approx((one.mean, one.error))


def test_a_mean_gain_without_a_test_says_why(benchmark: Benchmark) -> None:
    add_both(benchmark)
    benchmark.add(model="Few", quality=0.3)
    benchmark.add(model="Few", quality=0.4, variant="minilm")
    assert "needs 3 seeds" in str(gain_of(benchmark, "SASRec", "Few"))


def test_runs_of_one_tuning_are_one_draw_of_the_mean_gain_too(benchmark: Benchmark) -> None:
    tunings = dict(enumerate("abcabc"))
    for seed in tunings:
        benchmark.add(seed=seed)
    add_tunings(benchmark, tunings)
    gain, found = gain_of(benchmark, "SASRec"), compare(benchmark).made[MINILM, "ndcg@10"]
    assert isinstance(gain, Difference)
    assert (gain.mean, *gain.interval) == pytest.approx((found.gain.gain, found.gain.low, found.gain.high), rel=0.05)
