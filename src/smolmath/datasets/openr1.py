"""The layout of OpenR1-Math-220k and NuminaMath.

{"problem": "…", "solution": "## Solution …", "answer": "v_{R}=4", "source": "olympiads", "generations": ["<think>…"]}
"""

from collections.abc import Mapping
from typing import Any

from smolmath.datasets.candidates import Candidate


def read(row: Mapping[str, Any]) -> Candidate:
    """The reference answer is the column `answer`, as given; the worked solution is the human one."""
    return Candidate(row["problem"], row["answer"], row.get("solution"), row.get("source"))
