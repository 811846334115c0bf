import math

import pytest

from smolmath.metrics import evaluation_metrics, mean_and_se


@pytest.mark.parametrize(
    ("values", "mean", "se"),
    [
        ([1.0, 0.0], 0.5, 0.5),  # variance ((0.5² + 0.5²) / 1) = 0.5; sqrt(0.5 / 2) = 0.5
        ([1.0, 1.0, 0.0, 0.0], 0.5, math.sqrt(1 / 3 / 4)),  # variance 4 × 0.25 / 3
        ([1.0, 1.0, 1.0], 1.0, 0.0),
        ([0.25], 0.25, 0.0),
    ],
)
def test_mean_and_standard_error_by_hand(values, mean, se):
    assert mean_and_se(values) == (pytest.approx(mean), pytest.approx(se))


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        mean_and_se([])


def verdict(problem, sample, correct, **more):
    row = {"problem_id": problem, "sample": sample, "correct": correct, "strict": correct, "formatted": True}
    return {**row, "finished": True, "tokens": 10, **more}


def test_metrics_of_two_problems_by_hand():
    rows = [
        verdict("a", 0, True, tokens=4),
        verdict("a", 1, True),
        verdict("a", 2, False),
        verdict("b", 0, False, formatted=False, finished=False, tokens=6),
        verdict("b", 1, False),
        verdict("b", 2, False),
    ]
    metrics = evaluation_metrics(rows)
    assert metrics == {
        "n": 2,
        "accuracy": 0.5,
        "accuracy_se": 0.5,
        "strict_accuracy": 0.5,
        "format_rate": 0.5,
        "truncated": 0.5,
        "tokens": 5.0,
        "k": 2,
        "mean_at_k": 0.25,  # mean of 1/2 and 0
        "mean_at_k_se": 0.25,  # deviations ±0.25: sqrt((0.0625 + 0.0625) / 1 / 2)
    }


def test_without_samples_there_is_no_mean_at_k():
    metrics = evaluation_metrics([verdict("a", 0, True)])
    assert metrics["k"] == 0
    assert "mean_at_k" not in metrics
