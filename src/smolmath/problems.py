r"""What makes two problems the same, and which side of the split a problem is on.

Both are functions of the question alone, so that adding rows, reordering files or another dataset that holds
the same question can never move a problem from one side to another.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")

_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SUPERSCRIPTS = {ord(raised): f"^{digit}" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}  # NFKC makes 2³ of 23
_MATH = re.compile(r"\$\$.+?\$\$|\$[^$]+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_LATEX_SPACE = re.compile(r"\\[,;:!> ]|\\q?quad(?![a-z])|~")
# A space of a formula that says nothing: beside anything but letters and digits, or between \times and 4.
_LOOSE_SPACE = re.compile(r" (?![a-z0-9])|(?<![a-z0-9]) |(?<=\\times) (?=\d)|(?<=\\leq) (?=\d)")


def normalise_question(question: str) -> str:
    r"""The question without the differences that make no other problem.

    These are the Unicode form, case, white space, characters that are not seen, and inside formulas the spacing:
    `$a\, + b$` is `$a+b$`. Spaces between two numbers or words stay, since 1 23 is not 12 3.
    """
    if not question.isascii():
        question = unicodedata.normalize("NFKC", question.translate(_SUPERSCRIPTS))
        question = unicodedata.normalize("NFKC", question.casefold())
    text = _INVISIBLE.sub("", question.casefold())
    if "$" in text or "\\" in text:
        text = _MATH.sub(_tight, text)
    return " ".join(text.split())


def _tight(formula: re.Match[str]) -> str:
    return _LOOSE_SPACE.sub("", " ".join(_LATEX_SPACE.sub(" ", formula[0]).split()))


def problem_id(question: str) -> str:
    """First 16 hex digits of sha256 of the normalised question: the same question has the same id everywhere."""
    return id_of_normalised(normalise_question(question))


def id_of_normalised(normalised: str) -> str:
    """`problem_id` of a question that is normalised already."""
    return hashlib.sha256(normalised.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def id_numbers(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Problem ids as 64-bit numbers, which take an eighth of the room."""
    return np.frombuffer(bytes.fromhex("".join(ids)), dtype=">u8").astype(np.uint64)


def side_of(problem: str, *, seed: int, validation_fraction: float, test_fraction: float) -> Side:
    """The side that a problem id falls on, for a dataset that has no sides of its own.

    Args:
        problem: problem id.
        seed: `split.seed`; another seed draws another split.
        validation_fraction: share of problems, 0 to 1.
        test_fraction: share of problems, 0 to 1.
    """
    digest = hashlib.sha256(f"{seed}:{problem}".encode()).digest()
    u = int.from_bytes(digest[:8], "big") / 2**64  # uniform in [0, 1)
    if u < test_fraction:
        return "test"
    if u < test_fraction + validation_fraction:
        return "validation"
    return "train"
