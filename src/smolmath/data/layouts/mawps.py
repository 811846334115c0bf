"""MAWPS's layout in its common form: the numbers of a question stand in a column of their own.

{"Question": "Mary had N_00 marbles . She gave N_01 of them away . How many has she now ?",
 "Numbers": "9.0 5.0", "Equation": "- N_00 N_01", "Answer": 4.0}
"""

import re
from collections.abc import Mapping
from typing import Any

from smolmath.data.layouts.candidates import Candidate

_PLACE = re.compile(r"\bN_(\d+)\b")


def read(row: Mapping[str, Any]) -> Candidate:
    """The question with its numbers put in; empty where one of them is missing."""
    question, numbers = row["Question"], str(row["Numbers"]).split()
    if isinstance(question, str):
        wanted = [int(place) for place in _PLACE.findall(question)]
        lacks = any(place >= len(numbers) for place in wanted)
        question = "" if lacks else _PLACE.sub(lambda place: numbers[int(place[1])].removesuffix(".0"), question)
    return Candidate(question, row["Answer"])
