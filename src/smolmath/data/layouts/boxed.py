r"""The layout of MATH and NuminaMath-CoT: no column for the answer, which stands in the solution's last box.

{"problem": "What is $2+2$?", "solution": "We add: $2+2=\\boxed{4}$.", "level": "Level 1"}
"""

from collections.abc import Mapping
from typing import Any

from smolmath.answers import extract_answer
from smolmath.answers.boxes import find_boxes
from smolmath.data.layouts.candidates import Candidate


def read(row: Mapping[str, Any]) -> Candidate:
    """The reference answer is what the last box of the solution holds; boxes joined by "and" hold one together."""
    solution = row["solution"]
    boxes = find_boxes(solution) if isinstance(solution, str) else []
    found = extract_answer(solution) if len(boxes) > 1 else None
    answer = found.text if found and found.strategy == "boxed" else boxes[-1].text if boxes else None
    return Candidate(row["problem"], answer, solution, row.get("source"), lacking="no box in the solution")
