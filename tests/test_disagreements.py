"""benchmarks/disagreements.py: our verdicts beside math-verify's over the same completions."""

import subprocess
import sys

import pytest

from smolmath.evaluation.judging import EVALUATED_REWARDS, grade_completions
from smolmath.evaluation.verdicts import verdicts_schema
from smolmath.records import COMPLETIONS, PROBLEMS, write_table
from smolmath.tags import DEFAULT_TAGS
from tests.conftest import ROOT

# Reference, completion, how it ended.
CASES = {
    "both right": (r"\frac{1}{2}", "So it is $0.5$.\n<answer>\n0.5\n</answer>", "stop"),
    "both wrong": ("7", "<answer>\n8\n</answer>", "stop"),
    "cut off": ("20", "First she pays $20$, and then she", "length"),
    "of no side": ("3", "I cannot say.", "stop"),
}


@pytest.fixture
def project(tmp_path):
    problems = [
        {"id": name, "dataset": "d", "question": "How much?", "reference_answer": reference, "reasoning": None,
         "source": None, "raw_file": "f", "raw_row": 0}
        for name, (reference, _, _) in CASES.items()
    ]  # fmt: skip
    completions = [
        {"problem_id": name, "sample": sample, "prompt": "p", "completion": text, "finish_reason": end, "tokens": 9}
        for name, (_, text, end) in CASES.items()
        for sample in (0, 1)
    ]
    write_table(tmp_path / "data/split/d/test.parquet", problems, PROBLEMS)
    write_table(tmp_path / "results/completions/base/d.parquet", completions, COMPLETIONS)
    verdicts = grade_completions(completions, problems, DEFAULT_TAGS)
    write_table(tmp_path / "results/verdicts/base/d.parquet", verdicts, verdicts_schema(EVALUATED_REWARDS))
    return tmp_path


def test_each_problem_on_which_the_verdicts_differ_is_listed_with_what_either_has_read(project):
    command = [sys.executable, ROOT / "benchmarks" / "disagreements.py", "base", "d"]
    done = subprocess.run(command, cwd=project, text=True, capture_output=True, check=True)
    assert "base on d, 4 problems, one greedy completion each" in done.stdout
    assert "| smolmath, any way of answering | 1 |" in done.stdout
    assert "| math-verify | 2 |" in done.stdout
    assert "smolmath − math-verify: −25.0 points" in done.stdout  # one of four
    assert "Verdicts that differ: 1\n" in done.stdout
    assert "| cut off | 20 | None | wrong | 20 | right | cut off |" in done.stdout
    assert done.stderr == ""
