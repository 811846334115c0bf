r"""What an equation or a chain of them states: `|z|=5` states 5, `a=b=4` its last member, `2x=8` is yet to be solved.

All functions take normalised text.
"""

import re

from smolmath.answers.formulas import constant_value
from smolmath.answers.kinds import COMMAND, FUNCTIONS, is_prose
from smolmath.answers.numbers import parse_number
from smolmath.answers.structure import strip_name

_CONDITION = re.compile(r"\b(?:if|when|where|unless|not|or|and|than|to|but)\b", re.IGNORECASE)
_LETTERS = re.compile(r"[a-zA-Z]")
# What names the quantity that is asked for, rather than being an equation that is yet to be solved.
_QUANTITY = re.compile(
    r"[a-zA-Z](?:[-+*]?[a-zA-Z]){1,6}"  # AB, x+y
    r"|(?:\\(?:angle|triangle|overline|widehat|vec|operatorname|mathrm|left|right|frac|cdot|max|min|gcd|lcm|deg)"
    r"|[A-Z]|[-+*/{}()|,;_: ]|[a-z](?=\())+"  # \frac{AC}{CB}, |AB|, V:S
    r"|[a-zA-Z]\([-\w,;^{}\\=<>|]{1,20}\)"  # f(2), P(X=2)
    r"|\|[^|=xy]{1,40}\|"  # |z|, but |x|=2 has two solutions
    r"|[a-zA-Z]_\{[\\\w]{1,12}\}(?::[a-zA-Z](?:_\{[\\\w]{1,12}\})?)*"  # f_{\max}, V_{1}:V_{2}
    r"|\\(?:sin|cos|tan|cot)\s?(?:\\[a-z]+|[A-Z]|\\angle\s?[A-Z]{1,3})"  # \cos\theta
)
_SUM = re.compile(r"[-+*a-wzA-Z\d^{}()/ ]+")  # a^2+b^2, but x^2+y^2=4 is a circle
_PLACES = re.compile(r"\.(\d+)")


def sides(text: str) -> list[str]:
    """The members of an equation or a chain of them; the text alone if it is none."""
    if "=" not in text:
        return [text]
    members, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "=" and depth <= 0 and text[position - 1 : position] not in ("<", ">"):
            members.append(text[start:position].strip())
            start = position + 1
    return [*members, text[start:].strip()]


def stated_value(members: list[str]) -> str | None:
    """The last member, where the others only name it or come to it; None if they contradict it or leave it open."""
    if len(members) == 1:
        return members[0]
    first, last = members[0], members[-1]
    if not all(members) or any(_contradict(member, last) for member in members[:-1]):
        return None
    if len(members) == 2 and is_name(last) and last not in (r"\pi", "e", "i") and not is_name(first):
        return first  # 4=x
    if is_prose(first):  # "Total cost = $12 + $6 = $18" names what it computes
        return None if _CONDITION.search(first) else last
    return last if len(members) > 2 or is_name(first) or _is_quantity(first) or is_constant(first) else None


def is_name(text: str) -> bool:
    """Whether a text is a single name: `x`, `v_{R}`, `\\theta`, `f^{-1}(x)`."""
    return strip_name(f"{text}=0")[1] == "0"


def is_constant(text: str) -> bool:
    """Whether a text holds no variable."""
    return not re.search(r"[a-df-hj-zA-Z]", re.sub("|".join(sorted(FUNCTIONS)), "", COMMAND.sub(" ", text)))


def _is_quantity(text: str) -> bool:
    """Whether the left side of `x-y=10` or `a^2+b^2=4` names what is asked for; `2x=10` is yet to be solved."""
    return bool(_QUANTITY.fullmatch(text)) or (
        bool(_SUM.fullmatch(text)) and len(set(_LETTERS.findall(COMMAND.sub("", text)))) > 1
    )


def _contradict(member: str, last: str) -> bool:
    """Whether two members of a chain are constants of different values, at the places of the shorter decimal."""
    numbers = parse_number(member), parse_number(last)
    if numbers[0] and numbers[1]:
        a, b = float(numbers[0].value), float(numbers[1].value)
        if numbers[0].percent != numbers[1].percent:
            a, b = (v / 100 if n.percent else v for n, v in zip(numbers, (a, b), strict=True) if n)
    else:
        values = constant_value(member), constant_value(last)
        if values[0] is None or values[1] is None:
            return False
        a, b = values[0].real, values[1].real
    places = [len(found[1]) for text in (member, last) if (found := _PLACES.search(text))]
    rounding = 0.51 * 10 ** -min(places) if places else 0.0
    return abs(a - b) > max(rounding, 1e-9 * max(abs(a), abs(b)))
