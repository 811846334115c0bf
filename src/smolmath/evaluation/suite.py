"""Several datasets as a suite, each counting the same: the mean of two models' differences, and what it comes from."""

from collections.abc import Mapping, Sequence

from smolmath.evaluation import uncertainty
from smolmath.evaluation.paired import Paired
from smolmath.evaluation.trainings import Trainings, compared
from smolmath.evaluation.verdicts import Row, by_problem


def average(parts: Mapping[str, Paired]) -> Paired:
    """The mean over datasets of their differences by one measure; `gained` and `lost` count the problems of all.

    The datasets' problems are different ones, so that their errors are independent of each other.
    """
    each = [*parts.values()]
    difference = uncertainty.suite_average([paired.difference for paired in each])
    return Paired(
        measure=each[0].measure,
        k=each[0].k,
        n=sum(paired.n for paired in each),
        before=sum(paired.before for paired in each) / len(each),
        after=sum(paired.after for paired in each) / len(each),
        difference=difference,
        p=uncertainty.interval_p(difference),
        gained=sum(paired.gained for paired in each),
        lost=sum(paired.lost for paired in each),
    )


def average_of_trainings(
    before: Mapping[str, Sequence[Sequence[Row]]], after: Mapping[str, Sequence[Sequence[Row]]]
) -> Trainings:
    """Greedy accuracy over several datasets of two settings, each trained several times.

    Args: before, after: dataset -> the verdicts of each training, in the same order for all datasets.
    """
    scores: tuple[list[list[list[float]]], list[list[list[float]]]] = ([], [])  # datasets × trainings × problems
    for dataset in before:
        ids = [*by_problem(before[dataset][0])[0]]
        for side, found in zip(scores, (before, after), strict=True):
            greedy = [by_problem(verdicts)[0] for verdicts in found[dataset]]
            side.append([[float(rows[problem]["correct"]) for problem in ids] for rows in greedy])
    return compared("accuracy", 1, *scores)


def carried_by(parts: Mapping[str, Paired]) -> tuple[list[str], list[str]]:
    """(the fewest datasets that make more than half of what a mean difference gains, those clearly against it).

    Clearly: the dataset's own 95 % interval leaves out 0.
    """
    sign = 1 if sum(paired.difference.value for paired in parts.values()) > 0 else -1
    along = {name: sign * paired.difference.value for name, paired in parts.items()}
    carrying: list[str] = []
    gain = sum(value for value in along.values() if value > 0)
    for name in sorted(along, key=lambda name: -along[name]):
        if sum(along[carrier] for carrier in carrying) > gain / 2:
            break
        carrying.append(name)
    ends = {name: (paired.difference.high if sign > 0 else -paired.difference.low) for name, paired in parts.items()}
    return carrying, [name for name, end in ends.items() if end < 0]
