"""Exact numbers read from normalised answers: integers, decimals, fractions, percentages, sums, and one unit.

Everything is a `Fraction`; no float takes part. Work is bounded: text of more than a few hundred characters is only
read if it is one literal, no power has more than MAX_BITS bits, and literals longer than MAX_DIGITS are compared as
digit strings (Python refuses to convert them, and squaring them would be felt).
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

MAX_DIGITS = 4000
MAX_BITS = 20_000
MAX_EXPRESSION = 300
MAX_BRACKETS = 50

RELATIVE_TOLERANCE = Fraction(1, 10**13)
# 1e-13 of a number of twenty digits is a million: an integer must not swallow its neighbours.
ABSOLUTE_TOLERANCE = Fraction(1, 10**4)

_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?: \d{3})+(?:\.\d*)?")
_LITERAL = re.compile(r"([+-]?)(\d+)?(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?")
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}

# A number with something in front (currency, "about") or behind it (unit words, percent).
_APPROXIMATELY = re.compile(r"^(?:approximately|approx\.?|about|roughly|exactly|\\approx|~|=)\s*", re.IGNORECASE)
_CURRENCY = re.compile(r"^([+-]?)(?:US|USD|AUD|CAD|EUR|GBP|Rs\.?)?\s*([$€£¥₹]|USD|EUR|GBP|Rs\.?)?\s*(?=[-+.\d(\\])")
_UNIT_WORD = r"(?:\\unit\{[^{}]*\}|[a-zA-Z]{2,20}(?![a-zA-Z])|[mghsLNJWVKM](?![a-zA-Z])|[$€£¥₹¢]|[a-zA-Z]{1,20}\.)"
_UNIT = re.compile(rf"(?:\s?{_UNIT_WORD}(?:\^\{{?-?[1-4]\}}?)?(?:\s?/\s?{_UNIT_WORD})?(?:\^\{{?-?[1-4]\}}?)?){{1,6}}")
_NUMBER_HEAD = re.compile(r"(?:[-+\d.,*/^(){}eE ]|\\frac)*[\d.)}]")
# Words that change what the number says, so that "18 or more" is not 18.
_NOT_UNITS = frozenset(
    (  # noqa: SIM905 - words in a line read better than a list of quoted ones
        "or and not if of to more less than fewer at least most no but is are was maybe times plus minus squared cubed"
        " factorial mod"
        " sin cos tan log ln sqrt pi lim half third quarter over under between until except remainder am pm th"
        " true false none nan error wrong incorrect instead actually wait"
    ).split()
)
# Unit -> (dimension, factor). Only where people mix them; an unknown unit is no objection.
_UNITS: dict[str, tuple[str, Fraction]] = {
    **{name: ("length", Fraction(factor)) for name, factor in [
        ("mm", "0.001"), ("cm", "0.01"), ("m", "1"), ("meter", "1"), ("metre", "1"), ("km", "1000"),
        ("kilometer", "1000"), ("centimeter", "0.01"), ("inch", "0.0254"), ("foot", "0.3048"), ("feet", "0.3048"),
        ("ft", "0.3048"), ("mile", "1609.344"), ("yard", "0.9144")]},
    **{name: ("mass", Fraction(factor)) for name, factor in [
        ("mg", "0.000001"), ("g", "0.001"), ("gram", "0.001"), ("kg", "1"), ("kilogram", "1"), ("ton", "1000")]},
    **{name: ("time", Fraction(factor)) for name, factor in [
        ("s", "1"), ("second", "1"), ("sec", "1"), ("minute", "60"), ("min", "60"), ("hour", "3600"), ("h", "3600"),
        ("hr", "3600"), ("day", "86400"), ("week", "604800")]},
    **{name: ("volume", Fraction(factor)) for name, factor in [
        ("ml", "0.001"), ("mL", "0.001"), ("l", "1"), ("L", "1"), ("liter", "1"), ("litre", "1")]},
    **{name: ("dollars", Fraction(factor)) for name, factor in [
        ("$", "1"), ("dollar", "1"), ("USD", "1"), ("cent", "0.01"), ("¢", "0.01")]},
    **{name: ("euros", Fraction(1)) for name in ("€", "euro", "EUR")},
    **{name: ("pounds", Fraction(1)) for name in ("£", "GBP")},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value and how it was written."""

    value: Fraction
    decimal: bool = False  # holds a decimal point that its value needs: compared with a tolerance
    places: int = 0  # decimal places, if the text is one literal
    percent: bool = False  # the value is the number before the sign
    unit: str | None = None


class _NotANumber(Exception):
    """The text is no arithmetic, or more of it than is worth reading."""


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
    elif re.match(r"(?:percent|per cent|pct)\b", tail, re.IGNORECASE):
        return replace(number, percent=True)
    if not tail:
        return replace(number, unit=unit)
    return _with_unit(number, tail, unit, attached=bare[head.end() : head.end() + 1].isalpha())


def _with_unit(number: Number, tail: str, currency: str | None, *, attached: bool) -> Number | None:
    words = re.findall(r"[a-zA-Z]+", tail.replace(r"\unit", ""))
    if words and words[0].lower() in _SCALES:
        number = Number(number.value * _SCALES[words[0].lower()])
        tail = tail[len(words[0]) :].strip().removeprefix("s ").strip()
        if not tail:
            return replace(number, unit=currency)
    # "4x" and "5m" are products; "5cm" and "5 m" carry a unit.
    if attached and len("".join(words[:1])) < 2:
        return None
    if not _UNIT.fullmatch(tail) or any(word.lower() in _NOT_UNITS for word in words):
        return None
    return replace(number, unit=currency or re.sub(r"\\unit\{([^{}]*)\}", r"\1", tail).strip())


def _parse_exact(text: str) -> Number | None:
    if text.isdecimal():  # the common case
        return Number(Fraction(int(text))) if len(text) <= MAX_DIGITS else None
    literal = text.replace(",", "").replace(" ", "") if _GROUPED.fullmatch(text.lstrip("+-")) else text
    if found := _LITERAL.fullmatch(literal):
        if not (found[2] or found[3]) or len(literal) > MAX_DIGITS or abs(int(found[4] or 0)) > MAX_DIGITS:
            return None
        value, places = Fraction(literal), len(found[3] or "") if not found[4] else 0
        return Number(value, decimal=value.denominator != 1, places=places)
    percent = literal.endswith("%")
    if percent:
        inner = _parse_exact(literal[:-1])
        return replace(inner, percent=True) if inner else None
    if len(text) > MAX_EXPRESSION or not any(map(str.isdigit, text)):
        return None
    try:
        return _Reader(text).read()
    except (_NotANumber, ZeroDivisionError):
        return None


class _Reader:
    """Recursive descent over sums, products, powers, brackets and `\\frac`, in time linear in the text."""

    _TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+|\\frac|[-+*/^(){}])")

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        while position < len(text):
            found = self._TOKEN.match(text, position)
            if not found:
                raise _NotANumber
            self.tokens.append(found[1])
            position = found.end()
        # Mixed numbers: `1 1/2` and `1\frac{1}{2}` are sums.
        self.mixed = re.fullmatch(r"(-?)(\d+)(?: (\d+)/(\d+)|\\frac\{(\d+)\}\{(\d+)\})", text)
        self.at, self.depth, self.decimal = 0, 0, False

    def read(self) -> Number:
        if self.mixed:
            sign, whole, *parts = self.mixed.groups()
            over, under = (int(part) for part in parts if part)
            value = int(whole) + Fraction(over, under)
            return Number(-value if sign else value)
        value = self._sum()
        if self.at < len(self.tokens):
            raise _NotANumber
        return Number(value, decimal=self.decimal and value.denominator != 1)

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self, wanted: str | None = None) -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise _NotANumber
        self.at += 1
        return token

    def _sum(self) -> Fraction:
        value = self._product()
        while self._peek() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return _bounded(value)

    def _product(self) -> Fraction:
        value = self._signed()
        while self._peek() in ("*", "/"):
            value = _bounded(value * self._signed() if self._take() == "*" else value / self._signed())
        return value

    def _signed(self) -> Fraction:
        sign = 1
        while self._peek() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        return sign * self._power()

    def _power(self) -> Fraction:
        base = self._atom()
        if self._peek() != "^":
            return base
        self._take()
        self.depth += 1
        exponent = self._signed() if self.depth <= MAX_BRACKETS else None
        if exponent is None or exponent.denominator != 1:
            raise _NotANumber  # roots are not rational
        size = base.numerator.bit_length() + base.denominator.bit_length()
        if size * abs(exponent.numerator) > MAX_BITS:
            raise _NotANumber
        return Fraction(base**exponent.numerator)

    def _atom(self) -> Fraction:
        token = self._take()
        if token == r"\frac":
            return self._group() / self._group()
        if token in ("(", "{"):
            self.at -= 1
            return self._group(token, ")" if token == "(" else "}")
        if not token[-1].isdigit():
            raise _NotANumber
        self.decimal |= "." in token
        return Fraction(token)

    def _group(self, opening: str = "{", closing: str = "}") -> Fraction:
        self._take(opening)
        self.depth += 1
        if self.depth > MAX_BRACKETS:
            raise _NotANumber
        value = self._sum()
        self._take(closing)
        return value


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise _NotANumber
    return value


def numbers_match(predicted: Number, reference: Number) -> bool:
    """Whether two numbers are one value: percent, units and the tolerance of docs/grading.md taken into account."""
    predicted_unit, reference_unit = _known_unit(predicted.unit), _known_unit(reference.unit)
    if predicted_unit and reference_unit and predicted_unit != reference_unit:
        if predicted_unit[0] != reference_unit[0]:
            return False
        factor = predicted_unit[1] / reference_unit[1]
        return _close(replace(predicted, value=predicted.value * factor), reference)
    if predicted.percent == reference.percent:
        return _close(predicted, reference)
    # 25% fits 25 and 0.25, whichever side the sign stands on.
    if predicted.percent:
        return _close(predicted, reference) or _close(replace(predicted, value=predicted.value / 100), reference)
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
    return difference <= min(RELATIVE_TOLERANCE * abs(reference.value), ABSOLUTE_TOLERANCE)


def _known_unit(unit: str | None) -> tuple[str, Fraction] | None:
    if not unit:
        return None
    return _UNITS.get(unit) or _UNITS.get(unit.lower()) or _UNITS.get(unit.lower().removesuffix("s"))
