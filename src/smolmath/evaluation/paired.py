"""Two models on the same problems: the difference with its interval, p, and how many problems changed sides."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smolmath.errors import SmolmathError
from smolmath.evaluation import uncertainty
from smolmath.evaluation.uncertainty import Estimate
from smolmath.evaluation.verdicts import Row, by_problem, share_right


class UnpairedError(SmolmathError):
    """Two sets of verdicts that cannot be compared problem by problem."""


@dataclass(frozen=True)
class Paired:
    """`after` against `before` by one measure, over the same problems."""

    measure: str  # accuracy (greedy) or mean_at_k (sampled)
    k: int  # completions per problem
    n: int  # problems
    before: float
    after: float
    difference: Estimate  # after − before
    p: float  # exact McNemar for accuracy, paired bootstrap for mean_at_k
    gained: int  # problems on which `after` is better: right instead of wrong, or right more often
    lost: int


def compare_verdicts(before: Iterable[Row], after: Iterable[Row]) -> list[Paired]:
    """By greedy accuracy, and by mean@k where both were sampled.

    Raises: UnpairedError if they are not of the same problems, or not sampled as often.
    """
    greedy_before, sampled_before = by_problem(before)
    greedy_after, sampled_after = by_problem(after)
    shared = greedy_before.keys() & greedy_after.keys()
    _refuse_other_problems(len(greedy_before), len(greedy_after), len(shared))
    if sampled_before and sampled_after and not shared <= sampled_before.keys() & sampled_after.keys():
        raise UnpairedError("some problems have a greedy completion and no sampled ones: a table is not whole.")
    found = [_by_accuracy(greedy_before, greedy_after)]
    if sampled_before and sampled_after:
        found.append(_by_mean_at_k(sampled_before, sampled_after))
    return found


def _by_accuracy(before: Mapping[str, Row], after: Mapping[str, Row]) -> Paired:
    one = [bool(before[problem]["correct"]) for problem in before]
    two = [bool(after[problem]["correct"]) for problem in before]
    gained = sum(b and not a for a, b in zip(one, two, strict=True))
    lost = sum(a and not b for a, b in zip(one, two, strict=True))
    n = len(one)
    difference = uncertainty.paired_share(one, two)
    p = uncertainty.mcnemar(gained, lost)
    return Paired("accuracy", 1, n, sum(one) / n, sum(two) / n, difference, p, gained, lost)


def _by_mean_at_k(before: Mapping[str, Sequence[Row]], after: Mapping[str, Sequence[Row]]) -> Paired:
    ks = {len(samples) for side in (before, after) for samples in side.values()}
    if len(ks) > 1:
        raise UnpairedError(f"the problems were sampled {' and '.join(map(str, sorted(ks)))} times: sample all alike.")
    one = [share_right(before[problem]) for problem in before]
    two = [share_right(after[problem]) for problem in before]
    differences = [b - a for a, b in zip(one, two, strict=True)]
    return Paired(
        measure="mean_at_k",
        k=ks.pop(),
        n=len(one),
        before=uncertainty.mean_and_se(one)[0],
        after=uncertainty.mean_and_se(two)[0],
        difference=uncertainty.paired_mean(one, two),
        p=uncertainty.bootstrap_p(differences),
        gained=sum(difference > 0 for difference in differences),
        lost=sum(difference < 0 for difference in differences),
    )


def _refuse_other_problems(before: int, after: int, shared: int) -> None:
    if before == after == shared > 0:
        return
    if not shared:
        raise UnpairedError(
            f"no problem was answered by both ({before:,} and {after:,} problems). Evaluate both on the same dataset, "
            "split and evaluate.sampling.problems."
        )
    raise UnpairedError(
        f"the problems differ: {before:,} and {after:,}, of which {shared:,} are the same. Evaluate both on the same "
        "ones (datasets, split, evaluate.sampling.problems), or compare on the common ones: --common."
    )
