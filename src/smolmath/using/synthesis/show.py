"""Yield and cost of a synthesis, for a terminal."""

from typing import Any

from rich.table import Table

from smolmath.using.synthesis.run import Summary


def summary_parts(summary: Summary) -> list[Table | str]:
    """What came of it, where it lies, and how a next phase reads it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for reason, count in summary.not_asked.items():
        table.add_row(f"rows not asked: {reason}", f"{count:,}", "")
    table.add_row("problems asked", f"{summary.problems:,}", "")
    table.add_row("with a solution", f"{summary.solved:,}", _share(summary.solved, summary.problems))
    table.add_row("completions", f"{summary.completions:,}", "")
    table.add_row("kept", f"{summary.kept:,}", _share(summary.kept, summary.completions))
    for reason, count in summary.rejected.items():
        table.add_row(f"rejected: {reason}", f"{count:,}", _share(count, summary.completions))
    table.add_row("tokens", f"{summary.tokens:,}", f"{summary.tokens_per_kept:,.1f} for each kept")
    earlier = summary.tokens - summary.generated_tokens
    if summary.tokens_per_second is not None:
        speed = f"{summary.tokens_per_second:,.0f} tokens/s"
        table.add_row("seconds", f"{summary.seconds:,.1f}", speed + (f", {earlier:,} tokens earlier" * bool(earlier)))
    else:
        table.add_row("seconds", "0", "all completions were there")
    ((key, entry),) = summary.dataset.items()
    used = f"wrote {summary.out}; to use it, under datasets in params.yaml:\n  {key}: {_flow(entry)}"
    return [table, used, *(f"note: {note}" for note in summary.notes)]


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):.1%}"


def _flow(value: Any) -> str:
    """As YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return f'"{value}"' if "*" in value or " " in value else str(value)
