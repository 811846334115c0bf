"""Metrics of one model on one dataset, each with its standard error where it is a mean over problems."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


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


def evaluation_metrics(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, float | int]:
    """Flat metrics of `metrics/eval/M/D.json` from verdict rows (sample 0 greedy, 1…k sampled).

    accuracy, strict_accuracy, format_rate, truncated and tokens are of the greedy completion; mean_at_k is the share
    of right answers among k sampled ones. Its standard error is over problems, not completions: the k samples of a
    problem are no k independent problems.
    """
    greedy: list[Mapping[str, Any]] = []
    sampled: dict[str, list[float]] = defaultdict(list)
    for row in verdicts:
        if row["sample"] == 0:
            greedy.append(row)
        else:
            sampled[row["problem_id"]].append(float(row["correct"]))
    accuracy, accuracy_se = mean_and_se([float(row["correct"]) for row in greedy])
    metrics: dict[str, float | int] = {
        "n": len(greedy),
        "accuracy": accuracy,
        "accuracy_se": accuracy_se,
        "strict_accuracy": mean_and_se([float(row["strict"]) for row in greedy])[0],
        "format_rate": mean_and_se([float(row["formatted"]) for row in greedy])[0],
        "truncated": mean_and_se([float(not row["finished"]) for row in greedy])[0],
        "tokens": mean_and_se([float(row["tokens"]) for row in greedy])[0],
        "k": 0,
    }
    if sampled:
        per_problem = [mean_and_se(right)[0] for _, right in sorted(sampled.items())]
        metrics["k"] = max(len(right) for right in sampled.values())
        metrics["mean_at_k"], metrics["mean_at_k_se"] = mean_and_se(per_problem)
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in metrics.items()}
