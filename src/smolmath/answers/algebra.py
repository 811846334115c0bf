"""Recursive descent over an algebraic formula that evaluates while it reads, in whatever numbers a subclass has.

Sums, products (also those without a sign), quotients, `\\frac`, powers, brackets. What can be read in two ways, such
as `1/2x`, is not read at all. Time is linear in the text.
"""

import re
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Generic, TypeVar

MAX_DEPTH = 40
MAX_EXPONENT = 10**6

Value = TypeVar("Value", int, complex, Fraction)

_TOKEN = re.compile(
    r"\s?(\d+(?:\.\d+)?|\.\d+|\\frac|\\sqrt|\\[a-zA-Z]+(?:_\{\w+\})?|[a-zA-Z](?:_\{\w+\})?'{0,2}|[-+*/^(){}\[\]])"
)
_LETTERS = frozenset(
    (  # noqa: SIM905 - words in a line read better than a list of quoted ones
        r"\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \kappa \lambda \mu \nu \xi \rho \sigma"
        r" \tau \phi \varphi \chi \psi \omega \Delta \Gamma \Omega \Theta \Lambda \Sigma \Phi \Psi \pi \ell"
    ).split()
)
_FUNCTION_NAMES = frozenset("fghFGHP")  # `f(2)` may be a value of f rather than a product


class NotAlgebraic(Exception):
    """The text is no formula that has a value in these numbers."""


class Reader(ABC, Generic[Value]):
    """One text, read once by `read`. Subclasses say what numbers, letters, roots, powers and functions are."""

    juxtaposed = True  # whether `2x` and `2(3)` are products

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise NotAlgebraic
            self.tokens.append(found[1])
            position = found.end()
        self.at, self.depth, self.decimal = 0, 0, False

    @abstractmethod
    def number(self, token: str) -> Value:
        """The value of a literal."""

    @abstractmethod
    def letter(self, token: str) -> Value:
        """The value of a variable or a constant."""

    def reduced(self, value: Value) -> Value:
        """The value in its usual form."""
        return value

    @abstractmethod
    def inverse(self, value: Value) -> Value:
        """1 / value. Raises: ZeroDivisionError."""

    @abstractmethod
    def root(self) -> Value:
        r"""The value of what stands behind `\sqrt`."""

    @abstractmethod
    def power(self, base: Value) -> Value:
        """The base to what stands behind `^`."""

    def function(self, token: str) -> Value:
        r"""The value of a function such as `\sin` with its argument."""
        raise NotAlgebraic

    def read(self) -> Value:
        """The value of the whole text. Raises: NotAlgebraic, ZeroDivisionError, OverflowError."""
        value = self._sum()
        if self.at < len(self.tokens):
            raise NotAlgebraic
        return value

    def peek(self) -> str:
        """The next token, "" at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        """The next token, which must be the wanted one, if one is."""
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise NotAlgebraic
        self.at += 1
        return token

    def group(self, opening: str, closing: str) -> Value:
        """The value of a sum in brackets."""
        self.take(opening)
        value = self._sum()
        self.take(closing)
        return value

    def inside(self, opening: str, closing: str) -> str:
        """The text in brackets, passed over."""
        self.take(opening)
        start, depth = self.at, 1
        while depth:
            token = self.take()
            depth += (token == opening) - (token == closing)
        return "".join(self.tokens[start : self.at - 1])

    def factor(self) -> Value:
        """One factor, with its power."""
        token = self.peek()
        if token == r"\sqrt":
            self.take()
            value = self.root()
        elif token == r"\frac":
            self.take()
            value = self.group("{", "}")
            value = self.reduced(value * self.inverse(self.group("{", "}")))
        else:
            value = self._atom()
        if self.peek() != "^":
            return value
        self.take()
        value = self.power(value)
        if self.peek() == "^":
            raise NotAlgebraic
        return value

    def _sum(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotAlgebraic
        value = self._product()
        while self.peek() in ("+", "-"):
            value = value + self._product() if self.take() == "+" else value - self._product()
        self.depth -= 1
        return self.reduced(value)

    def _product(self) -> Value:
        value = self.signed()
        while token := self.peek():
            if token == "*":
                self.take()
                value = self.reduced(value * self.signed())
            elif token == "/":
                self.take()
                divisor = self.signed()
                # 1/2x is one half of x to some and 1/(2x) to others.
                if self.starts_factor(self.peek()):
                    raise NotAlgebraic
                value = self.reduced(value * self.inverse(divisor))
            elif self.juxtaposed and self.starts_factor(token):
                # "2 3" and "x2" are no products.
                if token[0].isdigit() or token[0] == ".":
                    raise NotAlgebraic
                value = self.reduced(value * self.factor())
            else:
                break
        return value

    @staticmethod
    def starts_factor(token: str) -> bool:
        """Whether a token begins a factor of a product without a sign."""
        return bool(token) and (token[0].isalnum() or token[0] in "\\.({")

    def signed(self) -> Value:
        """A factor with the signs before it."""
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.take() == "-"
        value = self.factor()
        return -value if negative else value

    def _atom(self) -> Value:
        token = self.take()
        if token in ("(", "{"):
            self.at -= 1
            return self.group(token, ")" if token == "(" else "}")
        if token[0].isdigit() or token[0] == ".":
            self.decimal |= "." in token
            return self.number(token)
        if token in _FUNCTION_NAMES and self.peek() == "(":
            raise NotAlgebraic
        if token[0].isalpha() or token.partition("_")[0] in _LETTERS:
            return self.letter(token)
        return self.function(token)
