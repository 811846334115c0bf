"""A comparison on the terminal and as JSON, and how many problems it takes to see a difference."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from smolmath.evaluation.uncertainty import problems_needed
from smolmath.studies.comparing.compare import MEASURES, Comparison, Difference, Flip, Flips
from smolmath.studies.wording import p_text, signed

# What a model wrote may hold escape sequences, which a terminal would obey.
UNSEEN = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
LINE = "{:<14}{:>6}{:>7}{:>14}{:>16}{:>13}{:>10}"
DISAGREEMENTS = (0.05, 0.1, 0.2, 0.3, 0.4)  # shares of problems on which two models of one family disagree, as seen


def lines(comparison: Comparison) -> list[Text]:
    """What to print: the differences, a verdict for each, what is the same, warnings. Fits 80 columns."""
    parts: list[Text] = []
    if comparison.rows:
        parts.append(Text(f"A: {comparison.a}   B: {comparison.b}\n"))
        parts.append(Text(LINE.format("", "A", "B", "B − A", "95 %", "better/worse", "p"), style="dim"))
        for what, found in itertools.groupby(comparison.rows, key=_what):
            parts.append(Text(what, style="bold"))
            parts += [Text(LINE.format(*_cells(difference))) for difference in found]
        parts.append(Text(""))
        for difference in comparison.rows:
            style = {True: "green", False: "red", None: ""}[_direction(difference)]
            parts.append(Text(f"{_what(difference)}: {difference.verdict}", style=style))
    for model, dataset in comparison.same:
        parts.append(Text(f"{model} on {dataset}: every verdict is the same.", style="dim"))
    return [*parts, *(Text(f"warning: {warning}", style="yellow") for warning in comparison.warnings)]


def flip_texts(found: Flips, shown: Iterable[Flip], a: str, b: str) -> list[Any]:
    """Problems that changed sides, both completions in full. `a` and `b` are what the two are called."""
    what, lost = f"{_pair(found.model_a, found.model_b)} on {found.dataset}", len(found.flips) - found.gained
    head = f"\n{what}: {lost} right in {a} only, {found.gained} right in {b} only"
    parts: list[Any] = [Text(head, style="bold")]
    for flip in shown:
        parts.append(Text(f"\n{flip.problem_id}: right in {b if flip.gained else a} only", style="bold"))
        parts.append(Text(f"{flip.question}\nreference answer: {flip.reference_answer}".translate(UNSEEN)))
        for name, answer, completion in ((a, flip.answer_a, flip.completion_a), (b, flip.answer_b, flip.completion_b)):
            parts.append(Text(f"{name} answers {answer or 'nothing'}:".translate(UNSEEN), style="cyan"))
            parts.append(Padding(Text((completion or "").translate(UNSEEN)), (0, 0, 0, 2)))
    return parts


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Plain values for json.dump: shares in 0…1."""
    return {
        "a": comparison.a,
        "b": comparison.b,
        "averages": [
            {**_as_json(average), "parts": {name: paired.difference.value for name, paired in average.parts.items()}}
            for average in comparison.averages
        ],
        "differences": [_as_json(difference) for difference in comparison.differences],
        "same": [{"model": model, "dataset": dataset} for model, dataset in comparison.same],
        "flips": [
            {"model_a": found.model_a, "model_b": found.model_b, "dataset": found.dataset, **asdict(flip)}
            for found in comparison.flips
            for flip in found.flips
        ],
        "warnings": comparison.warnings,
    }


def _as_json(difference: Difference) -> dict[str, Any]:
    return {
        "model_a": difference.model_a,
        "model_b": difference.model_b,
        "dataset": difference.dataset,
        "verdict": difference.verdict,
        "p_corrected": difference.p_corrected,
        **_flat(asdict(difference.paired)),
    }


def as_markdown(comparison: Comparison) -> str:
    """A table for a pull request or a job's summary."""
    lines = [f"**{_plain(comparison.b)}** against **{_plain(comparison.a)}**", ""]
    if comparison.rows:
        lines += ["| | by | A | B | B − A | 95 % | better / worse | p | |", "|---|---|---|---|---|---|---|---|---|"]
        mark = {True: "🟢 better", False: "🔴 worse", None: "no clear difference"}
        lines += [
            f"| {_plain(_what(d))} | {' | '.join(cell.strip() for cell in _cells(d))} | {mark[_direction(d)]} |"
            for d in comparison.rows
        ]
        lines.append("")
    if comparison.same:
        words = ", ".join(f"{_plain(model)} on {_plain(dataset)}" for model, dataset in comparison.same)
        lines.append(f"Every verdict is the same: {words}.")
    return "\n".join([*lines, *(f"Warning: {_plain(warning)}" for warning in comparison.warnings)])


def _plain(text: str) -> str:
    """Names come from branches and params: nothing in them may become markup or end a cell."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~" else c for c in text.replace("\n", " "))


def power_table(points: float, disagreements: Sequence[tuple[str, float]]) -> Table:
    """How many problems show a difference of `points` in four of five evaluations, by how often the two disagree.

    Args: disagreements: (what it is called, share of problems on which exactly one of the two is right).
    """
    table = Table("where one of two is right", "problems", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, disagreement in disagreements:
        possible = points / 100 <= disagreement
        table.add_row(name, f"{problems_needed(points / 100, disagreement):,}" if possible else "cannot be")
    return table


def assumed() -> list[tuple[str, float]]:
    return [(f"on {100 * share:.0f} % of problems", share) for share in DISAGREEMENTS]


def observed(comparison: Comparison) -> list[tuple[str, float]]:
    """How often the two compared models disagree in their greedy completions."""
    return [
        (f"{_what(d)}: on {100 * share:.1f} % of {d.paired.n:,} problems", share)
        for d in comparison.differences
        if d.paired.measure == "accuracy"
        for share in [(d.paired.gained + d.paired.lost) / d.paired.n]
    ]


def _cells(difference: Difference) -> tuple[str, ...]:
    paired = difference.paired
    found = paired.difference
    return (
        "  " + MEASURES[paired.measure] + (f" × {paired.k}" if paired.measure == "mean_at_k" else ""),
        f"{100 * paired.before:.1f}",
        f"{100 * paired.after:.1f}",
        f"{signed(100 * found.value)} ± {100 * found.se:.1f}",
        f"{signed(100 * found.low)} to {signed(100 * found.high)}",
        f"{paired.gained} / {paired.lost}",
        p_text(difference.p_corrected, paired.p).removeprefix("p = ").removeprefix("p "),
    )


def _what(difference: Difference) -> str:
    return f"{_pair(difference.model_a, difference.model_b)} on {difference.dataset}"


def _pair(a: str, b: str) -> str:
    return b if a == b else f"{a} → {b}"


def _direction(difference: Difference) -> bool | None:
    """Whether B is clearly better (True) or worse (False); None where it isn't clear."""
    return difference.paired.difference.value > 0 if difference.clear else None


def _flat(paired: dict[str, Any]) -> dict[str, Any]:
    found = paired.pop("difference")
    return {**paired, "difference": found["value"], **{f"difference_{k}": v for k, v in found.items() if k != "value"}}
