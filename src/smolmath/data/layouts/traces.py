r"""Which generation of a reasoning model becomes a problem's worked solution.

`<think>\nOkay, 6 × 7 is 42.\n</think>\n\nThe answer is \boxed{42}` becomes `Okay, 6 × 7 is 42.`; SFT sets it off in
the tags that params.yaml names and writes the reference answer after it. The trace's own answer must agree with it.
"""

import re
from collections.abc import Collection
from typing import Literal

from smolmath.answers import grade
from smolmath.answers.boxes import find_boxes, unboxed
from smolmath.data.layouts.candidates import Trace
from smolmath.data.layouts.endings import stated, without_ending

# Markup of other models' formats, and boxes that never close
_LEFT_OVER = re.compile(r"</?\w*(?:think|thought)\w*\s*>|<\|[^|<>]{1,40}\|>|\\boxed(?![a-zA-Z])", re.IGNORECASE)


def verified_trace(
    traces: tuple[Trace, ...], question: str, references: Collection[str], which: Literal["shortest", "first"]
) -> str | None:
    """The reasoning of the shortest (or first) trace that is complete, verified, and right by our own grader too.

    Args:
        traces: generations for the problem.
        question: the problem's text.
        references: spellings of the reference answer: an option's letter, and its text.
        which: of those that are right.

    Returns: None if there is none. A trace that nobody verified is taken on the grader's word.
    """
    candidates = [trace for trace in traces if trace.complete and trace.verified is not False]
    if which == "shortest":
        candidates.sort(key=lambda trace: len(trace.text))
    for trace in candidates:
        if (parts := split_trace(trace.text)) is None:
            continue
        reasoning, *answers = parts
        given = [text for text in answers if text.strip()]
        if reasoning and given and all(_agrees(text, question, references) for text in given):
            return reasoning
    return None


def agreeing_solution(solution: str, question: str, references: Collection[str]) -> str | None:
    """A worked solution without think tags, boxes and the lines that state its answer.

    None if its tags are broken, or if it states another answer than the reference.
    """
    answer = stated(solution)
    if "think>" in solution:
        parts = split_trace(solution)
        if parts is None or not parts[0]:
            return None
        solution = parts[0]
    if answer is None:
        return solution
    return without_ending(solution) if _agrees(f"\\boxed{{{answer}}}", question, references) else None


def _agrees(text: str, question: str, references: Collection[str]) -> bool:
    return any(grade(text, reference, question=question).correct for reference in references)


def split_trace(text: str) -> tuple[str, str, str] | None:
    """(reasoning, the text that gives the answer, the thought's own last box) of one generation.

    Without think tags the first two are the whole text; with nothing between them the reasoning is what follows.
    None if its tags are broken or of another kind.
    """
    parts = _split(text.strip())
    return None if parts is None or _LEFT_OVER.search(parts[0]) else parts


def _split(text: str) -> tuple[str, str, str] | None:
    if "think>" not in text:
        return _plain(text), text, ""
    head, closed, after = text.partition("</think>")
    thought = head.removeprefix("<think>")  # some chat templates write the opening tag into the prompt
    if not closed or "think>" in thought or "think>" in after:
        return None
    boxes = find_boxes(thought)
    return _plain(thought) or _plain(after), after, f"\\boxed{{{boxes[-1].text}}}" if boxes else ""


def _plain(text: str) -> str:
    """Without boxes: the answer is given after the reasoning, once."""
    while boxes := find_boxes(text):
        text = unboxed(boxes, text)
    return text.strip()
