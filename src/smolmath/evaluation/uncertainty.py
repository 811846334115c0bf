"""Intervals and tests for means over problems. Problems are the unit: completions of one problem are no independent
evidence.

Every interval is at 95 %, every p value two-sided. The bootstrap's random numbers are its own and always the same, so
that a result is the same each time it is computed. tests/test_statistics.py holds each function against enumeration,
scipy and simulation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
DRAWN_AT_ONCE = 1_000  # a divisor of RESAMPLES; as many rows of 8 bytes per distinct value are held
_NORMAL = NormalDist()
Z = _NORMAL.inv_cdf(0.5 + LEVEL / 2)  # 1.96


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its standard error and its 95 % interval."""

    value: float
    se: float
    low: float
    high: float


def mean_and_se(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error, sd / √n with n − 1 in the variance; the error of one value is 0.

    Raises: ValueError for no values.
    """
    if not values:
        raise ValueError("the mean of no values is asked for")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, 0.0
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def share(flags: Sequence[bool]) -> Estimate:
    """The share of problems for which something holds, with Wilson's interval."""
    value, se = mean_and_se([float(flag) for flag in flags])
    return Estimate(value, se, *wilson(sum(flags), len(flags)))


def mean(values: Sequence[float]) -> Estimate:
    """The mean of one value per problem, with its bootstrap interval."""
    return Estimate(*mean_and_se(values), *bootstrap(values))


def suite_average(means: Sequence[Estimate]) -> Estimate:
    """The mean of several datasets' means, each counting the same, whatever its size.

    The datasets are the suite that was chosen, and no draw from others: the error is of the problems in them. The
    interval adds up the distances from each value to the ends of its own interval, in squares, so that it is right
    where those are, near 0 and 1 too.
    Source: Zou and Donner, Statistics in Medicine 27 (2008), equations 2 and 3.
    """
    n = len(means)
    value = math.fsum(mean.value for mean in means) / n
    se = math.sqrt(math.fsum(mean.se**2 for mean in means)) / n
    below = math.sqrt(math.fsum((mean.value - mean.low) ** 2 for mean in means)) / n
    above = math.sqrt(math.fsum((mean.high - mean.value) ** 2 for mean in means)) / n
    return Estimate(value, se, value - below, value + above)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Interval of a share; unlike ± 1.96 SE it is right near 0 and 1, and is never empty.

    Source: Wilson 1927; Brown, Cai and DasGupta, Statistical Science 16 (2001), equation 4.

    >>> "{:.3f} {:.3f}".format(*wilson(20, 20))  # 1 / (1 + 1.96² / 20) = 0.839
    '0.839 1.000'
    """
    p = successes / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """Interval of a mean over problems, which are drawn again with replacement; bias-corrected and accelerated.

    Where all values are equal, drawing again shows no spread: in 0…1 it is then Wilson's, for as many problems.

    Source: Efron, JASA 82 (1987); Efron and Tibshirani, An Introduction to the Bootstrap (1993), 14.3.
    """
    array = np.asarray(values, dtype=float)
    centre = float(array.mean())
    if np.ptp(array) == 0:
        return wilson(centre * len(array), len(array)) if 0 <= centre <= 1 else (centre, centre)
    means = np.sort(_resampled(array)[0])
    tie = 1e-9 * float(np.ptp(array))  # draws with the same sum differ in the last bits
    below = (np.searchsorted(means, centre - tie) + np.searchsorted(means, centre + tie)) / 2 / RESAMPLES
    bias = _NORMAL.inv_cdf(min(max(below, 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    deviations = array - centre
    acceleration = float((deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5))
    ends = []
    for z in (bias - Z, bias + Z):
        quantile = _NORMAL.cdf(bias + z / (1 - acceleration * z))
        ends.append(float(np.quantile(means, quantile)))
    return ends[0], ends[1]


def paired_share(before: Sequence[bool], after: Sequence[bool]) -> Estimate:
    """after − before, of two shares over the same problems, with the interval of Bonett and Price.

    One problem more is counted in each way of disagreeing, which keeps the interval honest where hardly any disagree.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 37 (2012).
    """
    n = len(before)
    gained = sum(b and not a for a, b in zip(before, after, strict=True))
    lost = sum(a and not b for a, b in zip(before, after, strict=True))
    value, se = mean_and_se([float(b) - float(a) for a, b in zip(before, after, strict=True)])
    p_gained, p_lost = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * math.sqrt((p_gained + p_lost - (p_gained - p_lost) ** 2) / (n + 2))
    centre = p_gained - p_lost
    return Estimate(value, se, max(-1.0, centre - half), min(1.0, centre + half))


def paired_mean(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """after − before, of two means over the same problems, with the bootstrap interval of the difference."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    value, se = mean_and_se(differences)
    if len(set(differences)) == 1:  # no spread to draw from; as wide as for shares of which hardly any disagree
        none = [False] * len(differences)
        return Estimate(value, se, *_shifted(paired_share(none, none), value))
    return Estimate(value, se, *bootstrap(differences))


def mcnemar(gained: int, lost: int) -> float:
    """Exact p of as uneven a division of the problems on which two models disagree, were each a fair coin's.

    Source: McNemar 1947; the binomial test of `lost` in `gained + lost`.

    >>> mcnemar(5, 1)  # 0, 1, 5 or 6 of 6 coins: 2 · (1 + 6) / 2⁶
    0.21875
    """
    n, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, i) for i in range(fewer + 1))
    return min(1.0, float(Fraction(2 * tail, 2**n)))


def interval_p(found: Estimate) -> float:
    """p of a value as far from 0, as a normal's with the width that its interval has towards 0: below 0.05 where that
    leaves 0 out."""
    if found.value == 0:
        return 1.0
    width = found.value - found.low if found.value > 0 else found.high - found.value
    return 2 * _NORMAL.cdf(-Z * abs(found.value) / width)


def bootstrap_p(differences: Sequence[float]) -> float:
    """p of a mean of paired differences as far from 0, were there none: problems drawn again around a mean of 0.

    What is compared is the mean in standard errors of its own draw, which holds the rate of false alarms where
    problems are few. Never below 1 / (1 + RESAMPLES).

    Source: Efron and Tibshirani 1993, 16.4.
    """
    array = np.asarray(differences, dtype=float)
    centre = float(array.mean())
    if np.ptp(array) == 0:  # one value for all: as a coin that falls the same way for every problem
        return 1.0 if centre == 0 else float(min(1.0, 2.0 ** (1 - len(array))))
    observed = abs(centre) / float(array.std())
    means, spreads = _resampled(array)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.nan_to_num(np.abs(means - centre) / spreads, nan=0.0, posinf=math.inf)
    return float((1 + (drawn >= observed * (1 - 1e-12)).sum()) / (1 + RESAMPLES))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for there being several: what is below 0.05 then is so with all of them counted.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).

    >>> holm([0.01, 0.04, 0.03])  # 3 · 0.01; max(0.03, 2 · 0.03); max(0.06, 1 · 0.04)
    [0.03, 0.06, 0.06]
    """
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return corrected


def problems_needed(difference: float, disagreement: float, power: float = 0.8) -> int:
    """How many problems show a `difference` of two shares at p < 0.05 with probability `power`.

    Args: disagreement: share of problems on which exactly one of the two is right; at least `difference`.
    Source: Connor, Biometrics 43 (1987), for McNemar's test.

    >>> problems_needed(0.02, 0.2)
    3923
    """
    if not 0 < difference <= disagreement <= 1:
        raise ValueError(f"a difference of {difference:g} among problems of which {disagreement:g} disagree cannot be")
    z_power = _NORMAL.inv_cdf(power)
    root = Z * math.sqrt(disagreement) + z_power * math.sqrt(disagreement - difference**2)
    return math.ceil((root / difference) ** 2)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that k of n completions, drawn without replacement, hold one of c right ones: 1 − C(n−c, k) / C(n, k).

    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1: unbiased for the chance that k new completions hold one.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def quantile_95(values: Sequence[float]) -> Estimate:
    """The value that 95 % of problems stay at or below, between the order statistics that hold it with 95 % chance.

    Its standard error is the interval's width over 2 · 1.96: an order statistic has none of its own. With fewer than
    59 values the largest may lie below the true quantile, and the interval holds it less often.

    Source: binomial bounds of order statistics; David and Nagaraja, Order Statistics (2003), 7.1.
    """
    ordered, n = sorted(values), len(values)
    rank = math.ceil(0.95 * n)
    half = Z * math.sqrt(n * 0.95 * 0.05)
    low, high = (ordered[min(max(math.floor(r), 1), n) - 1] for r in (0.95 * n - half, 0.95 * n + half + 1))
    return Estimate(ordered[rank - 1], (high - low) / (2 * Z), low, high)


def _resampled(array: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of `RESAMPLES` draws of as many values; (RESAMPLES,) each.

    Values repeat (k of n samples right), so the draw is of how often each occurs.
    """
    distinct, counts = np.unique(array, return_counts=True)
    generator = np.random.default_rng(0)
    means, squares = np.empty(RESAMPLES), np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, DRAWN_AT_ONCE):
        block = slice(start, start + DRAWN_AT_ONCE)
        drawn = generator.multinomial(len(array), counts / len(array), size=DRAWN_AT_ONCE) / len(array)
        means[block], squares[block] = drawn @ distinct, drawn @ distinct**2
    return means, np.sqrt(np.maximum(squares - means**2, 0.0))


def _shifted(around: Estimate, value: float) -> tuple[float, float]:
    return max(-1.0, around.low + value), min(1.0, around.high + value)
