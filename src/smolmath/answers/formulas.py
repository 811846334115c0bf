r"""Equality of formulas without sympy: proved in a finite field, refuted in floating point, otherwise left open.

*Proof.* Two rational functions that differ, differ at a random point of a field of P elements but for one chance in
P / degree (Schwartz 1980, Zippel 1979), here about 1 in 1e35. P is a prime for which every prime below 100, and -1, is
a square, so that `\sqrt{20}`, `2\sqrt{5}` and `i` have values there too: mapping each root of a prime to one of its
square roots in the field respects sums and products.

*Refutation.* What has no value there (functions, other roots, decimals against roots) has one in floating point. Two
formulas whose values at one point are far apart are different; if the values are close, math-verify decides.
"""

import cmath
import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import isqrt, prod

from smolmath.answers.algebra import MAX_EXPONENT, NotAlgebraic, Reader
from smolmath.answers.numbers import parse_number

PRIMES = tuple(n for n in range(2, 100) if all(n % q for q in range(2, isqrt(n) + 1)))
# P = 1 mod 8 and mod each odd prime below 100, which by quadratic reciprocity makes them all squares.
P = 5 * 8 * prod(PRIMES[1:]) + 1
MAX_ROOT = 10**12  # radicands that are worth factoring
FAR = 1e-6  # relative distance of two values that rounding cannot explain
TAME = 1e6  # size of intermediate values up to which that holds
_LETTER = re.compile(r"[a-zA-Z]")
_CONSTANT = re.compile(
    r"\\(?:frac|sqrt|pi|sin|cos|tan|ln|log|exp|arctan|arcsin|arccos|binom)(?![a-zA-Z])|(?<![a-zA-Z])[ei](?![a-zA-Z])"
)
_POINTS = (0x5DEECE66D, 0x9E3779B97F4A7C15)  # seeds of two points; any will do


def formulas_equal(predicted: str, reference: str, places: int = 0) -> bool | None:
    r"""Whether two formulas or equations are the same for all values of their variables; None if not decided here.

    Args:
        predicted: normalised text of the completion's answer.
        reference: normalised text of the problem's answer.
        places: decimal places of the reference if it is a decimal, for values that round to it.

    Equations are the same if one is a multiple of the other.

    >>> formulas_equal(r"\frac{2}{\sqrt{2}}", r"\sqrt{2}"), formulas_equal("y=2x+1", "2x-y+1=0")
    (True, True)
    >>> formulas_equal("(x+1)^2", "x^2+1"), formulas_equal(r"\sin 2x", "x"), formulas_equal(r"\ln 8", r"3\ln 2")
    (False, False, None)
    """
    if predicted.count("=") != reference.count("=") or predicted.count("=") > 1:
        return None
    try:
        if "=" in predicted:
            return _multiples(predicted, reference)
        (a, a_decimal), (b, b_decimal) = _value(predicted, 0), _value(reference, 0)
        if a == b:
            return True
        # Decimals have a tolerance, which a field does not know.
        if not (a_decimal or b_decimal):
            return False
    except (NotAlgebraic, ZeroDivisionError):
        if "=" in predicted:
            return None
    return _refuted(predicted, reference, places)


def constant_value(text: str) -> complex | None:
    """The value of a constant in floating point; None if it has a variable, or no value that is worth trusting."""
    return _float(text) if not _LETTER.search(_CONSTANT.sub("", text)) else None


def are_near(first: str, second: str) -> bool | None:
    """Whether two constants differ by less than a percent; None if they have no value in floating point."""
    a, b = _float(first.strip()), _float(second.strip())
    return None if a is None or b is None else abs(a - b) <= 0.01 * max(abs(a), abs(b))


def _multiples(predicted: str, reference: str) -> bool | None:
    """Whether one equation is a multiple of the other; None for identities, and for decimals, which need rounding."""
    sides = [[_difference(equation, point) for equation in (predicted, reference)] for point in (0, 1)]
    ((a, a_decimal), (b, b_decimal)), ((c, _), (d, _)) = sides
    if not (a and b and c and d):
        return None
    # a and b are multiples of one another if their ratio is the same at both points.
    return True if a * d % P == b * c % P else None if a_decimal or b_decimal else False


def _difference(equation: str, point: int) -> tuple[int, bool]:
    (left, a), (right, b) = (_value(side, point) for side in equation.split("="))
    return (left - right) % P, a or b


def _refuted(predicted: str, reference: str, places: int) -> bool | None:
    """False if the two are far apart in floating point, else None."""
    a, b = _float(predicted), _float(reference)
    if a is None or b is None:
        return None
    near = max(FAR * max(abs(a), abs(b)), FAR * FAR, 10.0**-places if places else 0.0)
    return False if abs(a - b) > near else None


@lru_cache(maxsize=8192)
def _value(text: str, point: int) -> tuple[int, bool]:
    """Value in the field at one of the two points, and whether a decimal takes part."""
    reader = _FieldReader(text, point)
    return reader.read(), reader.decimal


@lru_cache(maxsize=8192)
def _float(text: str) -> complex | None:
    try:
        value = _FloatReader(text).read()
    except (NotAlgebraic, ZeroDivisionError, OverflowError, ValueError):
        return None
    return value if cmath.isfinite(value) else None


@lru_cache(maxsize=1024)
def _variable(name: str, point: int) -> int:
    """The value of a variable in the field: some number that depends on its name."""
    return pow(int.from_bytes(name.encode(), "big") + _POINTS[point], 65537, P)


@lru_cache(maxsize=64)
def _square_root(n: int) -> int:
    """A square root of n modulo P (Tonelli-Shanks); every prime below 100 and -1 has one."""
    odd, twos = P - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    generator = next(c for c in range(2, P) if pow(c, (P - 1) // 2, P) == P - 1)
    root, rest, step = pow(n, (odd + 1) // 2, P), pow(n, odd, P), pow(generator, odd, P)
    while rest != 1:
        order = next(i for i in range(1, twos) if pow(rest, 2**i, P) == 1)
        factor = pow(step, 2 ** (twos - order - 1), P)
        root, step, twos = root * factor % P, factor * factor % P, order
        rest = rest * step % P
    return root


def _root_of(value: Fraction) -> int:
    """The square root of a rational number, in the field."""
    number, result = value.numerator * value.denominator, 1
    if abs(number) > MAX_ROOT:
        raise NotAlgebraic
    if number < 0:
        number, result = -number, _square_root(P - 1)
    for prime in PRIMES:
        while number % prime == 0 and number:
            number, result = number // prime, result * _square_root(prime) % P
    if isqrt(number) ** 2 != number:
        raise NotAlgebraic
    return result * isqrt(number) * pow(value.denominator, -1, P) % P


class _FieldReader(Reader[int]):
    """Values modulo P; roots of rational numbers only, and integer exponents."""

    def __init__(self, text: str, point: int) -> None:
        super().__init__(text)
        self.point = point

    def number(self, token: str) -> int:
        value = Fraction(token)
        return value.numerator * pow(value.denominator, -1, P) % P

    def letter(self, token: str) -> int:
        return _square_root(P - 1) if token == "i" else _variable(token, self.point)

    def reduced(self, value: int) -> int:
        return value % P

    def inverse(self, value: int) -> int:
        if value % P == 0:
            raise ZeroDivisionError
        return pow(value, -1, P)

    def root(self) -> int:
        number = parse_number(self.inside("{", "}"))
        if number is None or number.percent or number.unit:
            raise NotAlgebraic
        self.decimal |= number.decimal
        return _root_of(number.value)

    def power(self, base: int) -> int:
        # An integer written out; its value in the field would be of no use.
        number = parse_number(self.inside("{", "}") if self.peek() == "{" else self.take())
        if number is None or number.value.denominator != 1 or abs(number.value) > MAX_EXPONENT or number.unit:
            raise NotAlgebraic
        exponent = int(number.value)
        return pow(base, exponent, P) if exponent >= 0 else pow(self.inverse(base), -exponent, P)


_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    r"\sin": cmath.sin, r"\cos": cmath.cos, r"\tan": cmath.tan, r"\ln": cmath.log, r"\exp": cmath.exp,
    r"\log": cmath.log10,
    r"\arctan": cmath.atan, r"\arcsin": cmath.asin, r"\arccos": cmath.acos,
}  # fmt: skip


class _FloatReader(Reader[complex]):
    """Values in floating point, with a positive number for each variable, and the functions of calculus."""

    def number(self, token: str) -> complex:
        return self.reduced(float(token))

    def letter(self, token: str) -> complex:
        if token in ("i", "e", r"\pi"):
            return {"i": 1j, "e": math.e, r"\pi": math.pi}[token]
        return 0.5 + _variable(token, 0) / P

    def reduced(self, value: complex) -> complex:
        if abs(value) > TAME:
            raise NotAlgebraic
        return value

    def inverse(self, value: complex) -> complex:
        return self.reduced(1 / value)

    def root(self) -> complex:
        degree = 2
        if self.peek() == "[":
            number = parse_number(self.inside("[", "]"))
            degree = int(number.value) if number and number.value.denominator == 1 else 0
        value = self.group("{", "}")
        if not 2 <= degree <= 9 or (degree > 2 and (value.imag or value.real < 0)):
            raise NotAlgebraic  # which of the roots is meant
        return complex(value ** (1 / degree))

    def power(self, base: complex) -> complex:
        exponent = self.group("{", "}") if self.peek() == "{" else self.factor()
        if base == 0 or (exponent != int(exponent.real) and (base.imag or base.real < 0)):
            raise NotAlgebraic
        return self.reduced(complex(base**exponent))

    def function(self, token: str) -> complex:
        if token == r"\binom":
            n, k = self.group("{", "}"), self.group("{", "}")
            if k != int(k.real) or not 0 <= k.real <= 40:
                raise NotAlgebraic
            # n may be a variable: n(n-1)…(n-k+1)/k!
            return self.reduced(prod((n - i for i in range(int(k.real))), start=1 + 0j) / math.factorial(int(k.real)))
        name, _, base = token.partition("_")
        if name == r"\log" and base.strip("{}").isdecimal():
            return self.reduced(cmath.log(self._argument()) / cmath.log(float(base.strip("{}"))))
        if token not in _FUNCTIONS:
            raise NotAlgebraic
        if self.peek() != "^":
            return self.reduced(_FUNCTIONS[token](self._argument()))
        self.take()
        exponent = self.group("{", "}") if self.peek() == "{" else self.factor()
        if exponent not in (2, 3, 4) or token in (r"\ln", r"\log", r"\exp"):
            raise NotAlgebraic  # \sin^{-1} is the inverse function
        return self.reduced(_FUNCTIONS[token](self._argument()) ** int(exponent.real))

    def _argument(self) -> complex:
        r"""A group, or the factors up to the next sign or function: `\sin 2x`, `\cos\frac{\pi}{3}`."""
        if self.peek() in ("(", "{"):
            value = self.group(self.peek(), ")" if self.peek() == "(" else "}")
        else:
            value = self.factor()
            while self.starts_factor(self.peek()) and self.peek() not in _FUNCTIONS and self.peek() != "(":
                value *= self.factor()
        if self.peek() in ("^", "(", "/", "*"):
            raise NotAlgebraic  # of the argument or of the value?
        return value
