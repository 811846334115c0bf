r"""Whether an answer only repeats a formula of the problem: `\sqrt{20}` where it says "Simplify $\sqrt{20}$"."""

import re
from functools import lru_cache

from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import parse_number

_MAX_QUESTION = 20_000  # characters
_FORMULA = re.compile(r"\$\$?([^$]{1,2000}?)\$\$?|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
_ENDS = re.compile(r"[=<>;,]|\\(?:le|ge|ne|to|quad|text)(?![a-z])")
_WORDS = re.compile(r"[^\W\d_]{2,}|[?!:\n]|[,.](?=\s)")  # what stands around formulas in plain text
_WORKED_OUT = re.compile(r"[-+*/^(]|\\[a-zA-Z]")  # there is something to work out


def is_copied(answer: str, reference: str, question: str) -> bool:
    """Whether an answer is a formula of the question and not written like the reference.

    Args:
        answer: answer read from a completion.
        reference: the problem's reference answer.
        question: the problem's text.
    """
    said = _squeezed(normalise(answer))
    number = parse_number(said)
    if not _WORKED_OUT.search(said.lstrip("+-")) or (number and number.literal and "^" not in said) or len(said) > 500:
        return False
    return said in _formulas(question[:_MAX_QUESTION]) and said != _squeezed(normalise(reference))


@lru_cache(maxsize=256)
def _formulas(question: str) -> frozenset[str]:
    """Each formula of a text and each side of its equations, normalised and without white space."""
    found = [a or b or c for a, b, c in _FORMULA.findall(question)]
    found += _WORDS.split(_FORMULA.sub(" . ", question))
    wholes = [normalise(text) for text in found if _WORKED_OUT.search(text)]
    return frozenset(_squeezed(part) for whole in wholes for part in (whole, *_ENDS.split(whole)))


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text).strip(".")
