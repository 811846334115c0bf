"""Metrics of small evaluations, by hand."""

import pytest

from smolmath.evaluation.judging import grade_completions
from smolmath.evaluation.metrics import evaluation_metrics
from smolmath.evaluation.uncertainty import wilson
from smolmath.evaluation.verdicts import majority_right
from smolmath.evaluation.voting import AnswerGroups
from smolmath.tags import DEFAULT_TAGS


def verdict(problem, sample, correct, **more):
    row = {"problem_id": problem, "sample": sample, "correct": correct, "strict": correct, "formatted": True}
    return {**row, "finished": True, "tokens": 10, "answer_group": 0 if correct else 1, **more}


TWO_PROBLEMS = [
    verdict("a", 0, True, tokens=4, reward_reasoning_steps=0.5),
    verdict("a", 1, True),
    verdict("a", 2, False),
    verdict("b", 0, False, formatted=False, finished=False, tokens=6, reward_reasoning_steps=None),
    verdict("b", 1, False),
    verdict("b", 2, False),
]


def test_metrics_of_two_problems_by_hand():
    metrics = evaluation_metrics(TWO_PROBLEMS, {})
    assert {name: metrics[name] for name in ("n", "k", "accuracy", "strict_accuracy", "format_rate", "truncated")} == {
        "n": 2, "k": 2, "accuracy": 0.5, "strict_accuracy": 0.5, "format_rate": 0.5, "truncated": 0.5,
    }  # fmt: skip
    assert metrics["accuracy_se"] == 0.5
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == pytest.approx(wilson(1, 2), abs=1e-6)
    assert (metrics["tokens"], metrics["tokens_p95"]) == (5.0, 6.0)
    assert metrics["reasoning_score"] == 0.5  # of the one problem that has a worked solution
    assert metrics["mean_at_k"] == 0.25  # mean of 1/2 and 0
    assert metrics["mean_at_k_se"] == 0.25  # deviations ±0.25: sqrt((0.0625 + 0.0625) / 1 / 2)
    assert metrics["maj_at_k"] == 0.25  # a: one vote each, so half; b: 0
    assert [(point["k"], point["pass_at_k"]) for point in metrics["pass_at_k"]] == [(1, 0.25), (2, 0.5)]


def test_each_metric_has_an_error_and_an_interval_around_it():
    metrics = evaluation_metrics(TWO_PROBLEMS, {})
    for name in ("accuracy", "strict_accuracy", "format_rate", "truncated", "reasoning_score", "tokens", "tokens_p95",
                 "mean_at_k", "maj_at_k"):  # fmt: skip
        assert metrics[f"{name}_se"] >= 0
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"], name
    for point in metrics["pass_at_k"]:
        assert point["pass_at_k_low"] <= point["pass_at_k"] <= point["pass_at_k_high"]


def test_without_samples_there_are_no_metrics_of_samples():
    metrics = evaluation_metrics([verdict("a", 0, True)], {})
    assert metrics["k"] == 0
    assert [name for name in metrics if "at_k" in name] == ["pass_at_k"]
    assert [(point["k"], point["pass_at_k"]) for point in metrics["pass_at_k"]] == [(1, 1.0)]  # the greedy completion
    assert "reasoning_score" not in metrics


def test_sources_are_told_apart_where_there_are_several():
    metrics = evaluation_metrics(TWO_PROBLEMS, {"a": {"source": "olympiads"}, "b": {"source": None}})
    assert [(s["source"], s["n"], s["accuracy"], s["mean_at_k"]) for s in metrics["sources"]] == [
        ("(none)", 1, 0.0, 0.0),
        ("olympiads", 1, 1.0, 0.5),
    ]
    assert "sources" not in evaluation_metrics(TWO_PROBLEMS, {"a": {"source": "one"}, "b": {"source": "one"}})


def test_levels_are_told_apart_in_the_order_in_which_they_are_counted():
    problems = {"a": {"level": "10"}, "b": {"level": "2"}}
    levels = evaluation_metrics(TWO_PROBLEMS, problems)["levels"]
    assert [(level["level"], level["n"], level["accuracy"]) for level in levels] == [("2", 1, 0.0), ("10", 1, 1.0)]
    assert levels[0]["accuracy_low"] == 0.0
    assert "levels" not in evaluation_metrics(TWO_PROBLEMS, {"a": {"level": "2"}, "b": {"level": "2"}})


def test_of_a_problems_variants_all_must_be_right_and_it_may_be_among_them():
    right = {"a": True, "b": True, "c": True, "d": False, "e": True, "f": False}
    seeds = {"a": "s", "b": "s", "c": "t", "d": "t", "e": "f", "g": "u"}  # e varies f; g was not answered
    problems = {problem: {"variant_of": seed} for problem, seed in seeds.items()}
    metrics = evaluation_metrics([verdict(problem, 0, correct) for problem, correct in right.items()], problems)
    assert (metrics["seeds"], metrics["all_variants_right"]) == (3, pytest.approx(1 / 3, abs=1e-6))  # s; not t, not f
    low, high = metrics["all_variants_right_low"], metrics["all_variants_right_high"]
    assert (low, high) == pytest.approx(wilson(1, 3), abs=1e-6)
    alone = evaluation_metrics([verdict("a", 0, True)], problems)  # one variant says no more than accuracy
    assert "seeds" not in alone
    assert "all_variants_right" not in alone


def test_calibration_is_how_often_a_majority_of_each_size_is_right():
    groups = {"a": [0, 0, 0, 0], "b": [1, 1, 1, 2], "c": [0, 0, 0, 1], "d": [0, 1, 2, 3], "e": [None] * 4}
    rows = [
        verdict(problem, sample, group == 0, answer_group=group)
        for problem, of_problem in groups.items()
        for sample, group in enumerate([0, *of_problem])
    ]
    table = evaluation_metrics(rows, {})["calibration"]
    # d: four answers, a vote each, so right by a chance of 1/4; e: no answer, no majority
    assert [(row["up_to"], row["n"], row["maj_at_k"]) for row in table] == [
        (0.25, 2, 0.125),
        (0.75, 2, 0.5),
        (1.0, 1, 1.0),
    ]
    assert table[1]["maj_at_k_low"] <= 0.5 <= table[1]["maj_at_k_high"]
    one_sample = [row for row in rows if row["sample"] < 2]
    assert "calibration" not in evaluation_metrics(one_sample, {})  # of one sample the majority is always all


def test_mixing_is_counted_where_any_completion_does():
    rows = [verdict(problem, 0, True, mixes_scripts=problem == "a") for problem in "abcd"]
    assert evaluation_metrics(rows, {})["mixes_scripts"] == 0.25
    assert not any("mixes" in name for name in evaluation_metrics(rows[1:], {}))


@pytest.mark.parametrize(
    ("groups", "right"),
    [
        ([0, 0, 1], 1.0),
        ([0, 1, 1], 0.0),
        ([0, 1], 0.5),  # a tie is drawn by lot
        ([0, 1, 2], 1 / 3),
        ([0, None, None], 1.0),  # who has no answer has no vote
        ([None, None], 0.0),
    ],
)
def test_the_majority_is_of_answers(groups, right):
    assert majority_right([{"answer_group": group} for group in groups]) == right


def test_formulas_and_words_vote_together_too():
    groups = AnswerGroups()
    answers = ["x + 1", "1+x", "Paris", "paris", "x - 1", "50\\%", "50", "\\frac12"]
    assert [groups.number("p", answer, correct=False) for answer in answers] == [1, 1, 2, 2, 3, 4, 5, 6]
    assert groups.number("q", "paris", correct=False) == 1  # another problem's answers are its own
    assert groups.number("p", "9", correct=True) == 0


def test_equal_answers_vote_together_however_they_are_written():
    answers = ["1/2", "0.5", "3", "\\frac{1}{2}", "3.0", None, "7"]
    rows = [
        {"problem_id": "p", "sample": i, "prompt": "", "finish_reason": "stop", "tokens": 1,
         "completion": "nothing" if answer is None else f"<answer>\n{answer}\n</answer>"}
        for i, answer in enumerate(answers, start=1)
    ]  # fmt: skip
    problem = {"id": "p", "question": "How many?", "reference_answer": "7", "reasoning": None}
    verdicts = grade_completions(rows, [problem], DEFAULT_TAGS)
    assert [row["answer_group"] for row in verdicts] == [1, 1, 2, 1, 2, None, 0]
