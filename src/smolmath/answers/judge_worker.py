"""The process in which math-verify runs: one JSON request a line on stdin, one JSON reply a line on stdout.

It imports sympy once, a second or two, and answers through forked children of its own. A child that overruns is ended
by its own timer, or by this process when a wall clock runs out; the next one is forked in milliseconds, with sympy
warm. Only LaTeX is parsed: math-verify's reader for plain expressions ends in `eval`.
"""

import contextlib
import gc
import json
import logging
import os
import re
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

from smolmath.answers.judge import can_be_read

MEMORY_LIMIT_BYTES = 3 * 2**30
WORKING_DIGITS = 60
# Two exact values whose first 45 digits agree are taken for equal; sympy proves the rest too slowly to wait for.
EXACT_TOLERANCE = "1e-45"
DECIMAL_TOLERANCE = "1e-13"

# A current I is no imaginary unit, and E_k no power of e; Greek letters that nobody uses have no meaning of their own.
_NAMES = re.compile(r"\\[a-zA-Z]+|I|[Ee](?=_)")
_OTHER_NAMES = {"I": r"\Xi ", "E": r"\Upsilon ", "e": r"\varrho "}


@lru_cache(maxsize=4096)
def _parse(answer: str) -> Any:
    """The sympy object of a LaTeX answer as it is written. Raises: whatever its parser trips over.

    math-verify's own parser reads more into an answer: it lowers the case of symbols, takes letters at the end for
    units, and keeps the last equation of a text that it can't read.
    """
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy
    from math_verify.grader import should_treat_as_complex

    return latex2sympy(
        _NAMES.sub(lambda name: _OTHER_NAMES.get(name[0], name[0]), answer),
        is_real=not should_treat_as_complex(answer),
        normalization_config=NormalizationConfig(units=False, malformed_operators=True, nits=True, boxed="none"),
        conversion_config=ConversionConfig(lowercase_symbols=False),
    )


def _is_number(value: Any) -> bool:
    return bool(getattr(value, "is_number", False)) and not getattr(value, "is_Relational", False)


def _has_root(value: Any) -> bool:
    """Whether there is a root of a variable, and no modulus that would be lost with the sign of one."""
    import sympy  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it has no types

    roots = (power for power in value.atoms(sympy.Pow) if power.exp.is_Rational and not power.exp.is_Integer)
    return any(root.free_symbols for root in roots) and not value.has(sympy.Abs)


def _numbers_equal(predicted: Any, reference: Any, places: int) -> bool | None:
    """Equality of two constants by value, or None if their digits cannot be had."""
    import sympy  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it has no types

    decimal = bool(predicted.atoms(sympy.Float) or reference.atoms(sympy.Float))
    predicted_decimal = bool(predicted.atoms(sympy.Float))
    exact = [value.xreplace({f: sympy.Rational(str(f)) for f in value.atoms(sympy.Float)})
             for value in (predicted, reference)]  # fmt: skip
    a, b = (value.doit().evalf(WORKING_DIGITS, maxn=200) for value in exact)
    if not (a.is_Number or a.is_Add or a.is_Mul) or a.has(sympy.nan, sympy.zoo) or b.has(sympy.nan, sympy.zoo):
        return None
    if predicted.is_infinite or reference.is_infinite:
        return bool(predicted == reference)
    difference, size = abs(a - b).evalf(WORKING_DIGITS), max(abs(a), abs(b))
    if places and not predicted_decimal and difference <= sympy.Rational(1, 2 * 10**places):
        return True
    if difference <= size * sympy.Float(DECIMAL_TOLERANCE if decimal else EXACT_TOLERANCE, WORKING_DIGITS):
        return True
    # Cancellation can leave dust where the exact difference is 0.
    return bool(size < sympy.Float("1e-50") and sympy.simplify(exact[0] - exact[1]) == 0)


def _relations_equal(predicted: Any, reference: Any) -> bool:
    """Whether two relations are one, up to a constant factor and the side of each term. Nothing is solved."""
    import sympy  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it has no types

    greater = (sympy.Gt, sympy.Ge)
    a, b = (r.reversed if isinstance(r, greater) else r for r in (predicted, reference))
    if type(a) is not type(b):
        return False
    factor = sympy.simplify((a.lhs - a.rhs) / (b.lhs - b.rhs))
    if not factor.is_number or factor in (0, sympy.nan, sympy.zoo):
        return False
    return bool(isinstance(a, sympy.Eq | sympy.Ne) or factor.is_positive)


def judge(predicted: str, reference: str, places: int) -> bool:
    """Whether two answers are equal: relations by their terms, constants by their digits, the rest by math-verify."""
    import sympy  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it has no types
    from math_verify import verify

    target, gold = _parse(predicted), _parse(reference)
    if any(value.has(sympy.nan, sympy.zoo) for value in (target, gold) if isinstance(value, sympy.Expr)):
        return False
    relations = [isinstance(value, sympy.core.relational.Relational) for value in (target, gold)]
    if all(relations):
        return _relations_equal(target, gold)
    if any(isinstance(value, sympy.Eq) for value in (target, gold)):
        return False
    if isinstance(target, sympy.Symbol) and isinstance(gold, sympy.Symbol):
        return bool(target == gold)
    if all(isinstance(value, sympy.Expr) for value in (target, gold)):
        units = {symbol: sympy.I for value in (target, gold) for symbol in value.free_symbols if symbol.name == "i"}
        target, gold = target.subs(units), gold.subs(units)
    if all(isinstance(value, sympy.Expr) and _has_root(value) for value in (target, gold)):
        # Letters under a root are lengths: \sqrt{a/b} is \sqrt{ab}/b.
        names = target.free_symbols | gold.free_symbols
        positive = {symbol: sympy.Symbol(symbol.name, positive=True) for symbol in names}
        target, gold = target.subs(positive), gold.subs(positive)
    if _is_number(target) and _is_number(gold):
        verdict = _numbers_equal(target, gold, places)
        if verdict is not None:
            return verdict
    return bool(verify(gold, target, float_rounding=13, allow_set_relation_comp=True, timeout_seconds=None))


class _Child:
    """A fork of this process that answers questions until one is too much for it."""

    def __init__(self) -> None:
        questions_out, questions_in = os.pipe()
        verdicts_out, verdicts_in = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(questions_in)
            os.close(verdicts_out)
            _answer_questions(questions_out, verdicts_in)
            os._exit(0)
        os.close(questions_out)
        os.close(verdicts_in)
        self.questions, self.verdicts = questions_in, verdicts_out

    def ask(self, request: bytes) -> bytes:
        """The child's reply, empty if there is none."""
        with contextlib.suppress(OSError):
            os.write(self.questions, request)
        # Its own timer counts CPU time, so it may be waited for as long as it runs. A verdict is a few bytes, which a
        # pipe passes on whole; there is none where the child ended.
        return os.read(self.verdicts, 64) if can_be_read(self.verdicts, self.pid) else b""

    def end(self) -> bool:
        """Kill it; whether it was its own timer that had ended it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.questions)
        os.close(self.verdicts)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF


def _answer_questions(questions: int, verdicts: int) -> None:
    # The timer's default action ends the process even inside a single long multiplication, where no Python runs.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with os.fdopen(questions, "rb") as lines:
        for line in lines:
            request = json.loads(line)
            # CPU time, kept by the child's own timer: a busy machine gives the same verdicts as an idle one.
            signal.setitimer(signal.ITIMER_PROF, request["limit_s"])
            try:
                equal = judge(request["predicted"], request["reference"], request["places"])
            except (Exception, RecursionError, MemoryError):  # what a parser trips over is not equal
                equal = False
            left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
            os.write(verdicts, json.dumps([equal, request["limit_s"] - left]).encode() + b"\n")


def main() -> None:
    """Reply to each request with [true, false, "overrun" or "died"; CPU seconds], until stdin closes."""
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    # Parsers print; the pipe is for verdicts alone.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The first parse builds the grammar and the first simplification fills sympy's caches: half a second, which no
    # question should pay.
    judge(r"\frac{\sqrt{2}}{2}", r"\sin(\frac{\pi}{4})", 0)
    judge("x^2+2x+1", "(x+1)^2", 0)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page it looks at
    child = _Child()
    replies.write(b'"ready"\n')
    for request in sys.stdin.buffer:
        reply = child.ask(request)
        if not reply:
            spent = json.loads(request)["limit_s"]
            reply = json.dumps(["overrun" if child.end() else "died", spent]).encode() + b"\n"
            child = _Child()
        replies.write(reply)
    child.end()


if __name__ == "__main__":
    main()
