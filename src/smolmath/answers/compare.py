"""Whether two answers are the same value: exact text, exact numbers, parts, and at last math-verify.

Each step either decides or hands on, cheapest first:

1. normalised text; a multiple-choice letter;
2. numbers, as fractions (numbers.py);
3. parts of sets, lists, tuples, intervals and named values, each pair by these steps again (structure.py);
4. formulas, by math-verify in a process of its own (judge.py), within QUESTIONS and one overrun;
5. words, without case.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import Number, digits_of, numbers_match, parse_number
from smolmath.answers.structure import MAX_PARTS, Parts, split_parts, strip_name

QUESTIONS = 30  # to the judge, for one pair of answers
MAX_FORMULA = 300  # characters that the judge is asked about
MAX_ANSWER = 5_000  # characters beyond which only literal numbers and equal text are seen
MAX_DEPTH = 6  # parts within parts
CACHED_LENGTH = 500  # longer pairs are compared again rather than kept

_NAN = re.compile(r"[+-]?nan", re.IGNORECASE)
_LETTER = re.compile(
    r"(?:(?i:option|choice|answer)\s?)?\(?([A-J]|[a-j](?=[).]?$))(?:\)?$|\)[.:]?(.+)|[.:](.+))", re.DOTALL
)
_LABEL = re.compile(r"(?<![a-zA-Z\\])\(?[A-J][).:]")
_LABELLED_VALUE = re.compile(r"\(?[A-J]\)[.:]?(.+)", re.DOTALL)
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne|lt|gt|approx)(?![a-zA-Z])")
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_UNIT = re.compile(r"\s?\\unit\{[^{}]*\}(?:\^\{?\d\}?)?(?:/\\unit\{[^{}]*\})?$")
_RUN = re.compile(r"[^\W\d_]{2,}")
_CONNECTORS = re.compile(r"(?<![a-zA-Z\\])(?:and|or|either|both)(?![a-zA-Z])")
# Words in a line read better than a list of quoted ones, hence the noqa.
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log ln exp arcsin arccos arctan sinh cosh tanh max min gcd lcm".split()  # noqa: SIM905
)
_PROSE = frozenset(
    "not or and is no if the to of in for yes any all an at by it so as on we he none am pm".split()  # noqa: SIM905
)
_NOT_A_FORMULA = re.compile(r"""[:"?#@&]|\d[a-zA-Z]+\d|\d\s+\d|(?<![a-zA-Z])_""")
# What sympy would try to write out: towers, powers of thousands, factorials of hundreds.
_EXPLOSIVE = re.compile(
    r"\^\{?[^{}^]{0,40}\^|\^\{?-?\(?\d{4,}|\^\{?[^}]{0,40}[*!]|\d{3,}\)?!|!\)?!|\\(?:sum|prod|int)(?![a-z])"
)
_ORDERED = ("tuple", "interval", "matrix")


@dataclass(slots=True)
class _Budget:
    """What may still be asked of the judge for one pair of answers."""

    questions: int = QUESTIONS
    depth: int = 0  # of parts within parts

    def ask(self, predicted: str, reference: str) -> bool:
        if self.questions <= 0:
            return False
        # Plain answers must not pay for the process machinery.
        from smolmath.answers.judge import JUDGE

        self.questions -= 1
        number = parse_number(reference)
        verdict = JUDGE.equal(predicted=predicted, reference=reference, places=number.places if number else 0)
        if verdict is None:
            self.questions = 0
        return bool(verdict)


def answers_match(predicted: str, reference: str) -> bool:
    """Whether the predicted answer has the value of the reference answer. The order matters: see rules 2, 6 and 9.

    Args:
        predicted: answer read from a completion.
        reference: the problem's reference answer.

    Raises:
        RuntimeError: if the process that compares formulas cannot be started at all, which is a broken installation.

    >>> answers_match("1/2", r"\\frac12"), answers_match("x > 4", "4")
    (True, False)
    """
    if len(predicted) + len(reference) > CACHED_LENGTH:
        return _match(predicted, reference)
    return _cached_match(predicted, reference)


def _match(predicted: str, reference: str) -> bool:
    predicted, reference = normalise(predicted), normalise(reference)
    if not predicted or not reference or _NAN.fullmatch(predicted):
        return False
    if predicted == reference:
        return True
    if len(predicted) > MAX_ANSWER or len(reference) > MAX_ANSWER:
        literal = digits_of(predicted)
        return literal is not None and literal == digits_of(reference)
    if letter := read_letter(reference):
        return read_letter(predicted) == letter
    if labelled := _LABELLED_VALUE.fullmatch(predicted):
        predicted = labelled[1].strip()
    return _equal(predicted, reference, _Budget())


_cached_match = lru_cache(maxsize=65536)(_match)


def read_letter(text: str) -> str | None:
    """The option that a normalised answer names: `(D)`, `D.` and `D)81` name D; a list of options names none."""
    found = _LETTER.fullmatch(text)
    if not found or _LABEL.search(found[2] or found[3] or ""):
        return None
    return found[1].upper()


def _equal(predicted: str, reference: str, budget: _Budget) -> bool:
    if predicted == reference:
        return True
    predicted_number, reference_number = parse_number(predicted), parse_number(reference)
    if predicted_number and reference_number:
        return numbers_match(predicted_number, reference_number)
    predicted_parts, reference_parts = split_parts(predicted), split_parts(reference)
    if predicted_parts or reference_parts:
        if budget.depth >= MAX_DEPTH:
            return False
        budget.depth += 1
        equal = _parts_equal(predicted, predicted_parts, reference, reference_parts, budget)
        budget.depth -= 1
        return equal
    if (unnamed := _without_names(predicted, reference)) != (predicted, reference):
        return _equal(*unnamed, budget)
    if _cannot_be(predicted, reference_number) or _cannot_be(reference, predicted_number):
        return False
    if bool(_RELATION.search(predicted)) != bool(_RELATION.search(reference)):
        return False
    return _formulas_equal(predicted, reference, budget)


def _formulas_equal(predicted: str, reference: str, budget: _Budget) -> bool:
    predicted, reference = (_UNIT.sub("", text).removeprefix("$") for text in (predicted, reference))
    if predicted == reference:
        return True
    if _is_formula(predicted) and _is_formula(reference):
        return budget.ask(predicted, reference)
    literal = digits_of(predicted)
    if literal is not None and literal == digits_of(reference):
        return True
    # "Tuesday" is "tuesday", but X need not be x.
    return len(reference) > 2 and reference.isalpha() and predicted.casefold() == reference.casefold()


def _without_names(predicted: str, reference: str) -> tuple[str, str]:
    """The values of `x=4` and `4`, or of `x=4` and `x=2+2`; the answers as they are where the names differ."""
    predicted_name, predicted_value = strip_name(predicted)
    reference_name, reference_value = strip_name(reference)
    if predicted_name != reference_name and "=" in predicted and "=" in reference:
        return predicted, reference  # two equations, or values of different things
    values = _end_of_chain(predicted_value), _end_of_chain(reference_value)
    # An equation against an equation of another form is the judge's.
    return (predicted, reference) if any("=" in value for value in values) else values


def _end_of_chain(text: str) -> str:
    """The last value of `2+2=4`, unless the sides contradict each other, as in `5=7`."""
    if "=" not in text:
        return text
    sides = text.split("=")
    numbers = [parse_number(side) for side in sides]
    if numbers[-1] is None or any(n is not None and not numbers_match(n, numbers[-1]) for n in numbers[:-1]):
        return text
    if not all(numbers) and _is_prose(text):
        return text
    return sides[-1] if all(numbers) or len(sides) > 2 or _is_quantity(sides[0]) else text


def _is_quantity(text: str) -> bool:
    """Whether the left side of `x-y=10` names what is asked for, where `2x=10` and `x^2=16` are yet to be solved."""
    return bool(_COMMAND.search(text)) or len(set(re.findall(r"[a-zA-Z]", text))) > 1


def _cannot_be(text: str, number: Number | None) -> bool:
    """Whether a text that is no number cannot equal that number: it holds a variable, words or a relation."""
    if number is None:
        return False
    letters = _COMMAND.sub(" ", _UNIT.sub("", text))
    return bool(re.search(r"[a-df-hj-zA-Z]", re.sub("|".join(sorted(_FUNCTIONS)), "", letters))) or "=" in text


def _parts_equal(
    predicted: str, predicted_parts: Parts | None, reference: str, reference_parts: Parts | None, budget: _Budget
) -> bool:
    if predicted_parts is None or reference_parts is None:
        parts, single = predicted_parts or reference_parts, reference if predicted_parts else predicted
        assert parts is not None
        if parts.shape in ("list", "set") and len(items := _distinct(parts.items, budget)) == 1:
            return _equal(items[0], single, budget) if predicted_parts else _equal(single, items[0], budget)
        # An interval may be written as an inequality.
        return parts.shape in ("tuple", "interval", "union") and bool(_RELATION.search(single)) and (
            _formulas_equal(predicted, reference, budget))  # fmt: skip
    shapes = {predicted_parts.shape, reference_parts.shape}
    if ("union" in shapes and len(shapes) > 1) or ("set" in shapes and shapes & set(_ORDERED)):
        return False
    # A column or row may be written as a point.
    if shapes == {"matrix", "tuple"}:
        matrix = predicted_parts if predicted_parts.shape == "matrix" else reference_parts
        if matrix.brackets not in ("1", str(len(matrix.items))):
            return False
        return _items_equal(predicted_parts, reference_parts, budget)
    both_ordered = predicted_parts.shape in _ORDERED and reference_parts.shape in _ORDERED
    if both_ordered and predicted_parts.brackets != reference_parts.brackets:
        return False
    return _items_equal(predicted_parts, reference_parts, budget)


def _items_equal(predicted: Parts, reference: Parts, budget: _Budget) -> bool:
    """The parts pair by pair: by name where both have names, in order where either has one, else in any order."""
    items, wanted = list(predicted.items), list(reference.items)
    if len(items) > MAX_PARTS or len(wanted) > MAX_PARTS:
        return items == wanted
    named, named_reference = _names(items), _names(wanted)
    ordered = predicted.shape in _ORDERED or reference.shape in _ORDERED
    if named and not named_reference and ordered:
        items.sort(key=lambda item: strip_name(item)[0] or "")
    if (ordered and not (named and named_reference)) or (named_reference and not named):
        return len(items) == len(wanted) and all(_equal(a, b, budget) for a, b in zip(items, wanted, strict=True))
    items, wanted = _distinct(items, budget), _distinct(wanted, budget)
    if len(items) != len(wanted):
        return False
    for item in items:
        match = next((other for other in wanted if _equal(item, other, budget)), None)
        if match is None:
            return False
        wanted.remove(match)
    return True


def _names(items: list[str]) -> bool:
    """Whether the parts have names, each its own."""
    names = [strip_name(item)[0] for item in items]
    return None not in names and len(set(names)) == len(names) > 1


def _distinct(items: tuple[str, ...] | list[str], budget: _Budget) -> list[str]:
    """The items without later ones that are equal as text or number; nothing is asked of the judge for this."""
    kept: list[str] = []
    if len(items) > MAX_PARTS:
        return list(items)
    for item in items:
        if not any(_equal(item, other, _Budget(questions=0)) for other in kept):
            kept.append(item)
    return kept


def _is_prose(text: str) -> bool:
    """Whether a normalised text holds words, rather than names and functions of a formula."""
    runs = _RUN.findall(_COMMAND.sub(" ", re.sub(r"\\(?:unit|begin|end)\{[^{}]*\}", " ", text)))
    return any(run not in _FUNCTIONS and (len(run) > 3 or run.lower() in _PROSE) for run in runs)


def read_value_kind(text: str) -> Literal["number", "formula", "prose"]:
    """What an answer looks like as a whole; extraction looks inside prose for the value."""
    normalised = normalise(text[: MAX_ANSWER + 1])
    if parse_number(normalised) or digits_of(normalised):
        return "number"
    if read_letter(normalised):
        return "formula"
    return "prose" if _is_prose(_CONNECTORS.sub(" ", normalised)) else "formula"


def _is_formula(text: str) -> bool:
    """Whether the judge may be asked about a text: short, no words, nothing that it would compute for hours."""
    if len(text) > MAX_FORMULA or text.count("{") != text.count("}") or _is_prose(text):
        return False
    return not (_NOT_A_FORMULA.search(_COMMAND.sub("a", text)) or _EXPLOSIVE.search(text))


@lru_cache(maxsize=65536)
def is_verifiable(reference: str) -> bool:
    """Whether the grader can tell right from wrong for this reference answer.

    True for a number, a formula, a set, tuple or list of them, and the letter of an option; False for words, proofs,
    NaN and nothing at all.
    """
    text = normalise(reference)
    if not text or _NAN.fullmatch(text):
        return False
    if digits_of(text) or (len(text) <= MAX_ANSWER and (parse_number(text) or read_letter(text))):
        return True
    if len(text) > MAX_FORMULA:
        return False
    parts = split_parts(text)
    if parts and parts.items != (text,):
        return len(parts.items) <= MAX_PARTS and all(is_verifiable(item) for item in parts.items)
    value = _UNIT.sub("", strip_name(text)[1])
    # Lower-case letters alone are a word ("see") unless they are few enough to be a product ("ab").
    word = value.isalpha() and (len(value) > 3 or (len(value) > 2 and value != value.upper()))
    return not word and not _is_prose(value) and bool(re.search(r"[a-zA-Z\d]", value))
