"""`smolmath grade`: the grader over a file."""

from pathlib import Path
from typing import Annotated

import typer

from smolmath.commands import console
from smolmath.running.workers import available_cores
from smolmath.tags import DEFAULT_TAGS, Tags


def grade(
    file: Annotated[Path, typer.Argument(help="A .jsonl, .parquet or .csv of completions and references.")],
    out: Annotated[Path | None, typer.Option(help="Where the verdicts go; FILE.graded.jsonl if not named.")] = None,
    completion: Annotated[str | None, typer.Option(help="Column of the completions.")] = None,
    reference: Annotated[str | None, typer.Option(help="Column of the reference answers.")] = None,
    question: Annotated[
        str | None, typer.Option(help="Column of the problems' texts; a copied formula is wrong.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column that says which are right, for a confusion table.")] = None,
    finished: Annotated[str | None, typer.Option(help="Column that says which were not cut off.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = available_cores(),
    reasoning_tag: str = DEFAULT_TAGS.reasoning,
    answer_tag: str = DEFAULT_TAGS.answer,
) -> None:
    """Grade a file of completions: the predicted answer, how it was found, and whether it is right."""
    from smolmath.commands.grading import grade_file, summary_tables

    out = out or file.with_name(f"{file.name}.graded.jsonl")
    columns = {
        "completion": completion,
        "reference": reference,
        "question": question,
        "label": label,
        "finished": finished,
    }
    summary = grade_file(file, out, columns=columns, workers=workers, tags=Tags(reasoning_tag, answer_tag))
    for table in summary_tables(summary):
        console.print(table, "")
    for line in summary.unreadable[:5]:
        print(f"not graded: {line}")
    if len(summary.unreadable) > 5:
        print(f"not graded: {len(summary.unreadable) - 5} more rows")
    print(f"wrote {out}")
