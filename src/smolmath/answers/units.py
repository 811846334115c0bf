"""Units behind a number: which words may be one, and which of them measure the same thing.

A unit beside one number is no part of the answer, so an unknown unit is no objection; but two known units are
compared: 5000 m is 5 km, and 5 km is not 5 m.
"""

import re
from fractions import Fraction
from functools import lru_cache

# Words that change what the number says, so that "18 or more" is not 18.
NOT_UNITS = frozenset(
    (  # noqa: SIM905 - words in a line read better than a list of quoted ones
        "or and not nor if of to more less than fewer at least most no but is are was maybe perhaps possibly probably"
        " times plus minus squared cubed factorial mod modulo divided choose base sin cos tan log ln exp sqrt pi lim"
        " half halves third thirds quarter fourths fifth fifths sixths eighths tenth tenths hundredths"
        " thousandths over under between until except remainder versus vs above below through"
        " am pm bc ad th st nd rd lakh crore gross score true false none nan error wrong incorrect instead actually"
        " wait one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty"
        " too binary octal hexadecimal hypothetically assuming either neither otherwise else"
    ).split()
)
# 5 right is no number, but 14 right triangles are one.
_DIRECTIONS = frozenset(
    "north south east west northeast northwest southeast southwest up down left right forward backward".split()  # noqa: SIM905
)
_NAMES = {  # dimension -> unit -> factor
    "length": {
        "mm": "0.001", "cm": "0.01", "dm": "0.1", "m": "1", "km": "1000", "nm": "0.000000001", "millimeter": "0.001",
        "millimetre": "0.001", "centimeter": "0.01", "centimetre": "0.01", "meter": "1", "metre": "1",
        "kilometer": "1000", "kilometre": "1000", "in": "0.0254", "inch": "0.0254", "foot": "0.3048",
        "feet": "0.3048", "ft": "0.3048", "mi": "1609.344", "mile": "1609.344", "yd": "0.9144", "yard": "0.9144",
    },
    "mass": {
        "mg": "0.000001", "g": "0.001", "gram": "0.001", "kg": "1", "kilogram": "1", "kilo": "1", "ton": "1000",
        "tonne": "1000", "lb": "0.45359237", "oz": "0.028349523125", "ounce": "0.028349523125",
    },
    "time": {
        "ms": "0.001", "s": "1", "sec": "1", "second": "1", "min": "60", "minute": "60", "h": "3600", "hr": "3600",
        "hour": "3600", "day": "86400", "week": "604800", "month": "2629746", "yr": "31556952", "year": "31556952",
    },
    "volume": {
        "ml": "0.001", "l": "1", "liter": "1", "litre": "1", "gallon": "3.785411784", "gal": "3.785411784",
        "quart": "0.946352946", "qt": "0.946352946", "pint": "0.473176473",
    },
    "dollars": {"$": "1", "dollar": "1", "usd": "1", "buck": "1", "cent": "0.01", "¢": "0.01"},
    "euros": {"€": "1", "euro": "1", "eur": "1"},
    "sterling": {"£": "1", "gbp": "1"},
    "yen": {"¥": "1", "yen": "1", "jpy": "1"},
    "rupees": {"₹": "1", "rs": "1", "rupee": "1"},
    "angle": {"deg": "1", "degree": "1"},
    "data": {"kb": "0.001", "mb": "1", "gb": "1000", "tb": "1000000"},
    "frequency": {"hz": "1", "khz": "1000"},
    "power": {"kw": "1000", "w": "1", "watt": "1"},
    "energy": {"kj": "1000", "j": "1", "joule": "1", "kwh": "3600000"},
    "pressure": {"pa": "1", "kpa": "1000"},
}  # fmt: skip
_UNITS = {name: (dimension, Fraction(factor)) for dimension, names in _NAMES.items() for name, factor in names.items()}
SINGLE_LETTERS = frozenset("mghslLNJWVKMACF")
_WRAPPED = re.compile(r"\\unit\{([^{}]*)\}")
_TERM = re.compile(r"(?:(square|sq|cubic|cu)\.? )?([a-zA-Z]+|[$€£¥₹¢])\.?(?:\^\{?(\d)\}?)?( squared| cubed)?")
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, " squared": 2, " cubed": 3}
_FUNCTIONS = ("sin", "cos", "tan", "log", "ln", "exp", "sqrt")


def unwrapped(text: str) -> str:
    r"""The text with `\\unit{cm}` written as a word: " cm"."""
    return _WRAPPED.sub(r" \1", text)


@lru_cache(maxsize=1024)
def known_unit(unit: str | None) -> tuple[str, Fraction] | None:
    """Dimension and factor of a unit such as `cm^2`, `square feet` or `km/h`; None if it is unknown.

    >>> known_unit("km/h")
    ('length/time', Fraction(5, 18))
    """
    if not unit:
        return None
    dimension, factor = "", Fraction(1)
    for index, part in enumerate(re.split(r"\s?/\s?|\s+per\s+", unwrapped(unit).strip())):
        found = _TERM.fullmatch(part.strip())
        measure = found and _measure(found[2])
        if not found or not measure:
            return None
        power = int(found[3] or 1) * _POWERS.get(found[1] or found[4] or "", 1)
        dimension += ("/" if index else "") + measure[0] + (f"^{power}" if power > 1 else "")
        factor = factor / measure[1] ** power if index else factor * measure[1] ** power
    return dimension, factor


def _measure(name: str) -> tuple[str, Fraction] | None:
    word = name.lower()
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        if form in _UNITS:
            return _UNITS[form]
    return None


def in_conflict(first: str | None, second: str | None) -> bool:
    """Whether two units are both known and not the same."""
    known = known_unit(first), known_unit(second)
    return None not in known and known[0] != known[1]


def may_be_unit(words: list[str], *, attached: bool) -> bool:
    """Whether the words behind a number can be its unit; `attached`: without a space, where `5xy` is a product."""
    if not words or any(word.lower() in NOT_UNITS for word in words) or words[-1].lower() in _DIRECTIONS:
        return not words
    first = words[0]
    if _measure(first) and (len(first) > 1 or not attached):
        return True
    if attached:
        return len(first) > 3 and not first.startswith(_FUNCTIONS)
    return len(first) > 2 or first in SINGLE_LETTERS
