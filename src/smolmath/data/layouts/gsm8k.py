"""GSM8K's layout, and that of most sets whose columns are called question and answer.

{"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. …",
 "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\\nNatalia sold 48+24 = <<48+24=72>>72 clips …\\n#### 72"}
"""

from collections.abc import Mapping
from typing import Any

from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.endings import read_answer
from smolmath.data.layouts.values import value_at


def read(row: Mapping[str, Any]) -> Candidate:
    """The answer ends a worked solution, or stands alone; a body that tells the story comes before its question."""
    question = row["question"]
    if isinstance(row.get("body"), str) and isinstance(question, str):
        question = value_at(row, ["body", "question"], asks=True)
    return read_answer(question, row["answer"], row.get("solution"), row.get("source"))
