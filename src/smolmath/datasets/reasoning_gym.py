"""The layout that the reasoning_gym source writes.

{"question": "State the final answer to the following arithmetic problem: 4 - 1 - 7 =", "answer": "-4",
 "metadata": {"source_dataset": "chain_sum", "expression": "4 - 1 - 7", …}}
"""

from collections.abc import Mapping
from typing import Any

from smolmath.datasets.candidates import Candidate
from smolmath.datasets.worked import WORKED


def read(row: Mapping[str, Any]) -> Candidate:
    """Problems of tasks in `WORKED` get a worked solution."""
    metadata = row["metadata"] if isinstance(row["metadata"], dict) else {}
    task = metadata.get("source_dataset")
    worked = WORKED[task](metadata) if task in WORKED else None
    return Candidate(row["question"], row["answer"], worked, task)
