"""Spellings that don't change what an answer says: units, names, the way to it, the letter of a parameter.

Each function takes normalised texts and returns the text without, or says that two spellings are one.
"""

import re
from fractions import Fraction

from smolmath.answers.kinds import OF_AN_ANGLE, UNIT, is_prose
from smolmath.answers.numbers import numbers_match, parse_number
from smolmath.answers.structure import strip_name
from smolmath.answers.units import unwrapped

_PARAMETER = re.compile(r"[,;]?\s?\(?([a-zA-Z])\\in\s?\\(?:mathbb|mathbf)?\{?([ZN])\}?(?:\^\{?\+\}?)?\)?$")
_CONDITION = re.compile(r"\b(?:if|when|where|unless|not|or|and|than|to|but)\b", re.IGNORECASE)
_DEGREES = re.compile(r"(\d{1,20}(?:\.\d{1,20})?|[a-zA-Z])\\unit\{deg\}")
CLOCK = re.compile(r"\d{1,2}:[0-5]\d(?!\d).*")
RATIO = re.compile(r"\d+(?:\.\d+)?(?:(?::|\s?to\s?|\\to\s?)\d+(?:\.\d+)?)+")
_ALIKE = re.compile(r"\s|\.(?!\d)|(?<!\d)\.")
WORD = re.compile(r"[^\W\d_]{3}|^(?:yes|no)$")
# What names the quantity that is asked for, rather than being an equation that is yet to be solved.
_QUANTITY = re.compile(
    r"[a-zA-Z](?:[-+*]?[a-zA-Z]){1,6}"  # AB, x+y
    r"|(?:\\(?:angle|triangle|overline|widehat|vec|operatorname|mathrm|left|right|frac|cdot|max|min|gcd|lcm|deg)"
    r"|[A-Z]|[-+*/{}()|,;_ ]|[a-z](?=\())+"  # \frac{AC}{CB}, |AB|
    r"|[a-zA-Z]\([-\w,;^]{1,20}\)"  # f(2)
    r"|\\(?:sin|cos|tan|cot)\s?(?:\\[a-z]+|[A-Z]|\\angle\s?[A-Z]{1,3})"  # \cos\theta
)


def with_one_parameter(predicted: str, reference: str) -> tuple[str, str]:
    r"""Both texts with one letter for their integer parameter: `k\pi, k\in\mathbb{Z}` is `n\pi, n\in\mathbb{Z}`."""
    found = _PARAMETER.search(predicted), _PARAMETER.search(reference)
    if not (found[0] and found[1]) or found[0][2] != found[1][2]:
        return predicted, reference
    letter = re.compile(rf"(?<![a-zA-Z\\]){found[0][1]}(?![a-zA-Z])")
    return letter.sub(found[1][1], predicted[: found[0].start()]), reference[: found[1].start()]


def without_units(text: str) -> str:
    """The text without money and units, where they don't change what it says."""
    if r"\unit{deg}" in text:
        radians = r"(\1*\\frac{\\pi}{180})" if OF_AN_ANGLE.search(text) else r"\1"
        text = _DEGREES.sub(radians, text)
    return text if CLOCK.match(text) else UNIT.sub("", text).removeprefix("$")


def alike(text: str) -> str:
    """The text without white space, dots of abbreviations and case."""
    return _ALIKE.sub("", unwrapped(text)).casefold()


def ratios_equal(predicted: str, reference: str) -> bool:
    """6:8 is 3:4, but 7:30 and 14:60 are times of day, and "6 to 8" may be a range."""
    if CLOCK.fullmatch(predicted) or CLOCK.fullmatch(reference):
        return False
    ratios = [[Fraction(term) for term in re.findall(r"\d+(?:\.\d+)?", text)] for text in (predicted, reference)]
    a, b = ratios
    if ":" not in predicted:
        return a == b
    return len(a) == len(b) and all(a[0] * y == b[0] * x for x, y in zip(a, b, strict=True)) and any(a) and any(b)


def without_names(predicted: str, reference: str) -> tuple[str, str]:
    """The values of `x=4` and `4`, or of `x=4` and `x=2+2`; the answers as they are where the names differ."""
    predicted_name, predicted_value = strip_name(predicted)
    reference_name, reference_value = strip_name(reference)
    if predicted_name != reference_name and "=" in predicted and "=" in reference:
        return predicted, reference  # two equations, or values of different things
    values = end_of_chain(predicted_value), end_of_chain(reference_value)
    # An equation against an equation of another form is the judge's.
    if any("=" in value for value in values) or (predicted_name is None and "=" in predicted and "=" in reference):
        return predicted, reference
    return values


def end_of_chain(text: str) -> str:
    """The last value of `2+2=4`, unless the sides contradict each other, as in `5=7`."""
    if "=" not in text:
        return text
    sides = text.split("=")
    if not all(sides):
        return text  # 5==5
    numbers = [parse_number(side) for side in sides]
    if numbers[-1] is None or any(n is not None and not numbers_match(n, numbers[-1]) for n in numbers[:-1]):
        return text
    if not all(numbers) and is_prose(text):
        # "Total cost = $12 + $6 = $18" names what it computes.
        return text if _CONDITION.search(text) else sides[-1]
    return sides[-1] if all(numbers) or len(sides) > 2 or _is_quantity(sides[0]) else text


def _is_quantity(text: str) -> bool:
    """Whether the left side of `x-y=10` names what is asked for, where `2x=10` and `x^2=16` are yet to be solved."""
    return bool(_QUANTITY.fullmatch(text))
