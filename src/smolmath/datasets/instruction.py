"""The layout of instruction and output pairs, whose answer stands after the last equals sign.

{"instruction": "Find the total: 3 bags of 4 apples.", "output": "Each bag has 4 apples, so 3 * 4 = 12"}
"""

import re
from collections.abc import Mapping
from typing import Any

from smolmath.answers import is_verifiable
from smolmath.datasets.candidates import Candidate

# v_{R}=4, v_{B}=10: two values, of which the last alone would be a wrong answer
_SEVERAL = re.compile(r"[,;]|\\text|\band\b|\bor\b|\bif\b|\bwhere\b")


def read(row: Mapping[str, Any]) -> Candidate:
    """The reference answer is what follows the last `=`, if it can be verified and is the only value of its line."""
    output = row["output"]
    if not isinstance(output, str):
        return Candidate(row["instruction"], None)
    before, equals, after = output.rpartition("=")
    answer = after.strip().strip("$").rstrip(".").strip()
    line = before.rpartition("\n")[2]
    several = "=" in line and _SEVERAL.search(line.partition("=")[2])
    if not equals or several or "\n" in answer or not is_verifiable(answer):
        return Candidate(row["instruction"], None, output)
    return Candidate(row["instruction"], answer, output)
