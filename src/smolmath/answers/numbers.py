"""Exact numbers read from normalised answers: integers, decimals, fractions, percentages, sums, and one unit.

Everything is a `Fraction`; no float takes part. Work is bounded: text of more than a few hundred characters is only
read if it is one literal, no power has more than MAX_BITS bits, and literals longer than MAX_DIGITS are compared as
digit strings (Python refuses to convert them, and squaring them would be felt).
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from smolmath.answers.algebra import NotAlgebraic, Reader
from smolmath.answers.units import known_unit, may_be_unit, unwrapped

MAX_DIGITS = 4000
MAX_BITS = 20_000
MAX_EXPRESSION = 300

RELATIVE_TOLERANCE = Fraction(1, 10**13)
# 1e-13 of a number of twenty digits is a million: an integer must not swallow its neighbours.
ABSOLUTE_TOLERANCE = Fraction(1, 10**4)

_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?: \d{3})+(?:\.\d*)?")
_LITERAL = re.compile(r"([+-]?)(\d+)?(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?")
_REPEATING = re.compile(r"([+-]?)(\d*)\.(\d*)(?:\\overline|\\bar|\\dot)\s*(?:\{(\d{1,40})\}|(\d))")
_DOTS = re.compile(r"([+-]?)(\d*)\.(\d{0,40}?)(\d)\4{2,40}(?:\.\.\.|…|\\(?:ldots|dots|cdots))")
# Mixed numbers: `1 1/2` and `1\frac{1}{2}` are sums.
_MIXED = re.compile(r"(-?)(\d{1,300})(?: (\d{1,300})/(\d{1,300})|\\frac\{(\d{1,300})\}\{(\d{1,300})\})")
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}-\d{1,2}-\d{4}|\d{1,4}/\d{1,2}/\d{1,4}")
_PLAIN = r"(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)"
_SIGNED = rf"[-+]?{_PLAIN}|\([-+]?{_PLAIN}\)"
_QUOTIENT = rf"\\frac\{{(?:{_SIGNED})\}}\{{(?:{_SIGNED})\}}|(?:{_SIGNED})/(?:{_SIGNED})"
_POWER = rf"\^(?:\{{(?:{_SIGNED}|{_QUOTIENT})\}}|\((?:{_SIGNED}|{_QUOTIENT})\)|-?\d+)"
_ONE_NUMBER = re.compile(
    rf"[-+]?(?:(?:{_SIGNED})(?:{_POWER})?|(?:{_QUOTIENT})|\((?:{_QUOTIENT})\)(?:{_POWER})?|(?:{_SIGNED})\*10{_POWER}"
    rf"|\\sqrt(?:\[\d\])?\{{(?:{_SIGNED}|{_QUOTIENT})\}})"
)
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

# A number with something in front (currency, "about") or behind it (unit words, percent).
_APPROXIMATELY = re.compile(r"^(?:approximately|approx\.?|about|roughly|exactly|\\approx|~|=)\s*", re.IGNORECASE)
_CURRENCY = re.compile(r"^([+-]?)(?:US|USD|AUD|CAD|EUR|GBP|Rs\.?)?\s?([$€£¥₹]|USD|EUR|GBP|Rs\.?)?\s?(?=[-+.\d(\\])")
_UNIT_WORD = (
    r"(?:\\unit\{[^{}]*\}|[\u4e00-\u9fff]{1,6}|[a-zA-Z]{2,20}(?![a-zA-Z])|[mghsLNJWVKM](?![a-zA-Z])|[$€£¥₹¢]"
    r"|[a-zA-Z]{1,20}\.)"
)
_UNIT = re.compile(rf"(?:\s?{_UNIT_WORD}(?:\^\{{?-?[1-4]\}}?)?(?:\s?/\s?{_UNIT_WORD})?(?:\^\{{?-?[1-4]\}}?)?){{1,6}}")
_NUMBER_HEAD = re.compile(r"(?:[-+\d.,*/^(){}eE ]|\\frac)*[\d.)}]")


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value and how it was written."""

    value: Fraction
    decimal: bool = False  # holds a decimal point that its value needs: compared with a tolerance
    places: int = 0  # decimal places, if the text is one literal
    percent: bool = False  # the value is the number before the sign
    unit: str | None = None
    literal: bool = True  # one number as it is written, not arithmetic that comes to one


def digits_of(text: str) -> str | None:
    """The shortest spelling of a literal of any length, or None: `+007.50` gives `7.5`, `-0` gives `0`."""
    if _GROUPED.fullmatch(text.lstrip("+-")):
        text = text.replace(",", "").replace(" ", "")
    found = _LITERAL.fullmatch(text)
    if not found or not (found[2] or found[3]) or found[4]:
        return None
    whole, fraction = (found[2] or "").lstrip("0") or "0", (found[3] or "").rstrip("0")
    sign = "-" if found[1] == "-" and (whole, fraction) != ("0", "") else ""
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


@lru_cache(maxsize=16384)
def parse_number(text: str) -> Number | None:
    """The one number that a normalised text states, or None if it states none, several, or something about one.

    >>> parse_number("1,250 dollars")
    Number(value=Fraction(1250, 1), decimal=False, places=0, percent=False, unit='dollars')
    """
    number = _parse_exact(text)
    if number is not None or len(text) > MAX_EXPRESSION:
        return number
    bare = _APPROXIMATELY.sub("", text)
    currency = _CURRENCY.match(bare)
    unit = currency[2] if currency else None
    if currency:
        bare = currency[1] + bare[currency.end() :]
    head = _NUMBER_HEAD.match(bare)
    if not head:
        return _parse_exact(bare)
    tail = bare[head.end() :].strip()
    number = _parse_exact(head[0].strip())
    if number is None:
        return None
    if tail.startswith("%"):
        number, tail = replace(number, percent=True), tail[1:].strip()
    elif found := re.match(r"(?:percent|per cent|pct)\b\s?", tail, re.IGNORECASE):
        number, tail = replace(number, percent=True), tail[found.end() :]
    if not tail:
        return replace(number, unit=unit)
    return _with_unit(number, tail, unit, attached=bare[head.end() : head.end() + 1].isalpha())


def _with_unit(number: Number, tail: str, currency: str | None, *, attached: bool) -> Number | None:
    tail = unwrapped(tail).strip()
    words = re.findall(r"[a-zA-Z]+", tail)
    if words and words[0].lower() in _SCALES:
        number = Number(number.value * _SCALES[words[0].lower()])
        tail = tail[len(words[0]) :].strip().removeprefix("s ").strip()
        words = words[1:]
    if not tail:
        return replace(number, unit=currency)
    if tail.startswith("/") and words and len(words[0]) > 1:
        tail = tail[1:].strip()  # $18/day
    # "4x" and "5m" are products; "5cm" and "5 m" carry a unit.
    if not _UNIT.fullmatch(tail) or not may_be_unit(words, attached=attached):
        return None
    return replace(number, unit=currency or tail)


def _parse_exact(text: str) -> Number | None:
    if text.isdecimal():  # the common case
        return Number(Fraction(int(text))) if len(text) <= MAX_DIGITS else None
    literal = text.replace(",", "").replace(" ", "") if _GROUPED.fullmatch(text.lstrip("+-")) else text
    if found := _LITERAL.fullmatch(literal):
        if not (found[2] or found[3]) or len(literal) > MAX_DIGITS or abs(int(found[4] or 0)) > MAX_DIGITS:
            return None
        value, places = Fraction(literal), len(found[3] or "") if not found[4] else 0
        return Number(value, decimal=value.denominator != 1, places=places)
    if literal.endswith("%"):
        inner = None if literal.endswith("%%") else _parse_exact(literal[:-1])
        return replace(inner, percent=True) if inner else None
    if found := _REPEATING.fullmatch(text) or _DOTS.fullmatch(text):
        block = found[4] or found[5]
        lead, shift = (found[2] or "0") + found[3], 10 ** len(found[3])
        value = (int(lead) + Fraction(int(block), 10 ** len(block) - 1)) / shift
        return Number(-value if found[1] == "-" else value)
    if len(text) > MAX_EXPRESSION or not any(map(str.isdigit, text)) or DATE.fullmatch(text):
        return None
    if found := _MIXED.fullmatch(text):
        sign, whole, *parts = found.groups()
        over, under = (int(part) for part in parts if part)
        return Number((-1 if sign else 1) * (int(whole) + Fraction(over, under))) if under else None
    try:
        reader = _ExactReader(text)
        value = reader.read()
    except (NotAlgebraic, ZeroDivisionError):
        return None
    return Number(value, decimal=reader.decimal and value.denominator != 1, literal=is_literal(text))


def is_literal(text: str) -> bool:
    """Whether a text is one number, fraction, power or root: `\\frac{3}{4}`, `2*10^{5}` or `\\sqrt{9}`, not `3*6`."""
    return bool(_ONE_NUMBER.fullmatch(text))


class _ExactReader(Reader[Fraction]):
    """Rational numbers, none of them longer than MAX_BITS."""

    juxtaposed = False

    def number(self, token: str) -> Fraction:
        return Fraction(token)

    def letter(self, token: str) -> Fraction:
        raise NotAlgebraic

    def reduced(self, value: Fraction) -> Fraction:
        if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
            raise NotAlgebraic
        return value

    def inverse(self, value: Fraction) -> Fraction:
        return 1 / value

    def root(self) -> Fraction:
        raise NotAlgebraic

    def power(self, base: Fraction) -> Fraction:
        exponent = self.group("{", "}") if self.peek() == "{" else self.signed()
        size = base.numerator.bit_length() + base.denominator.bit_length()
        if exponent.denominator != 1 or size * abs(exponent.numerator) > MAX_BITS:
            raise NotAlgebraic  # roots are not rational
        return Fraction(base**exponent.numerator)


def numbers_match(predicted: Number, reference: Number) -> bool:
    """Whether two numbers are one value: percent, units and the tolerance of docs/grading.md taken into account."""
    predicted_unit, reference_unit = known_unit(predicted.unit), known_unit(reference.unit)
    if predicted_unit and reference_unit and predicted_unit != reference_unit:
        if predicted_unit[0] != reference_unit[0]:
            return False
        factor = predicted_unit[1] / reference_unit[1]
        return _close(replace(predicted, value=predicted.value * factor), reference)
    if reference.literal and not predicted.literal:
        return False  # 3*6 is yet to be worked out
    dozens = [12 if (number.unit or "").startswith("dozen") else 1 for number in (predicted, reference)]
    if dozens[0] != dozens[1]:
        predicted = replace(predicted, value=predicted.value * dozens[0])
        reference = replace(reference, value=reference.value * dozens[1])
    if predicted.percent == reference.percent:
        return _close(predicted, reference)
    # 25% fits 25 and 0.25, whichever side the sign stands on. A share of whole percents is a decimal of two places.
    if predicted.percent:
        share = replace(predicted, value=predicted.value / 100, decimal=True)
        return _close(predicted, reference) or _close(share, reference)
    as_share = replace(reference, value=reference.value / 100, places=reference.places and reference.places + 2)
    return _close(predicted, reference) or _close(predicted, as_share)


def _close(predicted: Number, reference: Number) -> bool:
    difference = abs(predicted.value - reference.value)
    if difference == 0:
        return True
    # A reference of two places stands for everything that rounds to it, but a predicted decimal says its own digits.
    if reference.places and not predicted.decimal and difference <= Fraction(1, 2 * 10**reference.places):
        return True
    if not (predicted.decimal or reference.decimal) or reference.value == 0:
        return False
    return difference < min(RELATIVE_TOLERANCE * abs(reference.value), ABSOLUTE_TOLERANCE)
