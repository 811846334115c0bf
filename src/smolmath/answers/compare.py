"""Whether two answers are the same value: exact text, exact numbers, parts, and at last math-verify.

Each step either decides or hands on, cheapest first:

1. normalised text; options of a multiple choice;
2. numbers, as fractions (numbers.py);
3. sets of real numbers (intervals.py); parts of sets, lists, tuples and named values, each pair by these steps again
   (structure.py);
4. equations, as equations or by the value that they state (equations.py);
5. formulas: algebra in a finite field (formulas.py), the rest by math-verify in a process of its own (judge.py),
   within QUESTIONS and SECONDS;
6. words, without case.
"""

import contextlib
import re
from dataclasses import dataclass
from functools import lru_cache

from smolmath.answers.equations import is_constant, is_name, sides, stated_value
from smolmath.answers.formulas import are_near, constant_value, formulas_equal
from smolmath.answers.intervals import Piece, RealSet, read_set, speaks_of_a_set, variable_of
from smolmath.answers.kinds import (
    LABELLED_VALUE,
    MAX_ANSWER,
    MAX_FORMULA,
    NAN,
    OF_AN_ANGLE,
    RELATION,
    SOME_MARKS,
    UNIT,
    is_formula,
    is_prose,
    read_letter,
)
from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import DATE, Number, digits_of, is_literal, numbers_match, parse_number
from smolmath.answers.spellings import (
    CLOCK,
    RATIO,
    WORD,
    alike,
    ratios_equal,
    residues_equal,
    with_one_parameter,
    without_statement,
    without_units,
)
from smolmath.answers.structure import MAX_PARTS, Parts, split_parts, strip_name
from smolmath.answers.units import in_conflict

QUESTIONS = 30  # to the judge, for one pair of answers
SECONDS = 0.4  # of the judge's CPU time for all of them
MAX_DEPTH = 6  # parts within parts
MAX_STEPS = 5_000  # pairs of parts that are looked at
CACHED_LENGTH = 500  # longer pairs are compared again rather than kept
_BOUND = re.compile(r"\\(?:sum|prod|int)(?![a-z])(?:\\limits)?(?:_\{[^{}]{0,40}\})?")  # its variables are its own
_ORDERED = ("tuple", "interval", "matrix")
_CHOICES = re.compile(r"\(?[A-H]\)?(?:(?:[,;&]|\s?and\s?)?\(?[A-H]\)?){1,7}")
_NAME_OF_POINTS = re.compile(r"[A-Z]{2,}")
_ORDINAL = r"\unit{th}"
_GROUPED = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?!\d)")  # one number, or several
_SPECIAL = re.compile(r"\\(?:infty|emptyset)(?![a-z])|^-?\d+/0$")  # no number, and no formula is one of them
_IRRATIONAL = re.compile(r"\\(?:sqrt|pi|ln|log|sin|cos|tan|exp)(?![a-z])|e\^")
_LETTER_BEHIND = re.compile(r"\d\s?[a-zA-Z]")


@dataclass(slots=True)
class _Budget:
    """What may still be asked of the judge for one pair of answers."""

    questions: int = QUESTIONS
    depth: int = 0  # of parts within parts
    steps: int = 0  # pairs of parts that were looked at
    seconds: float = SECONDS
    undecided: bool = False  # the judge gave no verdict

    def ask(self, predicted: str, reference: str) -> bool:
        if self.questions <= 0 or self.seconds <= 0.001:
            return False
        # Plain answers must not pay for the process machinery.
        from smolmath.answers.judge import JUDGE

        self.questions -= 1
        number = parse_number(reference)
        places = number.places if number else 0
        verdict, seconds = JUDGE.ask(predicted=predicted, reference=reference, places=places, limit_s=self.seconds)
        self.seconds -= seconds
        self.undecided |= verdict is None
        return bool(verdict)


def expect_questions() -> None:
    """Start the judge, if it isn't there, and don't wait for it."""
    from smolmath.answers.judge import JUDGE

    JUDGE.warm_up()


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
    match = _cached_match if len(predicted) + len(reference) <= CACHED_LENGTH else _match
    for _ in range(2):
        with contextlib.suppress(_NoVerdict):
            return match(predicted, reference)
    return False  # for now: what was not decided is not remembered


class _NoVerdict(Exception):
    """The judge was lost, or had too little time. An exception is what a cache doesn't keep."""


def _match(predicted: str, reference: str) -> bool:
    predicted, reference = normalise(predicted), normalise(reference)
    if not predicted or not reference or NAN.fullmatch(predicted):
        return False
    if predicted == reference:
        return True
    if predicted.isascii() and predicted.isdecimal() and reference.isascii() and reference.isdecimal():
        return predicted.lstrip("0") == reference.lstrip("0")  # the common case
    if len(predicted) > MAX_ANSWER or len(reference) > MAX_ANSWER:
        literal = digits_of(predicted)
        if literal is None or literal == digits_of(reference):
            return literal is not None
        whole, _, fraction = literal.partition(".")
        # No tolerance looks at the hundredth place: what is a short number by then is compared as one.
        predicted = f"{whole}.{fraction[:100]}" if fraction else whole
        if len(predicted) > MAX_ANSWER or len(reference) > MAX_ANSWER:
            return False
    if _ORDINAL in predicted and _ORDINAL not in reference:
        return False  # 18th is not 18
    predicted, reference = without_statement(predicted), without_statement(reference)
    if SOME_MARKS.search(reference):
        return "".join(SOME_MARKS.findall(predicted)) == "".join(SOME_MARKS.findall(reference))
    if not reference.islower() and ":" not in reference and (letter := read_letter(reference)):
        return read_letter(predicted) == letter
    if _CHOICES.fullmatch(predicted) and _CHOICES.fullmatch(reference):
        return _choices(predicted) == _choices(reference)
    if labelled := LABELLED_VALUE.fullmatch(predicted):
        predicted = labelled[1].strip()
    predicted, reference = with_one_parameter(predicted, reference)
    budget = _Budget()
    readings = _readings(predicted, reference), _readings(reference, predicted)
    equal = any(_equal(a, b, budget) for a in readings[0] for b in readings[1])
    if budget.undecided and not equal:
        raise _NoVerdict
    return equal


_cached_match = lru_cache(maxsize=65536)(_match)


def _choices(text: str) -> str:
    """The options that a text names: those of a list in alphabetical order, those of a word as they stand there."""
    letters = re.findall("[A-H]", text)
    return "".join(sorted(letters) if len(letters) < len(text) else letters)


def _readings(text: str, other: str) -> list[str]:
    """A text with each comma before three digits as part of a number; and as a separator, where it may be one."""
    if not _GROUPED.search(text):
        return [text]
    whole = _GROUPED.sub(lambda number: number[0].replace(",", ""), text)
    if _GROUPED.fullmatch(text) and not re.search("[,;]", other):
        return [whole]  # "1,234" is not "1 and 234"
    apart = _GROUPED.sub(lambda number: number[0] if ",0" in number[0] else number[0].replace(",", ";"), text)
    return [whole, apart] if ";" in apart else [whole]


def _equal(predicted: str, reference: str, budget: _Budget) -> bool:
    budget.steps += 1
    if predicted == reference:
        return True
    if budget.steps > MAX_STEPS:
        return False
    predicted_number, reference_number = parse_number(predicted), parse_number(reference)
    if predicted_number and reference_number:
        return numbers_match(predicted_number, reference_number)
    if speaks_of_a_set(predicted) or speaks_of_a_set(reference):
        variables = variable_of(predicted), variable_of(reference)
        if None not in variables and variables[0] != variables[1]:
            return False
        sets = read_set(predicted), read_set(reference)
        if sets[0] and sets[1]:
            return _sets_equal(sets[0], sets[1], budget)
    predicted_parts, reference_parts = split_parts(predicted), split_parts(reference)
    if predicted_parts or reference_parts:
        if budget.depth >= MAX_DEPTH:
            return False
        budget.depth += 1
        equal = _parts_equal(predicted, predicted_parts, reference, reference_parts, budget)
        budget.depth -= 1
        return equal
    if r"\approx" in predicted and (exact := predicted.partition(r"\approx")[0].strip()):
        # "\sqrt{2}\approx 1.41" says \sqrt{2}, and "4\approx 5" nothing.
        near = are_near(exact.rpartition("=")[2], predicted.rpartition(r"\approx")[2])
        return near is not False and _equal(exact, reference, budget)
    members = sides(predicted), sides(reference)
    if len(members[0]) > 1 and len(members[1]) > 1:
        return _equations_equal(*members, budget)
    if len(members[0]) > 1 or len(members[1]) > 1:
        values = [stated_value(each) for each in members]
        return None not in values and _equal(values[0] or "", values[1] or "", budget)
    special = _SPECIAL.search(predicted), _SPECIAL.search(reference)
    if bool(special[0]) != bool(special[1]):
        return False
    if _cannot_be(predicted, reference_number) or _cannot_be(reference, predicted_number):
        return False
    if reference_number and reference_number.literal and _is_unfinished(without_units(predicted), reference_number):
        return False
    if bool(RELATION.search(predicted)) != bool(RELATION.search(reference)):
        return False
    return _formulas_equal(predicted, reference, budget)


def _equations_equal(predicted: list[str], reference: list[str], budget: _Budget) -> bool:
    """Whether two equations or chains are one: members alike, ends alike, or a multiple. Nothing is solved."""
    texts = "=".join(predicted), "=".join(reference)
    if texts[0].count("'") != texts[1].count("'"):
        return False
    if predicted[0] == reference[0] and is_name(predicted[0]):
        return _equal("=".join(predicted[1:]), "=".join(reference[1:]), budget)
    if len(predicted) == len(reference) == 2:
        # 2x=8 is a multiple of x=4, which is what solving it would show; and 1=2 of 3=7.
        pairs = [predicted, reference]
        solved = any((is_name(a) and is_constant(b)) or (is_name(b) and is_constant(a)) for a, b in pairs)
        special = solved or any(map(is_constant, texts))
        same = None if special else formulas_equal(*texts)
        if same is not None:
            return same
        orders = [predicted, predicted[::-1]]
        if any(all(_equal(a, b, budget) for a, b in zip(order, reference, strict=True)) for order in orders):
            return True
        return not special and all(map(is_formula, texts)) and budget.ask(*texts)
    if len(predicted) == len(reference):
        return all(_equal(a, b, budget) for a, b in zip(predicted, reference, strict=True))
    return _equal(predicted[0], reference[0], budget) and _equal(predicted[-1], reference[-1], budget)


def _is_unfinished(predicted: str, reference: Number) -> bool:
    r"""Whether an answer to a plain number is yet to be worked out: `10!`, but not `\pi` for 3.14, its rounding."""
    if is_literal(predicted):
        return False
    if not reference.places or not _IRRATIONAL.search(predicted):
        return True
    value = constant_value(predicted)
    return value is not None and abs(value - reference.value) <= 1e-12 * abs(value)


def _sets_equal(predicted: RealSet, reference: RealSet, budget: _Budget) -> bool:
    """Whether two sets have the same intervals, in any order, and are not said of different variables."""
    if predicted.variable and reference.variable and predicted.variable != reference.variable:
        return False
    wanted = list(reference.pieces)
    if len(predicted.pieces) != len(wanted):
        return False
    for piece in predicted.pieces:
        match = next((other for other in wanted if _pieces_equal(piece, other, budget)), None)
        if match is None:
            return False
        wanted.remove(match)
    return True


def _pieces_equal(predicted: Piece, reference: Piece, budget: _Budget) -> bool:
    if (predicted.low_in, predicted.high_in) != (reference.low_in, reference.high_in):
        return False
    ends = (predicted.low, reference.low), (predicted.high, reference.high)
    # "x<3 h" has no unit.
    if any(bool(_LETTER_BEHIND.search(a)) != bool(_LETTER_BEHIND.search(b)) for a, b in ends):
        return False
    return _equal(predicted.low, reference.low, budget) and _equal(predicted.high, reference.high, budget)


def _formulas_equal(predicted: str, reference: str, budget: _Budget) -> bool:
    if (same := residues_equal(predicted, reference)) is not None:
        return same
    if RATIO.fullmatch(predicted) and ":" in reference and RATIO.fullmatch(reference):
        return ratios_equal(predicted, reference)
    units = [found[0].strip() if (found := UNIT.search(text)) else None for text in (predicted, reference)]
    if in_conflict(*units) or predicted.count("'") != reference.count("'"):
        return False
    predicted, reference = (without_units(text) for text in (predicted, reference))
    if predicted.replace(" ", "") == reference.replace(" ", "") and not re.search(
        r"\d \d", predicted + "|" + reference
    ):
        return True
    if DATE.fullmatch(predicted) or DATE.fullmatch(reference):
        return False
    if _NAME_OF_POINTS.fullmatch(predicted) or _NAME_OF_POINTS.fullmatch(reference):
        return False
    if max(len(predicted), len(reference)) <= MAX_FORMULA and not (is_prose(predicted) or is_prose(reference)):
        # Where one formula is, others follow, and the first that is left to the judge would wait for its start.
        expect_questions()
        number = parse_number(reference)
        same = formulas_equal(predicted, reference, places=number.places if number else 0)
        if same is not None:
            return same
        if is_formula(predicted) and is_formula(reference):
            return budget.ask(predicted, reference)
    literal = digits_of(predicted)
    if literal is not None and literal == digits_of(reference):
        return True
    # "Tuesday" is "tuesday" and "7:30 p.m." is "7:30 PM", but X need not be x.
    said = alike(reference)
    if "\\" in said:
        return False
    return bool(WORD.search(said) or CLOCK.match(said)) and alike(predicted) == said


def _cannot_be(text: str, number: Number | None) -> bool:
    """Whether a text that is no number cannot equal that number: it holds a variable, words or a relation."""
    if number is None:
        return False
    if _BOUND.search(text):
        return False
    if OF_AN_ANGLE.search(text):  # the variables of an identity
        return "=" in text
    return not is_constant(without_units(text)) or "=" in text


def _parts_equal(
    predicted: str, predicted_parts: Parts | None, reference: str, reference_parts: Parts | None, budget: _Budget
) -> bool:
    if predicted_parts is None or reference_parts is None:
        parts, single = predicted_parts or reference_parts, reference if predicted_parts else predicted
        assert parts is not None
        # {7} is 7, but {{1},{2}} is not {1,2}.
        alone = parts.shape == "list" or (
            parts.shape == "set" and budget.depth == 1 and all(parse_number(item) for item in parts.items)
        )
        if alone and len(items := _distinct(parts.items, budget)) == 1:
            return _equal(items[0], single, budget) if predicted_parts else _equal(single, items[0], budget)
        # A matrix may have a factor in front.
        return parts.shape == "matrix" and r"\begin{" in single and _formulas_equal(predicted, reference, budget)
    if predicted_parts.name and reference_parts.name and predicted_parts.name != reference_parts.name:
        return False
    shapes = {predicted_parts.shape, reference_parts.shape}
    if ("union" in shapes and len(shapes) > 1) or ("set" in shapes and shapes & set(_ORDERED)):
        return False
    # A column or row may be written as a point.
    if len(shapes) > 1 and "matrix" in shapes and "tuple" not in shapes:
        return False
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
    if predicted.exclusive and not reference.exclusive and _names(items):
        return False  # "x=1 or y=2" is not both
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
    questions, budget.questions = budget.questions, 0
    for item in items:
        if not any(_equal(item, other, budget) for other in kept):
            kept.append(item)
    budget.questions = questions
    return kept
