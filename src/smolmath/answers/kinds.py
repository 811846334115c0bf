"""What kind of answer a normalised text is: a letter, a number, a formula or words, and whether it can be graded."""

import re
from functools import lru_cache
from typing import Literal

from smolmath.answers.normalise import MARKS, normalise
from smolmath.answers.numbers import digits_of, parse_number
from smolmath.answers.structure import MAX_PARTS, split_parts, strip_name

MAX_FORMULA = 300  # characters that the judge is asked about
MAX_ANSWER = 4_000  # characters beyond which only literal numbers and equal text are seen

NAN = re.compile(r"[+-]?nan|n/?a|none", re.IGNORECASE)  # no answer
SOME_MARKS = re.compile(f"[{MARKS}]+")
_LETTER = re.compile(
    r"(?:(?i:option|choice|answer)\s?)?\(?([A-J]|[a-j](?=[).]?$))"
    r"(?:\)?$|\)[.:]?(.+)|[.:](.+)| ?(\([-\d$\\].*\))| ([-\d$\\].*))",
    re.DOTALL,
)
_UNSURE = re.compile(r"(?<![a-zA-Z])(?:[A-J]|not|or|and|nor|neither|wrong|incorrect|no)(?![a-zA-Z])|n't")
_CLOSING_LETTER = re.compile(r"([^()]{1,200})\(([A-J])\)")  # none of the above, i.e. (E)
LABELLED_VALUE = re.compile(r"\(?[A-J](?:\)[.:]?|[.:](?=[-+\d\\$]))(.+)", re.DOTALL)
RELATION = re.compile(r"[<>]|\\(?:le|ge|ne|lt|gt|approx)(?![a-zA-Z])")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[pbBv]?matrix\}|&|\\\\")
COMMAND = re.compile(r"\\[a-zA-Z]+")
UNIT = re.compile(r"\s?\\unit\{[^{}]*\}(?:\^\{?\d\}?)?(?:/\\unit\{[^{}]*\})?$")
_RUN = re.compile(r"[^\W\d_]{2,}")
_CONNECTORS = re.compile(r"(?<![a-zA-Z\\])(?:and|or|either|both)(?![a-zA-Z])")
# Words in a line read better than a list of quoted ones, hence the noqa.
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp arcsin arccos arctan sinh cosh tanh max min gcd lcm".split()  # noqa: SIM905
)
_PROSE = frozenset("not or and is no the for yes any all none so to of we he".split())  # noqa: SIM905
_SHORT = frozenset("if in an at by it as on am pm".split())  # noqa: SIM905 - or letters of a product
_NOT_A_FORMULA = re.compile(r"""[:"?#@&]|\.\.|(?<!~)\[|\d'|\d[a-zA-Z]+\d|\d\s+\d|(?<![a-zA-Z~])_""")  # ~ a command
OF_AN_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
# What sympy would write out: towers of numbers, powers of thousands, factorials of hundreds.
_EXPLOSIVE = re.compile(
    r"\d[)}]{0,9}\^[({]{0,9}-?\d+[)}]{0,9}\^|\^\{?-?\(?\d{4,}|\^\{[^}]{0,40}(?:!|\d\*\d)|\d{3}\)?!|!!|\^\{[({]{0,9}\d+[({]?\^"
)


def read_letter(text: str) -> str | None:
    """The option that a normalised answer names: `(D)`, `D.` and `D)81` name D; a list of options names none."""
    if (found := _CLOSING_LETTER.fullmatch(text)) and re.search("[a-z]", found[1]):
        return None if _UNSURE.search(found[1]) else found[2]
    found = _LETTER.fullmatch(text)
    if not found or _UNSURE.search(next(filter(None, found.groups()[1:]), "")):
        return None
    return found[1].upper()


def is_prose(text: str) -> bool:
    """Whether a normalised text holds words, rather than names and functions of a formula.

    Short words are letters of a product where no space sets them off: `an+b`, `e^{at}`.
    """
    bare = COMMAND.sub(" ", re.sub(r"\\(?:unit|begin|end)\{[^{}]*\}", " ", text))
    for run in _RUN.finditer(bare):
        if run[0] in FUNCTIONS:
            continue
        if len(run[0]) > 3 or run[0].lower() in _PROSE:
            return True
        if run[0].lower() in _SHORT:
            before, after = bare[: run.start()][-1:], bare[run.end() : run.end() + 1]
            if (before in ("", " ") and after in ("", " ")) or (before + after).isspace():
                return True
    return False


def read_value_kind(text: str) -> Literal["number", "formula", "prose"]:
    """What an answer looks like as a whole; extraction looks inside prose for the value."""
    normalised = normalise(text[: MAX_ANSWER + 1])
    if parse_number(normalised) or digits_of(normalised):
        return "number"
    if read_letter(normalised):
        return "formula"
    return "prose" if is_prose(_CONNECTORS.sub(" ", normalised)) else "formula"


def is_formula(text: str) -> bool:
    """Whether the judge may be asked about a text: short, no words, nothing that it would compute for hours."""
    if len(text) > MAX_FORMULA or text.count("{") != text.count("}") or is_prose(text):
        return False
    if _EXPLOSIVE.search(text) or r"\partial" in text:
        return False
    if r"\begin{" in text:
        text = _ENVIRONMENT.sub(",", text)  # matrices in a sum or a product
    return not _NOT_A_FORMULA.search(COMMAND.sub("~", text))


@lru_cache(maxsize=65536)
def is_verifiable(reference: str) -> bool:
    """Whether the grader can tell right from wrong for this reference answer.

    True for a number, a formula, a set, tuple or list of them, and the letter of an option; False for words, proofs,
    NaN and nothing at all.
    """
    text = normalise(reference)
    if not text or NAN.fullmatch(text):
        return False
    if SOME_MARKS.fullmatch(text):
        return True
    if digits_of(text) or (len(text) <= MAX_ANSWER and (parse_number(text) or read_letter(text))):
        return True
    if len(text) > MAX_FORMULA:
        return False
    parts = split_parts(text)
    if parts and parts.items != (text,):
        return len(parts.items) <= MAX_PARTS and all(is_verifiable(item) for item in parts.items)
    value = UNIT.sub("", strip_name(text)[1])
    # Lower-case letters alone are a word ("see") unless they are few enough to be a product ("ab").
    word = value.isalpha() and (len(value) > 3 or (len(value) > 2 and value != value.upper()))
    return not word and not is_prose(value) and bool(re.search(r"[a-zA-Z\d]", value))
