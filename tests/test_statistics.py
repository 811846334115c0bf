"""Statistics against independent computations: enumeration, scipy, and simulation of what they promise."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from benchmarks.seeds import STUDIES, rates

from smolmath.evaluation.paired import Paired
from smolmath.evaluation.suite import average, carried_by
from smolmath.evaluation.trainings import difference_of_settings, spread
from smolmath.evaluation.uncertainty import (
    Estimate,
    bootstrap,
    bootstrap_p,
    holm,
    interval_p,
    mcnemar,
    mean,
    mean_and_se,
    paired_mean,
    paired_share,
    pass_at_k,
    problems_needed,
    quantile_95,
    share,
    suite_average,
    wilson,
)

SIMULATED = 2_000


@pytest.mark.parametrize(
    ("values", "expected", "se"),
    [
        ([1.0, 0.0], 0.5, 0.5),  # variance ((0.5² + 0.5²) / 1) = 0.5; sqrt(0.5 / 2) = 0.5
        ([1.0, 1.0, 0.0, 0.0], 0.5, math.sqrt(1 / 3 / 4)),  # variance 4 × 0.25 / 3
        ([1.0, 1.0, 1.0], 1.0, 0.0),
        ([0.25], 0.25, 0.0),
    ],
)
def test_mean_and_standard_error_by_hand(values, expected, se):
    assert mean_and_se(values) == (pytest.approx(expected), pytest.approx(se))


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        mean_and_se([])


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (500, 1319), (1, 1)])
def test_wilsons_interval_is_scipys(right, n):
    theirs = scipy.stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))


@pytest.mark.parametrize(("k", "n"), [(4, 256), (3, 30), (5, 64), (10, 40)])
def test_the_bootstrap_interval_is_scipys_within_its_own_noise(k, n):
    values = np.random.default_rng(1).binomial(k, np.random.default_rng(2).beta(2, 1, n)) / k
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=3).confidence_interval
    low, high = bootstrap(list(values))
    # Means come in steps, and the ends may fall on a neighbouring one; scipy takes some ties for none, by rounding.
    step = 1 / (k * n)
    assert (low, high) == (pytest.approx(theirs.low, abs=2.01 * step), pytest.approx(theirs.high, abs=2.01 * step))


def test_an_interval_is_the_same_each_time_and_without_spread_it_is_not_empty():
    values = [0.0, 0.25, 1.0, 1.0, 0.5]
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap([1.0] * 50) == wilson(50, 50)
    low, high = paired_mean([0.5] * 50, [0.5] * 50).low, paired_mean([0.5] * 50, [0.5] * 50).high
    assert low < 0 < high


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 1), (9, 3), (12, 12), (40, 22), (100, 171)])
def test_mcnemars_p_is_the_binomial_tests(gained, lost):
    expected = scipy.stats.binomtest(lost, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected)


def test_pass_at_k_is_the_share_of_all_draws_that_hold_a_right_one():
    for n, right in itertools.product(range(1, 7), range(7)):
        for k in range(1, n + 1) if right <= n else ():
            draws = list(itertools.combinations([True] * right + [False] * (n - right), k))
            assert pass_at_k(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_holms_correction_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04; never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]


def test_the_95_percent_quantile_lies_within_its_interval_which_holds_the_true_one():
    generator = np.random.default_rng(5)
    within = 0
    for _ in range(SIMULATED):
        found = quantile_95(list(generator.exponential(size=300)))
        assert found.low <= found.value <= found.high
        within += found.low <= -math.log(0.05) <= found.high
    assert within / SIMULATED > 0.94


# What an interval promises: it holds the true value in 95 of 100 evaluations.


@pytest.mark.parametrize(("p", "n"), [(0.1, 256), (0.5, 256), (0.75, 1319), (0.96, 256)])
def test_wilsons_interval_holds_the_true_accuracy_as_often_as_it_says(p, n):
    right = np.random.default_rng(10).binomial(n, p, SIMULATED)
    covered = sum(low <= p <= high for low, high in (wilson(int(r), n) for r in right))
    assert 0.93 <= covered / SIMULATED <= 0.97


@pytest.mark.parametrize(
    "parts",
    [
        [(0.75, 256), (0.5, 256)],
        [(0.62, 1319), (0.31, 500), (0.05, 30), (0.12, 40)],  # GSM8K, MATH-500, AIME, AMC
        [(0.97, 300), (0.99, 200), (0.9, 60)],
    ],
)
def test_the_interval_of_a_suites_average_holds_the_true_one_as_often_as_it_says(parts):
    """Benchmarks of other sizes and accuracies, some near 0 and 1."""
    generator = np.random.default_rng(13)
    truth = np.mean([p for p, _ in parts])
    right = [generator.binomial(n, p, SIMULATED) for p, n in parts]
    covered = 0
    for draw in zip(*right, strict=True):
        average = suite_average(
            [share([True] * int(r) + [False] * (n - int(r))) for r, (_, n) in zip(draw, parts, strict=True)]
        )
        covered += average.low <= truth <= average.high
    assert 0.93 <= covered / SIMULATED <= 0.97


def chances(generator, n, a, b):
    """Problems differ in how often they are solved."""
    return generator.beta(a, b, n)


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b", "n"), [(1, 1, 128), (4, 1, 256), (0.5, 3, 256)])
def test_the_bootstrap_interval_holds_the_true_mean_as_often_as_it_says(a, b, n):
    generator = np.random.default_rng(11)
    truth, covered = a / (a + b), 0
    for _ in range(SIMULATED):
        low, high = bootstrap(list(generator.binomial(4, chances(generator, n, a, b)) / 4))
        covered += low <= truth <= high
    assert 0.93 <= covered / SIMULATED <= 0.97


def pairs(generator, n, *, gain=0.0):
    """Greedy verdicts of two models on the same problems, alike through what the problems are like.

    Chances lie in 0…0.8, so that `gain` up to 0.2 is the true difference.
    """
    p = 0.8 * chances(generator, n, 1.5, 1.5)
    return generator.random(n) < p, generator.random(n) < p + gain


@pytest.mark.parametrize("gain", [0.02, 0.15])
def test_the_paired_interval_holds_a_true_difference(gain):
    generator = np.random.default_rng(16)
    covered = 0
    for _ in range(SIMULATED):
        found = paired_share(*map(list, pairs(generator, 256, gain=gain)))
        covered += found.low <= gain <= found.high
    assert 0.93 <= covered / SIMULATED <= 0.97


def test_the_paired_interval_holds_the_true_difference_and_mcnemar_alarms_as_often_as_it_may():
    generator = np.random.default_rng(12)
    covered = alarms = 0
    for _ in range(SIMULATED):
        before, after = pairs(generator, 1319)
        found = paired_share(list(before), list(after))
        covered += found.low <= 0 <= found.high
        alarms += mcnemar(int((after & ~before).sum()), int((before & ~after).sum())) < 0.05
    assert 0.93 <= covered / SIMULATED <= 0.97
    assert 0.04 <= alarms / SIMULATED <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("n", [64, 256])
def test_the_paired_bootstrap_alarms_as_often_as_it_may_and_its_interval_holds_the_true_difference(n):
    generator = np.random.default_rng(13)
    covered = alarms = 0
    for _ in range(SIMULATED):
        p = chances(generator, n, 1.5, 1.5)
        before, after = generator.binomial(4, p) / 4, generator.binomial(4, p) / 4
        found = paired_mean(list(before), list(after))
        covered += found.low <= 0 <= found.high
        alarms += bootstrap_p(list(after - before)) < 0.05
    assert 0.93 <= covered / SIMULATED <= 0.97
    assert 0.04 <= alarms / SIMULATED <= 0.06


def test_the_paired_bootstraps_p_is_a_sign_flip_tests_within_noise():
    generator = np.random.default_rng(14)
    differences = generator.binomial(4, 0.55, 200) / 4 - generator.binomial(4, 0.5, 200) / 4
    flips = generator.choice([-1, 1], (20_000, 200)) * differences
    theirs = (np.abs(flips.mean(axis=1)) >= abs(differences.mean()) - 1e-12).mean()
    assert bootstrap_p(list(differences)) == pytest.approx(theirs, abs=0.02)


def test_as_many_problems_as_are_said_to_be_needed_show_the_difference_in_four_of_five_evaluations():
    n = problems_needed(0.05, 0.3)
    generator = np.random.default_rng(15)
    seen = 0
    for _ in range(SIMULATED):
        gained = generator.binomial(n, 0.175)  # 0.175 − 0.125 = 0.05, 0.175 + 0.125 = 0.3
        lost = generator.binomial(n - gained, 0.125 / 0.825)
        seen += mcnemar(int(gained), int(lost)) < 0.05
    assert 0.77 <= seen / SIMULATED <= 0.83
    with pytest.raises(ValueError, match="cannot be"):
        problems_needed(0.3, 0.2)


def test_estimates_carry_value_error_and_interval():
    found = share([True, False, True, True])
    assert (found.value, found.se) == mean_and_se([1.0, 0.0, 1.0, 1.0])
    assert (found.low, found.high) == wilson(3, 4)
    found = mean([0.0, 0.5, 1.0])
    assert found.low <= found.value <= found.high


# Two settings, each trained several times: the same promise, with seeds drawn as well as problems.


@pytest.mark.parametrize("study", STUDIES[2:4] + STUDIES[8:], ids=lambda study: study[0])
def test_the_interval_of_two_settings_holds_the_truth_and_one_training_a_side_does_not(study):
    _, world, trainings, problems, samples = study
    found = rates(world, trainings, problems, samples, studies=SIMULATED)
    assert 0.93 <= found.held <= 0.97
    if not world.gain:
        assert 0.03 <= found.alarmed <= 0.07
        assert found.alarmed_by_problem > 0.2
    assert found.held_by_problem < 0.8


def test_trainings_without_any_spread_are_compared_as_one_a_side():
    right, wrong = np.ones((3, 50)), np.zeros((2, 50))
    (estimate, p), (same, p_same) = (
        difference_of_settings([wrong], [right]),
        difference_of_settings([right], [right[:2]]),
    )
    assert (estimate.value, estimate.se, p) == (1.0, 0.0, 2.0**-49)
    assert (same.value, p_same) == (0.0, 1.0)
    assert same.low < 0 < same.high


def test_the_variance_of_two_settings_by_hand():
    before, after = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    # Means of trainings 1/2, 0 and 1, 1/2: each side's variance 1/8, over 2 trainings 1/16; 1/8 in all.
    # Problems differ by 1/2 and 1/2: they add nothing. Of Welch's 1/8² / (2 · (1/16)² / 1) = 2 degrees of freedom.
    estimate, p = difference_of_settings([before], [after])
    assert (estimate.value, estimate.se) == (0.5, pytest.approx(math.sqrt(1 / 8)))
    assert p == pytest.approx(2 * scipy.stats.t.sf(0.5 / math.sqrt(1 / 8), 2))
    assert estimate.high == min(1.0, 0.5 + scipy.stats.t.ppf(0.975, 2) * math.sqrt(1 / 8))
    assert spread([before], [after]) == pytest.approx(math.sqrt(1 / 8))


def part(value, half=0.02, *, se=0.01, n=10):
    """A dataset's difference of greedy accuracy, with an interval of ± half."""
    estimate = Estimate(value, se, value - half, value + half)
    return Paired("accuracy", 1, n, 0.4, 0.4 + value, estimate, 0.5, 3, 2)


def test_the_average_of_datasets_by_hand():
    found = average({"a": part(0.06, n=10), "b": part(0.0, se=0.03, half=0.04, n=1000)})
    assert (found.n, found.gained, found.lost) == (1010, 6, 4)
    assert (found.before, found.after) == (pytest.approx(0.4), pytest.approx(0.43))
    assert found.difference.value == pytest.approx(0.03)  # each counts the same, whatever its size
    assert found.difference.se == pytest.approx(math.hypot(0.01, 0.03) / 2)
    half = math.hypot(0.02, 0.04) / 2
    assert (found.difference.low, found.difference.high) == (pytest.approx(0.03 - half), pytest.approx(0.03 + half))
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(0.03 * scipy.stats.norm.ppf(0.975) / half))


def test_p_of_an_interval_is_below_0_05_where_that_leaves_out_0():
    assert interval_p(Estimate(0.1, 0.05, 0.0, 0.3)) == pytest.approx(0.05)
    assert interval_p(Estimate(0.1, 0.05, 0.001, 0.3)) < 0.05 < interval_p(Estimate(0.1, 0.05, -0.001, 0.3))
    assert interval_p(Estimate(-0.1, 0.05, -0.9, 0.0)) == pytest.approx(0.05)
    assert interval_p(Estimate(0.0, 0.0, -0.1, 0.1)) == 1.0


@pytest.mark.parametrize(
    ("differences", "carrying", "against"),
    [
        ({"a": 0.08, "b": 0.05, "c": 0.04}, ["a", "b"], []),  # 8 of 17 are less than half
        ({"a": 0.05, "b": 0.09, "c": -0.01}, ["b"], []),  # c: its interval holds 0
        ({"a": 0.01, "b": 0.09, "c": -0.03}, ["b"], ["c"]),
        ({"a": -0.08, "b": -0.01, "c": 0.03}, ["a"], ["c"]),
    ],
)
def test_what_carries_an_average_is_the_fewest_datasets_that_make_more_than_half_of_it(differences, carrying, against):
    assert carried_by({name: part(value) for name, value in differences.items()}) == (carrying, against)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_two_models_average_over_a_suite_is_held_and_alarms_as_often_as_is_said(gain):
    """Four datasets, one of thirty problems; where there is a gain it is on two of them."""
    generator = np.random.default_rng(17)
    held = alarmed = 0
    for _ in range(SIMULATED):
        parts = {}
        for name, n, by in (("a", 256, gain), ("b", 30, 0.0), ("c", 100, gain), ("d", 500, 0.0)):
            before, after = pairs(generator, n, gain=by)
            estimate = paired_share(before.tolist(), after.tolist())
            parts[name] = Paired("accuracy", 1, n, 0.0, 0.0, estimate, 1.0, 0, 0)
        found = average(parts)
        held += found.difference.low <= gain / 2 <= found.difference.high
        alarmed += found.p < 0.05
    assert 0.93 <= held / SIMULATED <= 0.97
    if gain == 0:
        assert 0.03 <= alarmed / SIMULATED <= 0.06


@pytest.mark.slow
def test_seeds_that_move_a_whole_suite_are_counted_once_and_not_by_dataset():
    """Three trainings a side, each ± 5 points on all of four datasets at once; no difference between the settings."""
    generator = np.random.default_rng(5)
    alarmed = alarmed_by_dataset = 0
    for _ in range(SIMULATED // 4):
        chances = [0.6 * generator.beta(1.5, 1.5, 200) + 0.2 for _ in range(4)]
        seeds = generator.normal(0, 0.05, (2, 3))
        before, after = (
            [(generator.random((3, 200)) < chance + side[:, None]).astype(float) for chance in chances]
            for side in seeds
        )
        alarmed += difference_of_settings(before, after)[1] < 0.05
        alone = [difference_of_settings([one], [two])[0] for one, two in zip(before, after, strict=True)]
        alarmed_by_dataset += interval_p(suite_average(alone)) < 0.05
    assert alarmed / (SIMULATED // 4) <= 0.08
    assert alarmed_by_dataset / (SIMULATED // 4) > alarmed / (SIMULATED // 4)
