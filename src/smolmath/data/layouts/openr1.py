"""The layout of OpenR1-Math-220k and NuminaMath.

{"problem": "…", "solution": "## Solution …", "answer": "v_{R}=4", "source": "olympiads",
 "generations": ["<think>\\nOkay, …\\n</think>\\n\\n… \\boxed{…}", …], "is_reasoning_complete": [true, …],
 "correctness_math_verify": [true, …], "correctness_llama": null, "finish_reasons": ["stop", …]}
"""

from collections.abc import Mapping
from typing import Any

from smolmath.data.layouts.candidates import Candidate, Trace

TRACE_COLUMNS = (
    "generations",
    "is_reasoning_complete",
    "correctness_math_verify",
    "correctness_llama",
    "finish_reasons",
)


def read(row: Mapping[str, Any]) -> Candidate:
    """The reference answer is the column `answer`, as given; the worked solution is the human one."""
    traces = _traces(row) if row.get("generations") is not None else None
    return Candidate(row["problem"], row["answer"], row.get("solution"), row.get("source"), traces)


def _traces(row: Mapping[str, Any]) -> tuple[Trace, ...]:
    """Every generation that is text. Flags that are missing or too few leave a trace unverified, not wrong."""
    generations = row["generations"]
    traces = []
    for index, text in enumerate(generations if isinstance(generations, list) else []):
        if not isinstance(text, str):
            continue
        complete = _at(row, "is_reasoning_complete", index) is not False
        verdicts = [_at(row, "correctness_math_verify", index), _at(row, "correctness_llama", index)]
        traces.append(
            Trace(
                text=text,
                complete=complete and _at(row, "finish_reasons", index) != "length",
                verified=True if True in verdicts else False if False in verdicts else None,
            )
        )
    return tuple(traces)


def _at(row: Mapping[str, Any], column: str, index: int) -> Any:
    values = row.get(column)
    return values[index] if isinstance(values, list) and index < len(values) else None
