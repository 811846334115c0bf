r"""What makes two problems the same, and which side of the split a problem is on.

Both are functions of the question alone, so that adding rows, reordering files or another dataset that holds
the same question can never move a problem from one side to another.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from smolmath.records import Side

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2061\u2066-\u206f\ufeff]"
)
# What NFKC would lose or leave: 2³ is not 23, log₂8 not log28, 5¼ not 51⁄4, and a minus is a minus.
_MARKS = {"<super>": "^", "<sub>": "_", "<fraction>": " "}
_SIGNS = {"−": "-", "⋅": "·", "\u2062": "*", "\u2063": ",", "\u2064": "+"}
_PLAIN = {
    ord(sign): plain for plain, signs in {"'": "‘’‚‛ʼ′", '"': "“”„‟«»″", "-": "‐‑‒–—―"}.items() for sign in signs
}
_NUMBER = re.compile(r"(?:\$\$?|\\[(\[])([-+]?\d[\d.,]*(?:\\?%)?)(?:\$\$?|\\[)\]])")  # $900$ is 900
_MATH = re.compile(r"\$\$[^$]+\$\$|\$[^$]+\$|\\\((?:(?!\\[()]).)+\\\)|\\\[(?:(?!\\[\[\]]).)+\\\]", re.DOTALL)
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[^{}]*\})?")
_PROSE = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}")  # between two amounts of money, not in a formula
_LATEX_SPACE = re.compile(r"(\\\\)|\\!|\\[,;:> ]|\\q?quad(?![a-z])|~")  # \\\\ ends a row of a matrix
# A space of a formula that says nothing: beside anything but letters and digits, or between \times and 4.
_LOOSE_SPACE = re.compile(r" (?![a-zA-Z0-9])|(?<![a-zA-Z0-9]) ")
_AFTER_COMMAND = re.compile(r"(\\[a-zA-Z]+) (?=\d)")


def normalise_question(question: str) -> str:
    r"""The question without the differences that make no other problem.

    These are the Unicode form, white space, characters that are not seen, the shape of quotes and dashes, case outside
    formulas, and inside them the spacing: `$a\, + b$` is `$a+b$`. Spaces between two numbers or words stay, since 1 23
    is not 12 3, and so does the case of $f$ and $F$. A number alone is no formula: `$900$` is `900`.
    """
    if not question.isascii():
        question = unicodedata.normalize("NFKC", "".join(map(_written_out, question.translate(_PLAIN))))
    text = _INVISIBLE.sub("", question)
    if "$" not in text and "\\" not in text:
        return " ".join(_folded(text).split())
    pieces, position = [], 0
    for formula in _MATH.finditer(text):
        pieces += [_folded(text[position : formula.start()]), _tight(formula[0])]
        position = formula.end()
    return " ".join("".join([*pieces, _folded(text[position:])]).split())


def _folded(text: str) -> str:
    text = text.replace("\\$", "$").replace("\\%", "%")
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text.casefold())


def _tight(formula: str) -> str:
    if _PROSE.search(_COMMAND.sub(" ", formula)):
        return _folded(formula)
    spaced = " ".join(_LATEX_SPACE.sub(_spaced, formula).split())
    tight = _LOOSE_SPACE.sub("", _AFTER_COMMAND.sub(r"\1", spaced))
    number = _NUMBER.fullmatch(tight.replace("{,}", ","))
    return number[1].replace("\\%", "%") if number else tight


def _spaced(command: re.Match[str]) -> str:
    return command[1] or ("" if command[0] == r"\!" else " ")


@lru_cache(maxsize=65536)
def _written_out(character: str) -> str:
    kind = unicodedata.decomposition(character).partition(" ")[0]
    return _MARKS.get(kind, "") + _SIGNS.get(character, character)


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
