"""Grading an evaluation: the same verdicts however many processes work, and whatever the order of the rows."""

import random
import re
import subprocess
import sys

import pytest

import smolmath.evaluation.difficulty
import smolmath.evaluation.judging
from smolmath.evaluation.difficulty import pass_rates
from smolmath.evaluation.judging import EVALUATED_REWARDS, grade_completions
from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.records import COMPLETIONS, write_table
from smolmath.running.workers import ordered_map
from smolmath.tags import DEFAULT_TAGS
from tests.conftest import ROOT

REFERENCES = {
    "7": "7.0",
    r"\frac{1}{2}": "0.5",
    "x^2 + 2x + 1": "(x+1)^2",
    r"3\sqrt{2}": r"\sqrt{18}",
    "(1, 2)": "(1,2)",
}
WRONG = ["x+1", "1 + x", "1/3", r"\frac{1}{3}", r"2\sqrt{2}", "Paris", "8", None]
PROBLEMS = [
    {
        "id": f"{i:016x}",
        "question": f"What is it, {i}?",
        "reference_answer": reference,
        "reasoning": "1+1=2\n2+5=7" if i % 2 else None,
    }
    for i, reference in enumerate(REFERENCES)
]


def completions(samples=9):
    choose = random.Random(0)
    rows = []
    for problem in PROBLEMS:
        for sample in range(samples):
            answer = choose.choice([*WRONG, REFERENCES[problem["reference_answer"]]])
            text = "nothing" if answer is None else f"<reasoning>\n1+1=2\n</reasoning>\n<answer>\n{answer}\n</answer>"
            rows.append({
                "problem_id": problem["id"], "sample": sample, "prompt": "", "completion": text,
                "finish_reason": choose.choice(["stop", "stop", "length"]), "tokens": len(text),
            })  # fmt: skip
    return rows


@pytest.fixture
def used(monkeypatch):
    """How many workers each grading had; a chunk is a few completions, and any are worth workers."""
    counts = []

    def noted(function, items, *, workers):
        counts.append(workers)
        return ordered_map(function, items, workers=workers)

    for module in (smolmath.evaluation.judging, smolmath.evaluation.difficulty):
        monkeypatch.setattr(module, "ordered_map", noted)
        monkeypatch.setattr(module, "WORTH_WORKERS", 0)
    monkeypatch.setattr(smolmath.evaluation.judging, "CHUNK", 7)
    return counts


def test_any_number_of_workers_gives_the_same_bytes(tmp_path, used):
    rows, written = completions(), {}
    for workers in (1, 2, 3):
        verdicts = grade_completions(rows, PROBLEMS, DEFAULT_TAGS, workers=workers)
        write_table(tmp_path / f"{workers}.parquet", verdicts, verdicts_schema(EVALUATED_REWARDS))
        written[workers] = (tmp_path / f"{workers}.parquet").read_bytes()
    assert written[1] == written[2] == written[3]
    assert used == [1, 2, 3]
    assert {"(x+1)^2", r"\sqrt{18}"} & {row["predicted_answer"] for row in verdicts if row["correct"]}
    assert max(row["answer_group"] or 0 for row in verdicts) >= 3  # a chunk boundary starts no problem's count anew


def test_rows_in_any_order_keep_it_and_a_problem_numbers_its_answers_in_that_order(used):
    rows = completions()
    mixed = [rows[i] for sample in range(9) for i in range(sample, len(rows), 9)]
    verdicts = grade_completions(mixed, PROBLEMS, DEFAULT_TAGS)
    assert [(row["problem_id"], row["sample"]) for row in verdicts] == [
        (row["problem_id"], row["sample"]) for row in mixed
    ]
    back = sorted(verdicts, key=lambda row: (row["problem_id"], row["sample"]))
    assert back == grade_completions(rows, PROBLEMS, DEFAULT_TAGS)


def test_few_completions_start_no_processes(used, monkeypatch):
    monkeypatch.setattr(smolmath.evaluation.judging, "WORTH_WORKERS", len(completions()) + 1)
    grade_completions(completions(), PROBLEMS, DEFAULT_TAGS, workers=2)
    assert used == [1]


def test_pass_rates_are_the_same_for_any_number_of_workers(tmp_path, used):
    rows, paths = completions(), []
    for number, start in enumerate(range(0, len(rows), 20)):  # a problem's completions may lie in two files
        paths.append(tmp_path / f"batch-{number}.parquet")
        write_table(paths[-1], rows[start : start + 20], COMPLETIONS)
    rates = [pass_rates(paths, PROBLEMS, DEFAULT_TAGS, workers=workers) for workers in (1, 3)]
    assert rates[0] == rates[1]
    assert used == [1, 3]
    assert [row["samples"] for row in rates[0]] == [9] * len(PROBLEMS)
    assert 0 < sum(row["correct"] for row in rates[0]) < 45


@pytest.mark.slow
def test_the_benchmark_of_scaling_measures_and_predicts():
    command = [sys.executable, "benchmarks/scaling_evaluation.py", "--rows", "200", "--problems", "16"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    # One and two processes, three times the size for what is predicted; five completions for each of 16 problems.
    assert re.findall(r"^\| (\d) \| ([\d,]+) \|", done.stdout, re.MULTILINE) == [
        ("1", "200"), ("2", "200"), ("1", "80"), ("2", "80"),
    ]  # fmt: skip
    assert re.findall(r"^([\d,]+) completions, 2 (\w+): predicted [\d.]+ s, measured", done.stdout, re.MULTILINE) == [
        ("600", "workers"), ("240", "engines"),
    ]  # fmt: skip
