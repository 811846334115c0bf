"""The layout of instruction and output pairs, whose answer ends the output or stands after its last equals sign.

{"instruction": "Find the total: 3 bags of 4 apples.", "input": "", "output": "Each bag has 4 apples, so 3 * 4 = 12"}
"""

import re
from collections.abc import Mapping
from typing import Any

from smolmath.answers import answers_match, extract_answer, is_verifiable
from smolmath.data.layouts import endings
from smolmath.data.layouts.candidates import Candidate

_EQUALS = re.compile(r"(?<![<>!=:≠≤≥])=(?![=>])")
_NAMED = re.compile(r"([A-Za-z]+(?:_\{?\w+\}?)?|[A-Za-z)}])\s*=(?!=)")  # x = …, v_{R}=…, total = …
# Words before an equation that make it something else than the answer: 7 when x = 2; 12. Check: 12/4 = 3
_ASIDE = re.compile(r"\b(?:when|if|where|at|for|since|because|check|verify|note|given)\b", re.IGNORECASE)
_SUM = re.compile(r"\d\s*[-+*×]\s*\d|[<>=]|^[^\W\d_]+$")  # 7 = 3 + 4 and 12 = x say nothing after the sign
_COEFFICIENT = re.compile(r"\d\s*[a-zA-Z]\s*$")  # 2x = 10
LACKING = f"{endings.LACKING}; nor a single value that can be verified after the last equals sign"


def read(row: Mapping[str, Any]) -> Candidate:
    """The question is the instruction and its input; the output ends in its answer, or in an equation.

    What follows the last `=` is none where it is no value, where other names have values too, or where the grader,
    which reads the whole output, finds another answer.
    """
    question, more, output = row["instruction"], row.get("input"), row["output"]
    if isinstance(question, str) and isinstance(more, str) and more.strip():
        question = f"{question}\n{more}"
    answer, worked = endings.ending(output) if isinstance(output, str) else (None, None)
    if answer is None and isinstance(output, str):
        answer, worked = _last_value(output), output
    return Candidate(question, answer, worked, lacking=LACKING)


def _last_value(output: str) -> str | None:
    signs = list(_EQUALS.finditer(output))
    if not signs:
        return None
    before, answer = output[: signs[-1].start()], output[signs[-1].end() :].strip().strip("$").rstrip(".").strip()
    line = before.rpartition("\n")[2]
    if "\n" in answer or _SUM.search(answer) or _COEFFICIENT.search(line) or _ASIDE.search(line):
        return None
    if any(answer.count(a) != answer.count(b) for a, b in ("()", "[]", "{}")) or not is_verifiable(answer):
        return None
    if len({name for name in _NAMED.findall(output) if "\\" not in name}) > 1:
        return None
    found = extract_answer(output).text
    return answer if found is None or answers_match(found, answer) else None
