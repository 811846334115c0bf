"""The layout that the reasoning_gym source writes.

{"question": "State the final answer to the following arithmetic problem: 4 - 1 - 7 =", "answer": "-4",
 "metadata": {"source_dataset": "chain_sum", "expression": "4 - 1 - 7", …}}
"""

from collections.abc import Mapping
from typing import Any

from smolmath.data.layouts import gsm8k
from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.worked import WORKED


def read(row: Mapping[str, Any]) -> Candidate:
    """Problems of tasks in `WORKED` get a worked solution; metadata of another kind makes it a row as GSM8K's."""
    metadata = row["metadata"] if isinstance(row["metadata"], dict) else {}
    task = metadata.get("source_dataset")
    if not isinstance(task, str):
        return gsm8k.read(row)
    return Candidate(row["question"], row["answer"], _worked(task, metadata), task)


def _worked(task: str, metadata: dict[str, Any]) -> str | None:
    """None where the metadata is not what the task writes: the problem can be used all the same."""
    if task not in WORKED:
        return None
    try:
        return WORKED[task](metadata)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        return None
