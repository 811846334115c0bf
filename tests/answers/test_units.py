"""Which words behind a number are units, and which units measure the same thing."""

import pytest

from smolmath.answers import answers_match
from smolmath.answers.units import in_conflict, known_unit, may_be_unit


@pytest.mark.parametrize(
    ("unit", "dimension"),
    [("cm", "length"), ("cm^2", "length^2"), ("square feet", "length^2"), ("km/h", "length/time"), ("miles per hour", "length/time"),
     ("cubic meters", "length^3"), ("inches", "length"), (r"\unit{kg}", "mass"), ("apples", None), ("", None), (None, None)],
)  # fmt: skip
def test_the_dimension_of_a_unit(unit, dimension):
    assert (known_unit(unit) or (None,))[0] == dimension


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [("cm", "m", True), ("feet", "ft", False), ("km/h", "m/s", True), ("cm^2", "cm^3", True), ("apples", "pears", False),
     ("cm", None, False), ("years", "days", True)],
)  # fmt: skip
def test_two_known_units_that_differ_are_in_conflict(first, second, conflict):
    assert in_conflict(first, second) is conflict
    assert in_conflict(second, first) is conflict


@pytest.mark.parametrize(
    ("words", "attached", "unit"),
    [(["cm"], True, True), (["xy"], True, False), (["apples"], True, True), (["sinx"], True, False), (["m"], True, False),
     (["m"], False, True), (["xy"], False, False), (["dollars", "or", "more"], False, False), ([], False, True)],
)  # fmt: skip
def test_letters_behind_a_number_may_be_a_product(words, attached, unit):
    assert may_be_unit(words, attached=attached) is unit


def test_quantities_are_converted():
    assert answers_match("5000 m", "5 km")
    assert answers_match("36 km/h", "10 m/s")
    assert answers_match("1 ft^2", "144 square inches")
    assert not answers_match("5 cm^2", "5 cm^3")
