"""Which of a problem's completions become solutions: finished, right, with a reasoning of their own.

Of several the first ones drawn are kept, not the shortest: a draw among the right ones is what rejection sampling
means, and the shortest would prefer solutions that leave out steps, a lucky guess most of all.
Source: rejection sampling fine-tuning, arXiv:2308.01825, section 3.3; STaR, arXiv:2203.14465.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smolmath.answers import grade
from smolmath.answers.phrases import ANSWER_IS
from smolmath.data.layouts.traces import split_trace
from smolmath.tags import Tags
from smolmath.using.solving.parts import split_parts

# The closed list: a completion is rejected for the first of these that fits.
REASONS = (
    "cut_off",  # at the length limit: its end token was not learnt from
    "no_answer",
    "wrong_answer",
    "broken_format",  # right, but its reasoning cannot be told from its answer
    "no_reasoning",  # right, and nothing but the answer: "The answer is 6."
    "duplicate",  # the same reasoning as an earlier one of the problem
    "beyond_keep",  # right, and the problem has enough
)
_LEADING = {"the", "so", "thus", "hence", "therefore", "final", "correct", "result", "is"}  # words around an answer


@dataclass(frozen=True)
class Outcome:
    """What became of one completion."""

    reasoning: str | None  # None: rejected
    reason: str = ""
    detail: str = ""


def select(
    completions: Sequence[Mapping[str, Any]], problem: Mapping[str, Any], *, tags: Tags, keep: int
) -> list[Outcome]:
    """An outcome for each completion of one problem, in their order.

    Args: completions: rows of `COMPLETIONS`. problem: a row of `PROBLEMS`. keep: at most so many are kept.
    """
    outcomes: list[Outcome] = []
    seen: dict[str, int] = {}  # reasoning, white space aside -> sample
    kept = 0
    for row in completions:
        outcome = _judged(row, problem, tags)
        if outcome.reasoning is not None:
            words = " ".join(outcome.reasoning.split())
            if words in seen:
                outcome = Outcome(None, "duplicate", f"of sample {seen[words]}")
            elif kept == keep:
                outcome = Outcome(None, "beyond_keep", f"the problem has {keep}")
            else:
                kept += 1
            seen.setdefault(words, row["sample"])
        outcomes.append(outcome)
    return outcomes


def _judged(row: Mapping[str, Any], problem: Mapping[str, Any], tags: Tags) -> Outcome:
    """The completion by itself."""
    if row["finish_reason"] != "stop":
        return Outcome(None, "cut_off", f"at {row['tokens']} tokens")
    reference = problem["reference_answer"]
    verdict = grade(row["completion"], reference, question=problem["question"], tags=tags)
    if verdict.extracted is None:
        return Outcome(None, "no_answer")
    if not verdict.correct:
        return Outcome(None, "wrong_answer", f"{verdict.extracted} for {reference}")
    reasoning = reasoning_of(row["completion"], tags)
    if reasoning is None:
        return Outcome(None, "broken_format", row["completion"])
    if _says_only(verdict.extracted, reasoning):
        return Outcome(None, "no_reasoning", row["completion"])
    return Outcome(reasoning)


def reasoning_of(completion: str, tags: Tags) -> str | None:
    r"""What stands in the reasoning block, else all but the answer block; thoughts of other models' formats are read.

    Boxes are taken off, since the answer is written after the reasoning, in its own block. None if markup is left in.

    >>> reasoning_of("<reasoning>\n2+2=4\n</reasoning>\n<answer>\n4\n</answer>", Tags())
    '2+2=4'
    >>> reasoning_of(r"Two and two make \boxed{4}.", Tags())
    'Two and two make 4.'
    """
    parts = split_parts(completion, tags)
    text = parts["reasoning"] or parts["text"]
    if any(f"<{slash}{name}>" in text for name in (tags.reasoning, tags.answer) for slash in ("", "/")):
        return None
    trace = split_trace(text)
    return None if trace is None else trace[0]


def _says_only(answer: str, text: str) -> bool:
    """Whether a text states the answer and nothing else, which would teach to guess."""
    rest = ANSWER_IS.sub(" ", text).replace(answer, " ")
    return not {word.lower() for word in re.findall(r"\w+", rest)} - _LEADING
