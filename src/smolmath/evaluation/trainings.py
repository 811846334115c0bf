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
    found = [_compared("accuracy", 1, *([[float(g[i]["correct"]) for i in ids] for g, _ in side] for side in sides))]
    ks = {len(sampled.get(i, ())) for side in sides for _, sampled in side for i in ids}
    if len(ks) > 1:
        raise UnpairedError(f"the problems were sampled {' and '.join(map(str, sorted(ks)))} times: sample all alike.")
    if k := ks.pop():
        shares = ([[share_right(sampled[i]) for i in ids] for _, sampled in side] for side in sides)
        found.append(_compared("mean_at_k", k, *shares))
    return found


def _compared(measure: str, k: int, before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> Trainings:
    """Args: before, after: (trainings, problems) scores in 0…1."""
    one, two = np.asarray(before), np.asarray(after)
    differences = two.mean(axis=0) - one.mean(axis=0)  # (problems,)
    estimate, p = difference_of_settings(one, two)
    return Trainings(
        measure=measure,
        k=k,
        n=one.shape[1],
        before=float(one.mean()),
        after=float(two.mean()),
        difference=estimate,
        p=p,
        gained=int((differences > 0).sum()),
        lost=int((differences < 0).sum()),
        trainings=(len(one), len(two)),
        spread=spread(one, two),
        p_of_these=uncertainty.bootstrap_p(differences.tolist()),
    )


def spread(before: np.ndarray, after: np.ndarray) -> float:
    """Standard deviation of the trainings' means around that of their side."""
    squares = [((side.mean(axis=1) - side.mean()) ** 2).sum() for side in (before, after)]
    return float(np.sqrt(sum(squares) / (len(before) + len(after) - 2)))


def difference_of_settings(before: np.ndarray, after: np.ndarray) -> tuple[Estimate, float]:
    """after − before with its 95 % interval, and p, by Student's t.

    The variance of the difference is that of the trainings' means, side by side, since every seed is of one side
    alone; and that of the problems, which all trainings share, as far as it is more than what one training's luck on
    single problems makes of it, for that is in the first part already. Degrees of freedom: Satterthwaite's.

    Args: before, after: (trainings, problems), at least two trainings each.
    Source: Hillis, Statistics in Medicine 33 (2014): readers nested in the methods that are compared, cases crossed;
    the two sides' variances are kept apart as in Welch's test.
    """
    from scipy import special

    n = before.shape[1]
    differences = after.mean(axis=0) - before.mean(axis=0)
    value = float(differences.mean())
    seeds = [side.mean(axis=1).var(ddof=1) / len(side) for side in (before, after)]
    luck = sum(_residual(side) / len(side) for side in (before, after)) / n
    problems = max(0.0, float(differences.var(ddof=1)) / n - luck) if n > 1 else 0.0
    variance = float(sum(seeds)) + problems
    if variance == 0:  # no spread anywhere: as wide, and as likely, as of one training a side
        one, two = before.mean(axis=0).tolist(), after.mean(axis=0).tolist()
        return uncertainty.paired_mean(one, two), uncertainty.bootstrap_p(differences.tolist())
    freedom = variance**2 / (
        sum(part**2 / (len(side) - 1) for part, side in zip(seeds, (before, after), strict=True))
        + problems**2 / max(1, n - 1)
    )
    se = variance**0.5
    half = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * se
    p = 2 * float(special.stdtr(freedom, -abs(value) / se))
    return Estimate(value, se, max(-1.0, value - half), min(1.0, value + half)), p


def _residual(scores: np.ndarray) -> float:
    """Variance of a training's score on a problem, beside what the training and the problem make of it."""
    expected = scores.mean(axis=0) + scores.mean(axis=1, keepdims=True) - scores.mean()
    return float(((scores - expected) ** 2).sum() / ((len(scores) - 1) * max(1, scores.shape[1] - 1)))
