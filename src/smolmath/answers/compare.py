"""Whether two answers are the same value: exact text, exact numbers, parts, and at last math-verify.

Each step either decides or hands on, cheapest first:

1. normalised text; a multiple-choice letter;
2. numbers, as fractions (numbers.py);
3. parts of sets, lists, tuples, intervals and named values, each pair by these steps again (structure.py);
4. formulas: algebra in a finite field (formulas.py), the rest by math-verify in a process of its own (judge.py),
   within QUESTIONS and one overrun;
5. words, without case.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from smolmath.answers.formulas import are_near, formulas_equal
from smolmath.answers.intervals import Piece, RealSet, read_set, speaks_of_a_set
from smolmath.answers.kinds import (
    COMMAND,
    FUNCTIONS,
    LABELLED_VALUE,
    MAX_ANSWER,
    MAX_FORMULA,
    NAN,
    OF_AN_ANGLE,
    RELATION,
    UNIT,
    is_formula,
    is_prose,
    read_letter,
)
from smolmath.answers.normalise import normalise
from smolmath.answers.numbers import DATE, Number, digits_of, numbers_match, parse_number
from smolmath.answers.spellings import (
    CLOCK,
    RATIO,
    WORD,
    alike,
    ratios_equal,
    with_one_parameter,
    without_names,
    without_units,
)
from smolmath.answers.structure import MAX_PARTS, Parts, split_parts, strip_name
from smolmath.answers.units import in_conflict

QUESTIONS = 30  # to the judge, for one pair of answers
SECONDS = 0.5  # of the judge's CPU time for all of them
MAX_DEPTH = 6  # parts within parts
MAX_STEPS = 5_000  # pairs of parts that are looked at
CACHED_LENGTH = 500  # longer pairs are compared again rather than kept
_BOUND = re.compile(r"\\(?:sum|prod|int)(?![a-z])(?:\\limits)?(?:_\{[^{}]{0,40}\})?")  # its variables are its own
_ORDERED = ("tuple", "interval", "matrix")


@dataclass(slots=True)
class _Budget:
    """What may still be asked of the judge for one pair of answers."""

    questions: int = QUESTIONS
    depth: int = 0  # of parts within parts
    steps: int = 0  # pairs of parts that were looked at
    seconds: float = SECONDS

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
        return bool(verdict)


def _expect_questions() -> None:
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
    if len(predicted) + len(reference) > CACHED_LENGTH:
        return _match(predicted, reference)
    return _cached_match(predicted, reference)


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
    if not reference.islower() and ":" not in reference and (letter := read_letter(reference)):
        return read_letter(predicted) == letter
    if labelled := LABELLED_VALUE.fullmatch(predicted):
        predicted = labelled[1].strip()
    return _equal(*with_one_parameter(predicted, reference), _Budget())


_cached_match = lru_cache(maxsize=65536)(_match)


def _equal(predicted: str, reference: str, budget: _Budget) -> bool:
    budget.steps += 1
    if predicted == reference:
        return True
    if budget.steps > MAX_STEPS:
        return False
    predicted_number, reference_number = parse_number(predicted), parse_number(reference)
    if predicted_number and reference_number:
        return numbers_match(predicted_number, reference_number)
    if r"\approx" in predicted and (exact := predicted.partition(r"\approx")[0].strip()):
        # "\sqrt{2}\approx 1.41" says \sqrt{2}, and "4\approx 5" nothing.
        near = are_near(exact.rpartition("=")[2], predicted.rpartition(r"\approx")[2])
        return near is not False and _equal(exact, reference, budget)
    if speaks_of_a_set(predicted) or speaks_of_a_set(reference):
        sets = read_set(predicted), read_set(reference)
        if sets[0] and sets[1]:
            return _sets_equal(sets[0], sets[1], budget)
    if predicted.count("=") == reference.count("=") == 1 and formulas_equal(predicted, reference):
        return True
    predicted_parts, reference_parts = split_parts(predicted), split_parts(reference)
    if predicted_parts or reference_parts:
        if budget.depth >= MAX_DEPTH:
            return False
        budget.depth += 1
        equal = _parts_equal(predicted, predicted_parts, reference, reference_parts, budget)
        budget.depth -= 1
        return equal
    if (unnamed := without_names(predicted, reference)) != (predicted, reference):
        return _equal(*unnamed, budget)
    if _cannot_be(predicted, reference_number) or _cannot_be(reference, predicted_number):
        return False
    if bool(RELATION.search(predicted)) != bool(RELATION.search(reference)):
        return False
    return _formulas_equal(predicted, reference, budget)


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
    return _equal(predicted.low, reference.low, budget) and _equal(predicted.high, reference.high, budget)


def _formulas_equal(predicted: str, reference: str, budget: _Budget) -> bool:
    if RATIO.fullmatch(predicted) and ":" in reference and RATIO.fullmatch(reference):
        return ratios_equal(predicted, reference)
    units = [found[0].strip() if (found := UNIT.search(text)) else None for text in (predicted, reference)]
    if in_conflict(*units) or predicted.count("'") != reference.count("'"):
        return False
    predicted, reference = (without_units(text) for text in (predicted, reference))
    if predicted == reference:
        return True
    # An equation is no value: what it is solved by, the judge would find. The bound of a sum is no equation.
    equations = ["=" in _BOUND.sub("", text) for text in (predicted, reference)]
    if DATE.fullmatch(predicted) or DATE.fullmatch(reference) or equations[0] != equations[1]:
        return False
    if all(equations) and not (re.search("[a-zA-Z]", predicted) and re.search("[a-zA-Z]", reference)):
        return False  # 1=2 is as wrong as 3=7
    if max(len(predicted), len(reference)) <= MAX_FORMULA and not (is_prose(predicted) or is_prose(reference)):
        # Where one formula is, others follow, and the first that is left to the judge would wait for its start.
        _expect_questions()
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
    return bool(WORD.search(said) or CLOCK.match(said)) and alike(predicted) == said


def _cannot_be(text: str, number: Number | None) -> bool:
    """Whether a text that is no number cannot equal that number: it holds a variable, words or a relation."""
    if number is None:
        return False
    if _BOUND.search(text):
        return False
    letters = COMMAND.sub(" ", without_units(text))
    if OF_AN_ANGLE.search(text):  # the variables of an identity
        return "=" in text
    return bool(re.search(r"[a-df-hj-zA-Z]", re.sub("|".join(sorted(FUNCTIONS)), "", letters))) or "=" in text


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
