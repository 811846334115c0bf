r"""Worked solutions that end in their answer, as the grader reads them.

`#### 18`, `The answer is 18.`, `\boxed{18}`, `<answer>18</answer>`, and MetaMathQA's `#### 18\nThe answer is: 18`.
"""

import re
from typing import Any

from smolmath.answers import extract_answer, is_verifiable
from smolmath.answers.boxes import find_boxes, unboxed
from smolmath.data.layouts.candidates import Candidate
from smolmath.data.layouts.values import only_one

LACKING = r"neither a value alone nor a solution that ends in #### X, \boxed{X}, <answer>X</answer> or The answer is X"
BARE_CHARS = 50  # of an answer alone; a longer one must be a formula
_STATED = ("answer_block", "boxed", "hashes", "the_answer_is")
_LAST = re.compile(
    r"\s*(?:####[^\n]*|<(?:final_)?answer>.*?</(?:final_)?answer>"
    r"|(?<![^\n.!?] )(?<![^\s])[^\n.!?]*\banswer(?:\s+is\b|\s*:)[^\n]*)\s*\Z",
    re.DOTALL | re.IGNORECASE,
)
_CALCULATOR_MARKS = re.compile(r"<<[^<>]*>>")  # <<48/2=24>> steered a calculator; the text reads on without it
_NO_WORDS = re.compile(r"\$[^$]*\$|\\[a-zA-Z]+(?:\s*\{[^{}]*\})?")
_WORD = re.compile(r"[^\W\d_]{3,}")
_THING = re.compile(r"(.*\S)\s*\(([^\W\d_][^()\d]*)\)", re.DOTALL)  # 5 (things), as ASDiv writes it


def read_answer(question: Any, answer: Any, solution: Any = None, source: Any = None) -> Candidate:
    """A problem whose answer stands by itself, or at the end of a worked solution.

    The worked solution is `solution` where there is one, else what stands before the answer.
    """
    answer, solution = only_one(answer), only_one(solution)
    if not isinstance(answer, str):
        return Candidate(question, answer, solution, source)
    final, worked = ending(answer)
    if final is None and _is_bare(answer):
        thing = _THING.fullmatch(answer.strip())
        final = thing[1] if thing and is_verifiable(thing[1]) else answer
    return Candidate(question, final, worked if solution is None else solution, source, lacking=LACKING)


def ending(text: str) -> tuple[str | None, str | None]:
    """(the answer that a worked solution ends in, the solution without it); None for what there is not."""
    before, hashes, final = text.rpartition("####")
    if not hashes or "\n" in final.strip():
        found = extract_answer(text)
        if found.strategy not in _STATED:
            return None, None
        final, before = found.text or "", text
    worked = without_ending(before)
    return final, worked if worked.strip("$ .") != final.strip("$ .") and worked else None


def stated(solution: str) -> str | None:
    """The answer that a worked solution states in so many words, None where it only reasons about "the answer"."""
    marked = "\\boxed" in solution or "####" in solution or _LAST.search(solution)
    return ending(solution)[0] if marked else None


def without_ending(text: str) -> str:
    """A solution without the lines that state its answer, without boxes and a calculator's marks.

    A sentence that reasons and states it at once stays.
    """
    text = _CALCULATOR_MARKS.sub("", text).strip()
    while (cut := _LAST.sub("", text)) != text and (cut or "=" not in text):
        text = cut
    while boxes := find_boxes(text):
        text = unboxed(boxes, text)
    return text.strip()


def _is_bare(answer: str) -> bool:
    """Whether an answer is a value and nothing else: prose may end in a number, too."""
    answer = answer.strip()
    words = _WORD.findall(_NO_WORDS.sub(" ", answer)) if len(answer) > BARE_CHARS else []
    return len(words) < 3 and is_verifiable(answer)
