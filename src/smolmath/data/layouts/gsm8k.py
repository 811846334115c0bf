"""GSM8K's layout.

{"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. …",
 "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\\nNatalia sold 48+24 = <<48+24=72>>72 clips …\\n#### 72"}
"""

import re
from collections.abc import Mapping
from typing import Any

from smolmath.answers import is_verifiable
from smolmath.data.layouts.candidates import Candidate

BARE_CHARS = 50  # of an answer without worked solution
_CALCULATOR_MARKS = re.compile(r"<<[^<>]*>>")  # <<48/2=24>> steered a calculator; the text reads on without it


def read(row: Mapping[str, Any]) -> Candidate:
    """The reference answer is what follows the last `####`; without one, an answer that is nothing but a value."""
    answer = row["answer"]
    if not isinstance(answer, str):
        return Candidate(row["question"], answer)
    reasoning, marker, final = answer.rpartition("####")
    if not marker:
        bare = answer if len(answer) <= BARE_CHARS and is_verifiable(answer.strip()) else None
        return Candidate(row["question"], bare, lacking="no #### before the final answer")
    return Candidate(row["question"], final, _CALCULATOR_MARKS.sub("", reasoning).strip())
