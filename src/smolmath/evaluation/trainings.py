"""Two settings, each trained several times: problems and seeds are both drawn, and both count as chance.

A comparison of two models says which of these two is better. Another seed gives another model, so it says nothing of
the setting that they were trained with. With several trainings a side the spread between them is seen, and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smolmath.evaluation import uncertainty
from smolmath.evaluation.paired import Paired, UnpairedError
from smolmath.evaluation.uncertainty import LEVEL, Estimate
from smolmath.evaluation.verdicts import Row, by_problem, share_right


@dataclass(frozen=True)
class Trainings(Paired):
    """As `Paired`, of the means of several trainings; `gained` and `lost` count problems by their means."""

    trainings: tuple[int, int]  # before, after
    spread: float  # standard deviation of the trainings of one setting around their mean, both sides together
    p_of_these: float  # were these the only trainings of interest, and problems alone drawn


def compare_trainings(before: Sequence[Sequence[Row]], after: Sequence[Sequence[Row]]) -> list[Trainings]:
    """By greedy accuracy, and by mean@k where all were sampled.

    Args: before, after: verdicts of each training of a side.
    Raises: UnpairedError with fewer than two trainings a side, or if they are not of the same problems.
    """
    if min(len(before), len(after)) < 2:
        raise UnpairedError(
            f"{len(before)} and {len(after)} trainings: one alone does not show what another seed would change. Name "
            "at least two a side, better three: A1,A2,A3 B1,B2,B3."
        )
    sides = [[by_problem(verdicts) for verdicts in side] for side in (before, after)]
    ids = sides[0][0][0].keys()
    if not ids or any(greedy.keys() != ids for side in sides for greedy, _ in side):
        counts = sorted({len(greedy) for side in sides for greedy, _ in side})
        raise UnpairedError(
            f"the trainings were not evaluated on the same problems ({', '.join(map(str, counts))}). Evaluate all on "
            "the same ones (datasets, split, evaluate.sampling.problems), or compare on the common ones: --common."
        )
    found = [compared("accuracy", 1, *([[[float(g[i]["correct"]) for i in ids] for g, _ in side]] for side in sides))]
    ks = {len(sampled.get(i, ())) for side in sides for _, sampled in side for i in ids}
    if len(ks) > 1:
        raise UnpairedError(f"the problems were sampled {' and '.join(map(str, sorted(ks)))} times: sample all alike.")
    if k := ks.pop():
        shares = ([[[share_right(sampled[i]) for i in ids] for _, sampled in side]] for side in sides)
        found.append(compared("mean_at_k", k, *shares))
    return found


Scores = Sequence[np.ndarray]  # of each dataset (trainings, problems) in 0…1


def compared(
    measure: str, k: int, before: Sequence[Sequence[Sequence[float]]], after: Sequence[Sequence[Sequence[float]]]
) -> Trainings:
    """Args: before, after: datasets × trainings × problems scores in 0…1; several datasets count the same."""
    one, two = [np.asarray(scores) for scores in before], [np.asarray(scores) for scores in after]
    differences = [b.mean(axis=0) - a.mean(axis=0) for a, b in zip(one, two, strict=True)]  # (problems,) each
    estimate, p = difference_of_settings(one, two)
    return Trainings(
        measure=measure,
        k=k,
        n=sum(map(len, differences)),
        before=float(_means(one).mean()),
        after=float(_means(two).mean()),
        difference=estimate,
        p=p,
        gained=sum(int((each > 0).sum()) for each in differences),
        lost=sum(int((each < 0).sum()) for each in differences),
        trainings=(len(one[0]), len(two[0])),
        spread=spread(one, two),
        p_of_these=_of_these(one, two)[1],
    )


def spread(before: Scores, after: Scores) -> float:
    """Standard deviation of the trainings' means around that of their side."""
    squares = [((_means(side) - _means(side).mean()) ** 2).sum() for side in (before, after)]
    return float(np.sqrt(sum(squares) / (len(before[0]) + len(after[0]) - 2)))


def difference_of_settings(before: Scores, after: Scores) -> tuple[Estimate, float]:
    """after − before with its 95 % interval, and p, by Student's t.

    The variance of the difference is that of the trainings' means, side by side, since every seed is of one side
    alone; and that of the problems, which all trainings share, as far as it is more than what one training's luck on
    single problems makes of it, for that is in the first part already. Of several datasets the trainings' means are
    over all of them, since a seed is drawn once; their problems are drawn dataset by dataset. Degrees of freedom:
    Satterthwaite's.

    Args: before, after: of each dataset (trainings, problems), at least two trainings.
    Source: Hillis, Statistics in Medicine 33 (2014): readers nested in the methods that are compared, cases crossed;
    the two sides' variances are kept apart as in Welch's test.
    """
    from scipy import special

    seeds = [_means(side).var(ddof=1) / len(side[0]) for side in (before, after)]
    problems = [_of_problems(*pair) / len(before) ** 2 for pair in zip(before, after, strict=True)]
    variance = float(sum(seeds) + sum(problems))
    if variance == 0:  # no spread anywhere: as wide, and as likely, as of one training a side
        return _of_these(before, after)
    freedom = variance**2 / (
        sum(part**2 / (len(side[0]) - 1) for part, side in zip(seeds, (before, after), strict=True))
        + sum(part**2 / max(1, one.shape[1] - 1) for part, one in zip(problems, before, strict=True))
    )
    value, se = float(_means(after).mean() - _means(before).mean()), variance**0.5
    half = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * se
    p = 2 * float(special.stdtr(freedom, -abs(value) / se))
    return Estimate(value, se, max(-1.0, value - half), min(1.0, value + half)), p


def _means(side: Scores) -> np.ndarray:
    """(trainings,) Of each its mean over the datasets, which count the same."""
    return np.asarray(np.mean([scores.mean(axis=1) for scores in side], axis=0))


def _of_these(before: Scores, after: Scores) -> tuple[Estimate, float]:
    """The difference and p, were these the only trainings of interest, and problems alone drawn."""
    means = [
        ([*map(float, one.mean(axis=0))], [*map(float, two.mean(axis=0))])
        for one, two in zip(before, after, strict=True)
    ]
    estimates = [uncertainty.paired_mean(one, two) for one, two in means]
    if len(estimates) == 1:
        differences = [b - a for a, b in zip(*means[0], strict=True)]
        return estimates[0], uncertainty.bootstrap_p(differences)
    average = uncertainty.suite_average(estimates)
    return average, uncertainty.interval_p(average)


def _of_problems(before: np.ndarray, after: np.ndarray) -> float:
    """Variance of a dataset's difference by its problems, beside what single trainings' luck makes of it."""
    n = int(before.shape[1])
    if n < 2:
        return 0.0
    luck = float(sum(_residual(side) / len(side) for side in (before, after))) / n
    whole = float((after.mean(axis=0) - before.mean(axis=0)).var(ddof=1)) / n
    return max(0.0, whole - luck)


def _residual(scores: np.ndarray) -> float:
    """Variance of a training's score on a problem, beside what the training and the problem make of it."""
    expected = scores.mean(axis=0) + scores.mean(axis=1, keepdims=True) - scores.mean()
    return float(((scores - expected) ** 2).sum() / ((len(scores) - 1) * max(1, scores.shape[1] - 1)))
