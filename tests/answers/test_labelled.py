"""About 2,200 labelled completions, written from the grading policy, most of them without sight of the grader."""

import json
from pathlib import Path

from smolmath.answers import grade

ROWS = [json.loads(line) for line in (Path(__file__).parent / "labelled.jsonl").read_text().splitlines()]
# What the grader is known to miss, each labelled right and graded wrong: text at the end of completion -> why.
MISSED = {
    "makes $18 every day.": "two verbs, two numbers: the second is meant",
    "5 ft 3 in\n</answer>": "compound lengths are compared as text",
    "5 March\n</answer>": "dates are compared as text",
    "0.75 (or 75%, i.e. 3/4)\n</answer>": "several spellings of one value in brackets, joined by or",
    "and Kyle saved \\$6.50.": "two verbs, two numbers: the first is meant",
}


def disagreements(labelled):
    rows = [row for row in ROWS if row["correct"] is labelled]
    assert len(rows) > 800
    graded = [(row, grade(row["completion"], row["reference"], finished=row.get("finished", True))) for row in rows]
    return [row["completion"] for row, verdict in graded if verdict.correct is not labelled]


def test_nothing_wrong_is_graded_right():
    assert disagreements(False) == []


def test_what_is_right_is_graded_right_but_for_the_known_misses():
    missed = disagreements(True)
    assert [text[-80:] for text in missed if not text.endswith(tuple(MISSED))] == []
    assert len(missed) == len(MISSED)  # a miss that was mended leaves this list
