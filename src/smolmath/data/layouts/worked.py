"""Worked solutions for reasoning-gym tasks whose steps follow from the task's own metadata.

Only gsm_symbolic ships worked steps; for these tasks each step is one operation with its result, which is what a
small model can learn to write. An entry is a row of reasoning-gym: question, answer, metadata.
"""

from collections.abc import Callable
from typing import Any

# reasoning-gym's table, copied because importing it costs three seconds; a test holds the two together.
_BY_LEGS: dict[int, str] = {
    0: "snake, sea slug, jellyfish, flatworm, leech",
    2: "chicken, bird, human, duck",
    4: "dog, cat, cow, horse, lion, elephant, giraffe, tiger, deer, sheep",
    5: "starfish",
    6: "insect, ant, butterfly, beetle, bee, wasp, grasshopper, cricket, cockroach, praying mantis, firefly",
    8: "spider, scorpion",
    10: "crab, lobster, shrimp",
    14: "woodlouse",
}
LEGS = {animal: legs for legs, animals in _BY_LEGS.items() for animal in animals.split(", ")}


def chain_sum(metadata: dict[str, Any]) -> str:
    """Running total from the left: `4 - 1 - 7` gives `4-1=3` and `3-7=-4`, a line each."""
    total_text, *rest = metadata["expression"].split()
    total, lines = int(total_text), []
    for operator, term in zip(rest[::2], rest[1::2], strict=True):
        following = total + {"+": 1, "-": -1}[operator] * int(term)
        lines.append(f"{total}{operator}{term}={following}")
        total = following
    return "\n".join(lines)


def leg_counting(metadata: dict[str, Any]) -> str:
    """Legs of each kind of animal, then the running total: `3 cat: 3*4=12`, `12+6=18`."""
    legs = [(animal, count, LEGS[animal]) for animal, count in metadata["animals"].items()]
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
