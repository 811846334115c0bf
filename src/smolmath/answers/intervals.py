r"""Sets of real numbers in their many spellings: intervals, unions, inequalities, set-builder notation, `\mathbb{R}`.

All are read into one form, a tuple of Pieces, so that `x < 1 or x \ge 3` and `(-\infty,1)\cup[3,\infty)` can be
compared end by end. What is not about one variable alone on a side is left to math-verify.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from smolmath.answers.numbers import parse_number

_RELATION = re.compile(r"(<=|>=|=<|=>|<|>|\\le(?![a-z])|\\ge(?![a-z])|\\lt(?![a-z])|\\gt(?![a-z])|\\ne(?![a-z]))\s*")
_VARIABLE = re.compile(r"[a-df-zA-Z](?:_\{\w\})?|[a-zA-Z]\([a-zA-Z]\)|\\(?:theta|alpha|beta|lambda)\s*")
_ABSOLUTE = re.compile(r"\|([a-zA-Z])\|")
_REALS = re.compile(
    r"(?:\\mathbb\{?R\}?|\\R|\\Re|(?:[aA]ll|[aA]ny|[eE]very) real (?:numbers?|values?)(?: of [a-z]| [a-z])?|all reals)"
)
_WITHOUT = re.compile(r"(?:\\setminus|\\backslash|-|\\)\s*\\\{(.*)\\\}")
_BUILDER = re.compile(rf"\\\{{\s*([a-zA-Z])\s*(?:\\in\s*{_REALS.pattern})?\s*(?:\\mid|\\vert|:|\|)\s*(.*)\\\}}", re.I)
_MEMBER = re.compile(r"([a-zA-Z]|\\theta)\s*\\in(?![a-z])\s*")
_OR = re.compile(r"\s?(?<![a-zA-Z\\])or(?![a-zA-Z])\s?|\\lor\s?|\\vee\s?")
_AND = re.compile(r"\s?(?<![a-zA-Z\\])and(?![a-zA-Z])\s?|\\land\s?|\\wedge\s?|;|(?<=[\d}])&(?=[a-z])")
_SPELLING = {"<=": r"\le", "=<": r"\le", ">=": r"\ge", "=>": r"\ge", r"\lt": "<", r"\gt": ">"}
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_INFINITY, _MINUS_INFINITY = r"\infty", r"-\infty"


@dataclass(frozen=True, slots=True)
class Piece:
    """One interval: its ends as normalised text, and whether they belong to it."""

    low: str
    high: str
    low_in: bool
    high_in: bool


@dataclass(frozen=True, slots=True)
class RealSet:
    """A union of intervals, and the variable that an inequality was about."""

    pieces: tuple[Piece, ...]
    variable: str | None = None


def speaks_of_a_set(text: str) -> bool:
    """Whether a normalised text is more than a plain pair in brackets: worth reading as a set."""
    return bool(
        _RELATION.search(text)
        or _MEMBER.match(text)
        or r"\cup" in text
        or _REALS.search(text)
        or (text[:1] == "]" and text[-1:] in "[]")
        or (text[:1] in "([" and text[-1:] == "[")
    )


def variable_of(text: str) -> str | None:
    r"""The variable of `x\in[1,2]`."""
    member = _MEMBER.match(text)
    return member[1] if member else None


def read_set(text: str) -> RealSet | None:
    r"""The set that a normalised text describes, or None if it is none of the known spellings.

    >>> read_set(r"1\le x<2").pieces
    (Piece(low='1', high='2', low_in=True, high_in=False),)
    """
    text = text.strip()
    if member := _MEMBER.match(text):
        found = read_set(text[member.end() :])
        return replace(found, variable=member[1]) if found else None
    if builder := _BUILDER.fullmatch(text):
        found = read_set(builder[2].strip())
        return found if found and found.variable in (None, builder[1]) else None
    if _REALS.fullmatch(text):
        return RealSet((Piece(_MINUS_INFINITY, _INFINITY, False, False),))
    if reals := _REALS.match(text):
        return _without_points(text[reals.end() :].strip())
    if not _RELATION.search(text):
        pieces = [_interval(part.strip()) for part in text.split(r"\cup")]
        return RealSet(_merged([p for p in pieces if p])) if all(pieces) else None
    if len(parts := _OR.split(text)) > 1:
        sets = [read_set(part) for part in parts]
        known = [s for s in sets if s]
        if len(known) < len(sets) or len({s.variable for s in known}) > 1:
            return None
        return RealSet(_merged([piece for s in known for piece in s.pieces]), known[0].variable)
    return _inequalities(text)


def _without_points(rest: str) -> RealSet | None:
    found = _WITHOUT.fullmatch(rest)
    if not found:
        return None
    points = [p.strip() for p in re.split("[;,]", found[1]) if p.strip()]
    values = [parse_number(p) for p in points]
    if not all(values):
        return None if len(points) > 1 else RealSet(_all_but(points))
    return RealSet(_all_but([p for _, p in sorted(zip((v.value for v in values if v), points, strict=True))]))


def _all_but(points: list[str]) -> tuple[Piece, ...]:
    ends = [_MINUS_INFINITY, *points, _INFINITY]
    return tuple(Piece(low, high, False, False) for low, high in pairwise(ends))


def _interval(text: str) -> Piece | None:
    text = text.removeprefix(r"\ ").strip()
    if len(text) < 5 or text[0] not in "([]" or text[-1] not in ")][":
        return None
    ends = re.split("[;,]", text[1:-1])
    if len(ends) != 2 or not all(end.strip() for end in ends) or any(c in "()[]" for c in ends[0] + ends[1]):
        return None
    low, high = (end.strip().replace(r"+\infty", r"\infty") for end in ends)
    return Piece(low, high, text[0] == "[", text[-1] == "]")


def _inequalities(text: str) -> RealSet | None:
    """The intersection of inequalities about one variable: at most one end on each side."""
    low: tuple[str, bool] | None = None
    high: tuple[str, bool] | None = None
    name: str | None = None
    parts = [part for part in _AND.split(text) if part and part.strip()]
    for part in parts:
        tokens = [token.strip() for token in _RELATION.split(part)]
        sides, relations = tokens[::2], [_SPELLING.get(r, r) for r in tokens[1::2]]
        if absolute := next((found for side in sides if (found := _ABSOLUTE.fullmatch(side))), None):
            return _about_absolute(absolute[1], relations, sides) if len(parts) == 1 else None
        at = [i for i, side in enumerate(sides) if _VARIABLE.fullmatch(side)]
        if len(at) != 1 or len(sides) > 3 or (name and sides[at[0]] != name) or not all(sides):
            return None
        name = sides[at[0]]
        if any(re.search(rf"(?<![a-zA-Z\\]){re.escape(name)}(?![a-zA-Z])", side) for side in sides if side != name):
            return None
        for i, relation in enumerate(relations):
            if i not in (at[0], at[0] - 1):
                return None
            if relation == r"\ne":
                return RealSet(_all_but([sides[1 - at[0]]]), name) if len(parts) == 1 and len(sides) == 2 else None
            # Read with the variable on the left: 3 > x says x < 3.
            relation, end = (relation, sides[i + 1]) if i == at[0] else (_FLIPPED[relation], sides[i])
            if relation in ("<", r"\le"):
                if high:
                    return None
                high = (end, relation == r"\le")
            else:
                if low:
                    return None
                low = (end, relation == r"\ge")
    low, high = low or (_MINUS_INFINITY, False), high or (_INFINITY, False)
    return RealSet((Piece(low[0], high[0], low[1], high[1]),), name)


def _about_absolute(name: str, relations: list[str], sides: list[str]) -> RealSet | None:
    """The set of `|x|<a`, `|x|>a` and `a<|x|<b`; the sides are those of the relations."""
    at = next(i for i, side in enumerate(sides) if side.startswith("|"))
    if len(sides) == 3 and at == 1 and set(relations) <= {"<", r"\le"}:
        (low, high), (low_in, high_in) = (sides[0], sides[2]), (relation == r"\le" for relation in relations)
        pieces = Piece(_minus(high), _minus(low), high_in, low_in), Piece(low, high, low_in, high_in)
        return RealSet(pieces, name)
    if len(sides) != 2:
        return None
    relation, end = (relations[0], sides[1]) if at == 0 else (_FLIPPED.get(relations[0], ""), sides[0])
    closed = relation in (r"\le", r"\ge")
    if relation in ("<", r"\le"):
        return RealSet((Piece(_minus(end), end, closed, closed),), name)
    if relation in (">", r"\ge"):
        return RealSet(
            (Piece(_MINUS_INFINITY, _minus(end), False, closed), Piece(end, _INFINITY, closed, False)), name
        )
    return None


def _minus(end: str) -> str:
    return f"-{end}" if re.fullmatch(r"[\w.]+|\\[a-z]+(?:\{[^{}]*\})*", end) else f"-({end})"


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    """The pieces with those joined that touch: [1,2] and [2,3] are [1,3]."""
    merged: list[Piece] = []
    for piece in pieces:
        before = merged[-1] if merged else None
        if before and before.high == piece.low and (before.high_in or piece.low_in):
            merged[-1] = Piece(before.low, piece.high, before.low_in, piece.high_in)
        else:
            merged.append(piece)
    return tuple(merged)
