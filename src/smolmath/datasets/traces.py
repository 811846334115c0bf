r"""Which generation of a reasoning model becomes a problem's worked solution.

`<think>\nOkay, 6 × 7 is 42.\n</think>\n\nThe answer is \boxed{42}` becomes `Okay, 6 × 7 is 42.`; SFT sets it off in
the tags that params.yaml names and writes the reference answer after it. The trace's own answer must agree with it.
"""

import re
from typing import Literal

from smolmath.answers import grade
from smolmath.answers.boxes import find_boxes, unboxed
from smolmath.datasets.candidates import Trace

_TAGS = re.compile(r"</?(?:think|reasoning|answer)>")


def verified_trace(traces: tuple[Trace, ...], reference: str, which: Literal["shortest", "first"]) -> str | None:
    """The reasoning of the shortest (or first) trace that is complete, verified, and right by our own grader too.

    None if there is none. A trace that nobody verified is taken on the grader's word.
    """
    candidates = [trace for trace in traces if trace.complete and trace.verified is not False]
    if which == "shortest":
        candidates.sort(key=lambda trace: len(trace.text))
    for trace in candidates:
        if (parts := split_trace(trace.text)) and grade(parts[1], reference).correct:
            return parts[0]
    return None


def split_trace(text: str) -> tuple[str, str] | None:
    """(reasoning, the text that gives the answer) of one generation; None if its tags are broken.

    Without think tags both are the whole text; with nothing between them the reasoning is what follows.
    """
    text = text.strip()
    if "think>" not in text:
        return _plain(text), text
    head, closed, after = text.partition("</think>")
    thought = head.removeprefix("<think>")  # some chat templates write the opening tag into the prompt
    if not closed or "think>" in thought or "think>" in after:
        return None
    return _plain(thought) or _plain(after), after


def _plain(text: str) -> str:
    """Without boxes and tags: the answer is given after the reasoning, once."""
    return _TAGS.sub("", unboxed(find_boxes(text), text)).strip()
