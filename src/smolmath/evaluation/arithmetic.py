r"""Arithmetic in a completion: each `48 / 2 = 24` of plain numbers, right or wrong.

A right answer may stand behind wrong steps, and a wrong one behind right ones. What is not numbers alone
(`2x + 3 = 7`, `5 apples + 3 apples = 8`) says nothing here. A result is right if it is the value, rounded to the
digits that are shown.
"""

import ast
import re
from fractions import Fraction
from itertools import pairwise

_LATEX = [
    (re.compile(r"\\(?:left|right)(?=[()])"), ""),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\(?:times|cdot)\b|[×·]|(?<=\d)\s*x\s*(?=\d)"), "*"),
    (re.compile(r"\\div\b|÷"), "/"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"\{,\}|(?<=\d),(?=\d{3}\b)"), ""),  # 1,000
    (re.compile(r"\\[,;!]|\\?\$|[€£]"), ""),
    (re.compile(r"\\%"), "%"),
]
# Bounded and without a way back, so that a search takes time in proportion to the text.
_NUMBER = r"(?:\d{1,200}+(?:\.\d{1,200}+)?+|\.\d{1,200}+)%?+"
_GAP = r"[ \t]{0,9}"  # an equation is on one line
_SIDE = (
    rf"(?:[-+]{_GAP})?(?:[(]{_GAP}){{0,9}}{_NUMBER}(?:{_GAP}[)]){{0,9}}+"
    rf"(?:{_GAP}[-+*/]{_GAP}(?:[-(]{_GAP}){{0,9}}{_NUMBER}(?:{_GAP}[)]){{0,9}}+){{0,100}}+"
)
_CHAIN = re.compile(rf"{_SIDE}(?:{_GAP}={_GAP}{_SIDE})+")
# Before the first number, or behind the last, these make it a part of something else.
_BEGUN = re.compile(rf"[-+*/^]{_GAP}\Z|[\w.,)\]}}_\\!]\Z")
_OF_A_SIGN = re.compile(rf"[\w)\]}}!]{_GAP}\Z")
_GOES_ON_BEHIND = re.compile(rf"{_GAP}(?:[*/^(]|\\|[-+]{_GAP}[\w(\\])|[a-zA-Z_](?![a-zA-Z])|\.?\d")
_LONGEST = 200  # characters of one side


def equations(text: str) -> list[bool]:
    """Of every equation of numbers that computes something, whether it holds; of a chain each step.

    >>> equations("She sold 48 / 2 = 24 clips, and 48 + 24 = 70 in all; 2x + 3 = 7.")
    [True, False]
    """
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    return [holds for chain in _CHAIN.finditer(text) if _stands_alone(text, chain) for holds in _steps(chain[0])]


def _stands_alone(text: str, chain: re.Match[str]) -> bool:
    before = text[max(0, chain.start() - 8) : chain.start()]
    signed = chain[0][0] in "-+" and _OF_A_SIGN.search(before)
    return not (signed or _BEGUN.search(before) or _GOES_ON_BEHIND.match(text, chain.end()))


def _steps(chain: str) -> list[bool]:
    sides = chain.split("=")
    found = []
    for left, right in pairwise(sides):
        if not re.search(r"[\d)%]\s*[-+*/]", left):
            continue  # 7 = 7 computes nothing
        value, result = _value(left), _value(right)
        if value is not None and result is not None:
            found.append(abs(value - result) <= _shown(right))
    return found


def _shown(side: str) -> Fraction:
    """Half a unit of the last digit that is shown; nothing of a whole number, unless it is said in percent."""
    decimals = re.fullmatch(r"\s*[-+]?\s*\d*\.(\d+)\s*(%?)\s*", side)
    if decimals is None:
        return Fraction(0)
    return Fraction(1, 2 * 10 ** len(decimals[1])) / (100 if decimals[2] else 1)


def _value(side: str) -> Fraction | None:
    """Exactly; None if it cannot be computed: brackets that do not match, a division by 0, too long."""
    if len(side) > _LONGEST:
        return None
    try:
        return _computed(ast.parse(re.sub(r"%", "/100", side.strip()), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _computed(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            return Fraction(str(node.value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_computed(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _computed(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _computed(left) + _computed(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _computed(left) - _computed(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _computed(left) * _computed(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _computed(left) / _computed(right)
    raise ValueError(f"{type(node).__name__} is no arithmetic")
