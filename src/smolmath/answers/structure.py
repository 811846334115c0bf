"""Answers with parts: sets, lists, tuples, intervals, matrices and named values, split without parsing the parts.

All functions take normalised text (normalise.py) and scan it once. Order matters in what is written in brackets of
two or with round brackets, in matrices, and between names; lists and sets have none.
"""

import re
from dataclasses import dataclass
from typing import Literal

from smolmath.answers.numbers import parse_number

MAX_PARTS = 40

Shape = Literal["list", "set", "tuple", "interval", "matrix", "union"]

_NAME = (
    r"[a-zA-Z](?:\^\{?-1\}?(?=\())?(?:_\{?[a-zA-Z0-9]+\}?|_?[0-9])?'?(?:\([a-zA-Z0-9]\))?"
    r"|\\(?!sum|prod|int)[a-z]{2,7}(?:_\{?[a-zA-Z0-9]+\}?)?"
)
_ASSIGNMENT = re.compile(rf"({_NAME}|[a-zA-Z]{{2,12}})(?:=(?!=)|\\equiv\s?(?![a-zA-Z]))")
_MEMBERSHIP = re.compile(rf"(?:{_NAME}|\([a-zA-Z](?:[,;][a-zA-Z])+\))\\in(?![a-zA-Z])\s*")
_JOIN = re.compile(r"\s*(?:(?<![a-zA-Z\\])(and|or)(?![a-zA-Z])|[;,&])\s*", re.IGNORECASE)
_MATRIX = re.compile(
    r"[(\[]?\\begin\{((?:[pbB]|small)?matrix|array)\}(?:\{[lcr|]*\})?((?:(?!\\end).)*)\\end\{\1\}[)\]]?", re.DOTALL
)
_CASES = re.compile(
    r"(?:\\\{\s?\\begin\{(array|aligned|matrix|gathered)\}|\\begin\{(cases)\})(?:\{[lcr|]*\})?(.*)\\end\{(?:\1|\2)\}\.?",
    re.DOTALL,
)
_POINT = re.compile(r"[A-Z](?:_\{\w{1,3}\})?'{0,2}=?(?=\()")  # P(2,3)
_NUMBERED = re.compile(r"([a-zA-Z]+|\\[a-z]+)_?\{?\d+\}?")  # x_{1}
_REVERSED = re.compile(rf"([^=]{{1,200}})=({_NAME})")
_NAMED_TUPLE = re.compile(r"\(([a-zA-Z](?:_\{\w\})?(?:[,;][a-zA-Z](?:_\{\w\})?)+)\)=\((.*)\)")
_EQUAL_NAMES = re.compile(rf"((?:(?:{_NAME})=){{2,6}})([^=]+)")
_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Parts:
    """An answer of several parts; `exclusive` if an "or" stands between them."""

    shape: Shape
    items: tuple[str, ...]
    brackets: str = ""
    exclusive: bool = False
    name: str | None = None  # of the whole: P in P=(1,2)


def strip_name(text: str) -> tuple[str | None, str]:
    """The name and the value of `x=4`; (None, text) where no single name is set to something."""
    found = _ASSIGNMENT.match(text)
    if found:
        return found[1], text[found.end() :]
    if found := _MEMBERSHIP.match(text):
        return None, text[found.end() :]
    if (found := _REVERSED.fullmatch(text)) and re.search(r"[\d})]", found[1]):  # 4=x
        return found[2], found[1]
    return None, text


def split_top_level(text: str) -> tuple[list[str], bool]:
    """The parts between separators outside all brackets, and whether an "or" is among the separators."""
    parts: list[str] = []
    depth, start, position, exclusive = 0, 0, 0, False
    while position < len(text):
        character = text[position]
        if character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
        elif depth <= 0 and character in ",;aAoO& " and (found := _JOIN.match(text, position)):
            exclusive |= (found[1] or "").lower() == "or"
            parts.append(text[start:position])
            start = position = found.end()
            continue
        position += 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()], exclusive


def split_parts(text: str) -> Parts | None:
    """The parts of an answer, or None if it is one value.

    >>> split_parts("(1,2)")
    Parts(shape='tuple', items=('1', '2'), brackets='()', exclusive=False)
    """
    if found := _MATRIX.fullmatch(text):
        rows = [row.strip() for row in found[2].split(r"\\") if row.strip()]
        cells = [cell.strip() for row in rows for cell in row.split("&")]
        lengths = {row.count("&") for row in rows}
        return Parts("matrix", tuple(cells), brackets=f"{len(rows)}" if len(lengths) == 1 else text)
    if found := _CASES.fullmatch(text):
        text = ";".join(row.replace("&", "").strip(" ,;.") for row in found[3].split(r"\\") if row.strip())
    if r"\begin{" in text and not re.search(r"[,;]|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])", text):
        return None
    if text.startswith("[[") and (matrix := _rows(text)):
        return matrix
    text = _with_names(text)
    if r"\cup" in text:
        return Parts("union", tuple(part.strip() for part in text.split(r"\cup")))
    text = re.sub(r"^(?:either|both)\s+", "", text)
    name, value = strip_name(text)
    if value != text and _bracketed(value):  # x\in[1,2], P=(3,4)
        text = value
    elif (point := _POINT.match(text)) and (pair := _bracketed(text[point.end() :])) and re.search("[,;]", pair[1]):
        name, text = point[0].rstrip("="), text[point.end() :]
    else:
        name = None
    items, exclusive = split_top_level(text)
    if len(items) > 1:
        return Parts("list", _tuples(_spread(items)), exclusive=exclusive)
    if bracketed := _bracketed(text):
        opening, inner, closing = bracketed
        if opening == "(" and inner.count(r"\pm") == 1 and len(split_top_level(inner)[0]) > 1:
            return Parts("list", tuple(re.sub(r"\\pm\s*", sign, text) for sign in ("", "-")))
        items = split_top_level(inner)[0]
        if opening == "{":
            return Parts("set", _tuples(_spread(items)), brackets="{}")
        if len(items) > 1:
            unordered = opening + closing == "[]" and len(items) > 2
            shape: Shape = "list" if unordered else "tuple" if opening + closing == "()" else "interval"
            return Parts(shape, tuple(items), brackets=opening + closing, name=name)
        return None
    spread = _spread([text])
    return Parts("list", spread) if len(spread) > 1 else None


def _tuples(items: tuple[str, ...]) -> tuple[str, ...]:
    """`p=5, q=2, p=7, q=2` as (5,2), (7,2), and `x_1=1, x_2=2` with one name: theirs only number the values."""
    names, values = zip(*map(strip_name, items), strict=True)
    if None in names:
        return items
    bare = [found[1] if (found := _NUMBERED.fullmatch(name)) else name for name in names]
    cycle = len(set(bare))
    if cycle == len(bare) or len(bare) % cycle or bare != bare[:cycle] * (len(bare) // cycle):
        return items
    if cycle == 1:
        return tuple(f"{bare[0]}={value}" for value in values)
    return tuple(f"({';'.join(values[at : at + cycle])})" for at in range(0, len(values), cycle))


def _rows(text: str) -> Parts | None:
    """The matrix that a list of lists of equal length is."""
    rows = [_bracketed(row) for row in split_top_level(text[1:-1])[0]]
    cells = [split_top_level(row[1])[0] for row in rows if row]
    if len(cells) < len(rows) or len({len(row) for row in cells}) != 1:
        return None
    return Parts("matrix", tuple(cell for row in cells for cell in row), brackets=f"{len(rows)}")


def _with_names(text: str) -> str:
    """`(x,y)=(1,2)` and `x=y=2` as lists of named values."""
    if found := _NAMED_TUPLE.fullmatch(text):
        names, values = re.split("[,;]", found[1]), split_top_level(found[2])[0]
        if len(names) == len(values):
            return ";".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    if found := _EQUAL_NAMES.fullmatch(text):
        return ";".join(f"{name}={found[2]}" for name in found[1].rstrip("=").split("="))
    return text


def _bracketed(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, inside and closing bracket, if the first bracket closes at the very end."""
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return "{", text[2:-2], "}"
    if len(text) < 3 or text[0] not in _OPEN or text[-1] not in _CLOSE:
        return None
    depth = 0
    for position, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0 and position < len(text) - 1:
            return None
    return text[0], text[1:-1], text[-1]


def _spread(items: list[str]) -> tuple[str, ...]:
    r"""The items with `\pm` written out, and with the name in front of a list of values given to each: x=1,2."""
    spread: list[str] = []
    name: str | None = None
    for item in items:
        own, value = strip_name(item)
        name = own or name
        # Once some item has a name, a bare value belongs to the name before it.
        prefix = f"{name}=" if name and len(items) > 1 else (f"{own}=" if own else "")
        for sign in ("+", "-") if value.count(r"\pm") == 1 else ("",):
            signed = value.replace(r"\pm ", sign).replace(r"\pm", sign).lstrip("+") if sign else value
            number = parse_number(signed) if sign else None
            spread.append(prefix + (str(number.value) if number and not number.unit else signed))  # 4\pm1 is 5 and 3
    return tuple(spread)
