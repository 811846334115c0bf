"""Spellings that don't change what an answer says: units, names, the way to it, the letter of a parameter.

Each function takes normalised texts and returns the text without, or says that two spellings are one.
"""

import re
from fractions import Fraction

from smolmath.answers.kinds import OF_AN_ANGLE, UNIT
from smolmath.answers.units import unwrapped

_PARAMETER = re.compile(
    r"[,;]?\s?\(?(?:where |for (?:all |any |some )?)?(?:"
    r"([a-zA-Z])\\in\s?\\?(?:mathbb|mathbf)?\{?([ZN])\}?(?:\^\{?\+\}?)?"
    r"|([a-zA-Z])(?: (?:is|are))?(?: an?y?)? integers?"
    r"|integers? ([a-zA-Z]))\)?$"
)
_INTEGERS = re.compile(r"(?<![a-zA-Z\\])[kmnl](?![a-zA-Z])")
_DEGREES = re.compile(r"(\d{1,20}(?:\.\d{1,20})?|[a-zA-Z])\\unit\{deg\}")
CLOCK = re.compile(r"\d{1,2}:[0-5]\d(?!\d).*")
_RESIDUE = re.compile(r"(?:([a-zA-Z])\\equiv\s?)?(-?\d{1,20})\s?\(mod (\d{1,20})\)")
RATIO = re.compile(r"\d+(?:\.\d+)?(?:(?::|\s?to\s?|\\to\s?)\d+(?:\.\d+)?)+")
_ALIKE = re.compile(r"\s|\.(?!\d)|(?<!\d)\.")
WORD = re.compile(r"[^\W\d_]{3}|^(?:yes|no)$")
_STATEMENT = re.compile(
    r"(?:(?:the|my|our|so|thus|hence|therefore),? ){0,3}(?:final |correct |right ){0,2}ans(?:wer)?\b"
    r"(?: ?(?:is|are)\b| ?[:=]){1,3} ?(.+)"
    r"|(?:the|our|its|total|there)\b[a-z' ]{0,60}? (?:is|are|equals|was|were)\b ?(?=[-+\d$\\(])(.+)",
    re.IGNORECASE | re.DOTALL,
)
_HEDGED = re.compile(r"\b(?:not|no|or|if|either|neither|never|than|wrong|unless|maybe|perhaps)\b|n't", re.IGNORECASE)


def with_one_parameter(predicted: str, reference: str) -> tuple[str, str]:
    r"""Both texts with one letter for their integer parameter: `k\pi, k\in\mathbb{Z}` is `n\pi`, of any integer n."""
    found = _PARAMETER.search(predicted), _PARAMETER.search(reference)
    if not any(found):
        return predicted, reference
    if found[0] and found[1] and (found[0][2] or "Z") != (found[1][2] or "Z"):
        return predicted, reference
    bare = [text[: it.start()] if it else text for text, it in zip((predicted, reference), found, strict=True)]
    letters = [
        {it[1] or it[3] or it[4]} if it else set(_INTEGERS.findall(text)) for text, it in zip(bare, found, strict=True)
    ]
    if any(len(said) != 1 for said in letters):
        return predicted, reference
    (own,), (other,) = letters
    return re.sub(rf"(?<![a-zA-Z\\]){own}(?![a-zA-Z])", other, bare[0]), bare[1]


def without_units(text: str) -> str:
    """The text without money and units, where they don't change what it says."""
    if r"\unit{deg}" in text:
        radians = r"(\1*\\frac{\\pi}{180})" if OF_AN_ANGLE.search(text) else r"\1"
        text = _DEGREES.sub(radians, text)
    return text if CLOCK.match(text) else UNIT.sub("", text).removeprefix("$")


def alike(text: str) -> str:
    """The text without white space, dots of abbreviations and case."""
    return _ALIKE.sub("", unwrapped(text)).casefold()


def residues_equal(predicted: str, reference: str) -> bool | None:
    """Whether 12 (mod 7) is 5 (mod 7); None where one of them is no residue."""
    residues = [_RESIDUE.fullmatch(text) for text in (predicted, reference)]
    if not (residues[0] and residues[1]):
        return None
    names = {residue[1] for residue in residues if residue} - {None}
    (a, m), (b, n) = ((int(residue[2]), int(residue[3])) for residue in residues if residue)
    return len(names) < 2 and m == n > 0 and (a - b) % m == 0


def ratios_equal(predicted: str, reference: str) -> bool:
    """6:8 is 3:4, but 7:30 and 14:60 are times of day, and "6 to 8" may be a range."""
    if CLOCK.fullmatch(predicted) or CLOCK.fullmatch(reference):
        return False
    ratios = [[Fraction(term) for term in re.findall(r"\d+(?:\.\d+)?", text)] for text in (predicted, reference)]
    a, b = ratios
    if ":" not in predicted:
        return a == b
    return len(a) == len(b) and all(a[0] * y == b[0] * x for x, y in zip(a, b, strict=True)) and any(a) and any(b)


def without_statement(text: str) -> str:
    """The value in "The answer is 5" or "Answer: 5"; the text if it states none, or not firmly."""
    found = _STATEMENT.fullmatch(text)
    if not found or _HEDGED.search(text[: found.start(found.lastindex or 0)]):
        return text
    return found[1] or found[2]
