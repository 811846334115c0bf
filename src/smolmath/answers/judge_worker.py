"""The process in which math-verify runs: one JSON request a line on stdin, one JSON verdict a line on stdout.

It may be killed at any moment, by judge.py or by its own timer. Only LaTeX is parsed: math-verify's reader for plain
expressions ends in `eval`.
"""

import contextlib
import json
import logging
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any

MEMORY_LIMIT_BYTES = 3 * 2**30
WORKING_DIGITS = 60
# Two exact values whose first 45 digits agree are taken for equal; sympy proves the rest too slowly to wait for.
EXACT_TOLERANCE = "1e-45"
DECIMAL_TOLERANCE = "1e-13"


@lru_cache(maxsize=4096)
def _parse(answer: str) -> Any:
    """The sympy object of a LaTeX answer, or None."""
    from math_verify import LatexExtractionConfig, parse

    found = parse(
        f"${answer}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
    )
    return found[0] if found else None


def _is_number(value: Any) -> bool:
    return bool(getattr(value, "is_number", False)) and not getattr(value, "is_Relational", False)


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
    difference, size = abs(a - b).evalf(WORKING_DIGITS), max(abs(a), abs(b))
    if places and not predicted_decimal and difference <= sympy.Rational(1, 2 * 10**places):
        return True
    if difference <= size * sympy.Float(DECIMAL_TOLERANCE if decimal else EXACT_TOLERANCE, WORKING_DIGITS):
        return True
    # Cancellation can leave dust where the exact difference is 0.
    return bool(size < sympy.Float("1e-50") and sympy.simplify(exact[0] - exact[1]) == 0)


def judge(predicted: str, reference: str, places: int) -> bool:
    """Whether math-verify finds the answers equal, with our tolerance for constants."""
    from math_verify import verify

    target, gold = _parse(predicted), _parse(reference)
    if target is None or gold is None:
        return False
    if _is_number(target) and _is_number(gold):
        verdict = _numbers_equal(target, gold, places)
        if verdict is not None:
            return verdict
    # The order matters: an equation is unwrapped for the sake of the first argument's form.
    return bool(verify(gold, target, float_rounding=13, allow_set_relation_comp=True, timeout_seconds=None))


def main() -> None:
    """Answer requests until stdin closes."""
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    # Parsers print; the pipe is for verdicts alone.
    replies = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The timers' default action ends the process even inside a single long multiplication, where no Python runs.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # The first parse builds the grammar and the first simplification fills sympy's caches: a second, which no
    # question should pay.
    judge(r"\frac{\sqrt{2}}{2}", r"\sin(\frac{\pi}{4})", 0)
    judge("x^2+2x+1", "(x+1)^2", 0)
    replies.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["limit_s"])
        try:
            equal = judge(request["predicted"], request["reference"], request["places"])
        except (Exception, RecursionError, MemoryError):  # whatever a parser trips over, the answers are not equal
            equal = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(json.dumps({"equal": equal}) + "\n")


if __name__ == "__main__":
    main()
