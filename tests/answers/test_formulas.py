"""Algebra in the finite field, and sets of real numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmath.answers import answers_match
from smolmath.answers.formulas import PRIMES, P, _square_root, formulas_equal
from smolmath.answers.intervals import Piece, read_set


def test_the_prime_has_a_root_for_minus_one_and_every_small_prime():
    assert pow(2, P - 1, P) == 1
    assert all(_square_root(n) ** 2 % P == n % P for n in (*PRIMES, P - 1))


@pytest.mark.parametrize(
    ("predicted", "reference", "equal"),
    [
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}", True),
        (r"3\sqrt{13}", r"\sqrt{117}", True),
        (r"\sqrt{\frac{3}{4}}", r"\frac{\sqrt{3}}{2}", True),
        (r"\sqrt{-5}", r"i\sqrt{5}", True),
        ("i^2", "-1", True),
        (r"\frac{1+i}{1-i}", "i", True),
        ("(x+1)(x-1)", "x^2-1", True),
        ("8x^2(3x+1)", "24x^3+8x^2", True),
        ("x_{1}+x_{2}", "x_{2}+x_{1}", True),
        ("ab", "ba", True),
        ("-x^2", "x^2", False),
        ("(x+1)^2", "x^2+1", False),
        ("X", "x", False),
        (r"2\pi r", r"\pi r^2", False),
        (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}", False),
        ("y=2x+1", "2x-y+1=0", True),
        ("x^2-y^2=4", "x^2+y^2=4", False),
        ("0.5x", "x/2", True),
        ("0.33x", "x/3", False),
        ("0.33333333333333x", "x/3", None),  # a decimal has a tolerance
        (r"1.41", r"\sqrt{2}", False),
        (r"1.41421356237310", r"\sqrt{2}", None),
        ("x/2y", "x/(2y)", None),  # ambiguous
        (r"\sin{x}", "x", False),
        (r"\sin 2x", r"2\sin x\cos x", None),  # close: for the judge to prove
        (r"\ln 2^3", r"3\ln 2", None),  # ambiguous
        (r"\log_{2} 8", "3", None),
        (r"\log_{2} 3", r"\log_{3} 2", False),
        (r"\binom{10}{3}", "120", None),
        (r"\binom{10}{3}", "121", False),
        (r"\sqrt[3]{54}", r"3\sqrt[3]{2}", None),
        (r"\sqrt{x}", "x", False),
        (r"\sqrt{x^2}", "x", None),  # x or -x
        ("2^x", "x^2", False),
        ("10^{12}x", "x", False),
        ("10^{12}y^{x}", "x", None),  # too large for rounding not to matter
        ("f(2)", "2f", None),
        (r"\frac{1}{x-x}", "1", None),
        ("x^{99999}", "x", False),
        ("x^{9999999}", "x", None),
        ("(" * 100 + "x" + ")" * 100, "x", None),
        ("x2", "2x", None),
    ],
)
def test_formulas_are_equal_for_all_values_or_left_to_the_judge(predicted, reference, equal):
    assert formulas_equal(predicted, reference) is equal
    assert formulas_equal(reference, predicted) is equal


TERMS = st.recursive(
    st.sampled_from(["x", "y", "3", "7", r"\pi", r"\sqrt{6}"]),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
    max_leaves=8,
)


@given(a=TERMS, b=TERMS, c=TERMS)
def test_the_laws_of_a_ring_hold(a, b, c):
    assert formulas_equal(f"{a}*({b}+{c})", f"{b}*{a}+{c}*{a}") is True
    assert formulas_equal(f"{a}+1", a) is False


INFINITE = r"\infty"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (r"[1;2)", [("1", "2", True, False)]),
        ("]1;2[", [("1", "2", False, False)]),
        (r"1\le x<2", [("1", "2", True, False)]),
        ("3>x>1", [("1", "3", False, False)]),
        (r"x\ge 4", [("4", INFINITE, True, False)]),
        ("x>1 and x<3", [("1", "3", False, False)]),
        ("x<1 or x>3", [("-" + INFINITE, "1", False, False), ("3", INFINITE, False, False)]),
        ("|x|<2", [("-2", "2", False, False)]),
        (r"x\ne 2", [("-" + INFINITE, "2", False, False), ("2", INFINITE, False, False)]),
        (r"\mathbb{R}\setminus\{5;2\}", [("-" + INFINITE, "2", False, False), ("2", "5", False, False),
                                         ("5", INFINITE, False, False)]),
        (r"[1;2]\cup[2;3]", [("1", "3", True, True)]),
        (r"\{x\in\mathbb{R}:x>4\}", [("4", INFINITE, False, False)]),
        ("all real numbers", [("-" + INFINITE, INFINITE, False, False)]),
    ],
)  # fmt: skip
def test_a_set_of_numbers_is_read_in_every_spelling(text, pieces):
    assert read_set(text).pieces == tuple(Piece(*piece) for piece in pieces)


@pytest.mark.parametrize("text", ["2x>4", "x>y", "x>1 or y>2", "x+1", "(1;2;3)", "x<1<y", "(1;2)+3"])
def test_what_is_no_set_of_one_variable_is_left_alone(text):
    assert read_set(text) is None


def test_sets_are_compared_end_by_end_and_their_variables_with_them():
    assert answers_match(r"x < \frac12", r"(-\infty, 0.5)")
    assert not answers_match(r"x \le \frac12", r"(-\infty, 0.5)")
    assert not answers_match("x > 4", "y > 4")
