"""Worked solutions for reasoning-gym tasks whose steps follow from the task's own metadata.

Only gsm_symbolic ships worked steps; for these tasks each step is one operation with its result, which is what a
small model can learn to write. An entry is a row of reasoning-gym: question, answer, metadata.
"""

from collections.abc import Callable
from typing import Any


def chain_sum(metadata: dict[str, Any]) -> str:
    """Running total from the left: `4 - 1 - 7` gives `4-1=3` and `3-7=-4`, a line each."""
    total_text, *rest = metadata["expression"].split()
    total, lines = int(total_text), []
    for operator, term in zip(rest[::2], rest[1::2], strict=True):
        following = total + int(term) if operator == "+" else total - int(term)
        lines.append(f"{total}{operator}{term}={following}")
        total = following
    return "\n".join(lines)


def leg_counting(metadata: dict[str, Any]) -> str:
    """Legs of each kind of animal, then the running total: `3 cat: 3*4=12`, `12+6=18`."""
    # The import waits for a call: reasoning_gym takes a second, and only its own rows need it.
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    legs = [(animal, count, ANIMALS[animal]) for animal, count in metadata["animals"].items()]
    lines = [f"{count} {animal}: {count}*{each}={count * each}" for animal, count, each in legs]
    total = legs[0][1] * legs[0][2]
    for _, count, each in legs[1:]:
        lines.append(f"{total}+{count * each}={total + count * each}")
        total += count * each
    return "\n".join(lines)


def gsm_symbolic(metadata: dict[str, Any]) -> str:
    """The task's own worked steps, without the closing `#### answer` line."""
    return str(metadata["answer_cot"]).split("\n####")[0]


WORKED: dict[str, Callable[[dict[str, Any]], str]] = {
    "chain_sum": chain_sum,
    "gsm_symbolic": gsm_symbolic,
    "leg_counting": leg_counting,
}
