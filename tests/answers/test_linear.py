"""Every pattern of the grader on text that is made to trip it, at doubling length: time may double too, no more."""

import importlib
import pkgutil
import re
import time
from pathlib import Path

import pytest

import smolmath.answers
from smolmath.answers.blocks import answer_tag, reasoning_tag

PIECES = [
    "<answer>", "</answer>", "\\boxed{", "answer is ", "answer: ", "final answer ", "#### ", "$", "1,", "1,000,", "((",
    "\\frac{", "{", " ", "a", "A", "5 ", "5", "0", "x=1,", "**", "wait, ", "I made a ", "not ", "sqrt(", "\\text{", "\n",
    "5-", "cm ", "\\pm ", "^{", "=", "A) ", "or ", "\\", "\\\\", ".", "(a ", "and ", "so ", "in ", "1/", "x\\in ", "[1,", "]",
    "\\{", "<", "1<x", "\\unit{a}", "m/", "the ", "i.e. ", ", which ", "5, not ", "(or ", "1 000 ", "_{", "二", "½", "e1", "'",
    "\\begin{pmatrix}", "&", "\\langle ", ":", "%", "-", "km", "a.", "is ", "correct option ",
]  # fmt: skip
SIZES = (1_000, 2_000, 4_000, 8_000)
MODULES = [module.name for module in pkgutil.iter_modules(smolmath.answers.__path__) if module.name != "judge_worker"]
SOURCE = "\n".join(path.read_text() for path in Path(smolmath.answers.__path__[0]).glob("*.py"))
METHODS = ("match", "fullmatch", "search", "sub", "finditer", "findall", "split")


def patterns():
    for module in MODULES:
        for name, value in vars(importlib.import_module(f"smolmath.answers.{module}")).items():
            members = value if isinstance(value, list) else [(value,)]
            for index, member in enumerate(members):
                if isinstance(member, tuple) and isinstance(member[0], re.Pattern):
                    # A list of patterns with replacements is substituted; others are used as the source says.
                    used = {"sub"} if isinstance(value, list) else set(re.findall(rf"\b{name}\.(\w+)\(", SOURCE))
                    yield pytest.param(member[0], used & set(METHODS) or {"finditer"}, id=f"{module}.{name}.{index}")
    for name, pattern in {"answer": answer_tag("answer"), "reasoning": reasoning_tag("reasoning")}.items():
        yield pytest.param(pattern, {"finditer"}, id=f"{name} tag")


def seconds(pattern, methods, text):
    """CPU time of the ways in which the grader uses a pattern."""
    start = time.process_time()
    for method in methods:
        if method == "sub":
            pattern.sub("", text)
        else:
            found = getattr(pattern, method)(text)
            if method == "finditer":
                for _ in found:
                    pass
    return time.process_time() - start


def too_slow(pattern, methods, piece, end):
    """CPU times at SIZES where they grow faster than the text; None where they don't."""
    texts = [(piece * (size // len(piece) + 1))[:size] + end for size in SIZES]
    # A busy machine can make one measurement look like anything, but not five in a row.
    for _ in range(5):
        if seconds(pattern, methods, texts[-1]) < 0.004:  # too short to have a shape
            return None
        times = [min(seconds(pattern, methods, text) for _ in range(2)) for text in texts]
        if times[-1] < 8 * times[-3]:  # quadratic time grows 16-fold over two doublings, linear time 4-fold
            return None
    return times


@pytest.mark.parametrize(("pattern", "methods"), list(patterns()))
def test_time_grows_no_faster_than_the_text(pattern, methods):
    for piece in PIECES:
        for end in ("", "!"):
            assert too_slow(pattern, methods, piece, end) is None, f"{piece!r} {end}"


def test_a_quadratic_pattern_is_found_out():
    assert too_slow(re.compile("a*b"), {"finditer"}, "a", "!") is not None


def test_the_patterns_are_found():
    assert len({pattern.values[0] for pattern in patterns()}) > 100
