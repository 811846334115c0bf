"""`smolmath grade`: the grader over a file of completions, in parallel, and what it says in sum.

Rows keep their order and their columns; the verdict is written beside them. With labels (was it right?) there is a
confusion table, which is how a change of the grader is judged.
"""

import json
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rich.table import Table

from smolmath.answers import Grade, Tags, grade
from smolmath.data.tables import column_names, count_rows, read_rows
from smolmath.errors import SmolmathError
from smolmath.running.progress import progress
from smolmath.running.workers import ordered_map

CHUNK = 200  # rows that a worker takes at a time
NAMES = {  # of a column, in the order in which they are looked for
    "completion": ("completion", "response", "output", "generation", "text"),
    "reference": ("reference_answer", "reference", "answer", "gold", "target", "solution"),
    "question": ("question", "problem", "prompt", "instruction"),
    "label": ("label", "correct", "is_correct"),
    "finished": ("finished",),
}
_TRUE, _FALSE = {"true", "1", "yes", "right"}, {"false", "0", "no", "wrong"}


Item = tuple[str, str, str | None, bool]  # completion, reference, question, finished


class GradingError(SmolmathError):
    """A file that cannot be graded as asked."""


@dataclass
class Summary:
    """What the verdicts come to."""

    rows: int = 0
    correct: int = 0
    strict: int = 0
    unverifiable: int = 0  # references that the grader cannot compare
    unreadable: list[str] = field(default_factory=list)  # "row 17: why"
    strategies: Counter[str] = field(default_factory=Counter)
    confusion: Counter[tuple[bool, bool]] = field(default_factory=Counter)  # (labelled right, graded right)
    without_verdict: Counter[str] = field(default_factory=Counter)  # questions that the judge did not decide, by why

    @property
    def agreement(self) -> float:
        """Share of the labelled rows on which label and grade agree."""
        return (self.confusion[True, True] + self.confusion[False, False]) / max(1, self.confusion.total())


def grade_file(
    path: Path,
    out: Path,
    *,
    columns: dict[str, str | None],
    workers: int,
    tags: Tags,
) -> Summary:
    """Grade every row of a file and write it to `out` with `predicted_answer`, `strategy`, `correct` and `strict`.

    Args:
        path: .parquet, .jsonl or .csv, plain or gzipped.
        out: .jsonl; written under a temporary name and renamed when whole.
        columns: names of the columns completion, reference, question, label and finished; None: found by the names
            in NAMES.
        workers: processes, each with a judge of its own; 1 grades in this one.
        tags: tag names of the response format.

    Raises: GradingError if a column is missing, or the verdicts would replace what is graded; TableError if the file
        is unreadable.
    """
    named = _find_columns(path, columns)
    summary = Summary()
    partial = out.with_name(out.name + ".partial")
    if any(one.exists() and one.samefile(path) for one in (out, partial)):
        raise GradingError(f"{out} would replace the file that is graded. Name another with --out.")
    partial.parent.mkdir(parents=True, exist_ok=True)
    chunks = _chunks(path, named, summary)
    with (
        progress("grade", count_rows(path), "completions") as advance,
        partial.open("w", encoding="utf-8") as lines,
        closing(_graded(chunks, workers, tags)) as graded,
    ):
        for rows, grades, undecided in graded:
            summary.without_verdict += undecided
            for row, verdict in zip(rows, grades, strict=True):
                _count(summary, verdict, row[named["label"]] if named["label"] else None)
                lines.write(json.dumps(_row(row, verdict), default=str) + "\n")
            advance(len(rows))
    partial.rename(out)
    return summary


def _find_columns(path: Path, asked: dict[str, str | None]) -> dict[str, str | None]:
    present = column_names(path)
    found: dict[str, str | None] = {}
    for role, names in NAMES.items():
        if (wanted := asked.get(role)) is not None:
            if wanted not in present:
                raise GradingError(f"{path} has no column {wanted!r}. It has: {', '.join(present)}.")
            found[role] = wanted
        else:
            found[role] = next((name for name in names if name in present and name not in found.values()), None)
    # The first row of a jsonl file need not have every key, and most completions are finished.
    found["finished"] = found["finished"] or "finished"
    for role in ("completion", "reference"):
        if found[role] is None:
            raise GradingError(
                f"{path} has no column for the {role} ({', '.join(NAMES[role])}). It has: {', '.join(present)}. "
                f"Name it with --{role} COLUMN."
            )
    return found


def _chunks(
    path: Path, named: dict[str, str | None], summary: Summary
) -> Iterator[tuple[list[dict[str, Any]], list[Item]]]:
    """Rows of the file and what is to be graded of each; rows that can't be read are noted in the summary."""
    readable = _readable(path, named, summary)
    while chunk := list(islice(readable, CHUNK)):
        yield [row for row, _ in chunk], [item for _, item in chunk]


def _readable(path: Path, named: dict[str, str | None], summary: Summary) -> Iterator[tuple[dict[str, Any], Item]]:
    for number, row, problem in read_rows(path, None):
        if row is not None:
            completion, reference = row.get(str(named["completion"])), row.get(str(named["reference"]))
            if isinstance(completion, list):  # chat messages
                completion = "".join(str(m.get("content", "")) for m in completion if isinstance(m, dict))
            if not isinstance(completion, str):
                problem = f"{named['completion']} is {'missing' if completion is None else 'no text'}"
            elif isinstance(reference, bool) or not isinstance(reference, str | int | float):
                problem = f"{named['reference']} is {'missing' if reference is None else 'no text or number'}"
            elif named["label"] and _label(row.get(named["label"])) is None:
                problem = f"{named['label']} is {row.get(named['label'])!r}, neither true nor false"
            else:
                finished = _label(row.get(str(named["finished"]))) is not False
                question = row.get(named["question"]) if named["question"] else None
                yield row, (completion, str(reference), question if isinstance(question, str) else None, finished)
                continue
        summary.unreadable.append(f"row {number + 1}: {problem}")


def _label(value: object) -> bool | None:
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _graded(
    chunks: Iterator[tuple[list[dict[str, Any]], list[Item]]], workers: int, tags: Tags
) -> Generator[tuple[list[dict[str, Any]], list[Grade], Counter[str]]]:
    waiting: deque[list[dict[str, Any]]] = deque()

    def items() -> Iterator[list[Item]]:
        for rows, chunk in chunks:
            waiting.append(rows)  # the rows stay here: workers need only what is graded
            yield chunk

    for grades, undecided in ordered_map(partial(grade_chunk, tags=tags), items(), workers=workers):
        yield waiting.popleft(), grades, undecided


def grade_chunk(items: Sequence[Item], tags: Tags) -> tuple[list[Grade], Counter[str]]:
    """The grades, and how many of the judge's questions went undecided, by why."""
    from smolmath.answers.judge import JUDGE

    before = JUDGE.counts.copy()
    grades = [
        grade(completion, reference, question=question, finished=done, tags=tags)
        for completion, reference, question, done in items
    ]
    undecided = JUDGE.counts - before
    del undecided["questions"]
    return grades, undecided


def _count(summary: Summary, verdict: Grade, label: object) -> None:
    summary.rows += 1
    summary.correct += verdict.correct
    summary.strict += verdict.strict
    summary.unverifiable += not verdict.verifiable
    summary.strategies[verdict.strategy or "none"] += 1
    labelled = _label(label) if label is not None else None
    if labelled is not None:
        summary.confusion[labelled, verdict.correct] += 1


def _row(row: dict[str, Any], verdict: Grade) -> dict[str, Any]:
    return row | {
        "predicted_answer": verdict.extracted,
        "strategy": verdict.strategy,
        "graded_correct": verdict.correct,
        "graded_strict": verdict.strict,
        "verifiable": verdict.verifiable,
    }


def summary_tables(summary: Summary) -> list[Table]:
    """The summary for a terminal: the shares, the strategies, and with labels the confusion table."""
    shares = Table(box=None, show_header=False)
    shares.add_row("completions", f"{summary.rows:,}", "")
    for name, count in (
        ("correct", summary.correct),
        ("in the asked format too", summary.strict),
        ("reference not gradable", summary.unverifiable),
        ("rows not graded", len(summary.unreadable)),
    ):
        shares.add_row(name, f"{count:,}", f"{count / max(1, summary.rows):.1%}")
    for why, count in summary.without_verdict.items():
        shares.add_row(f"judge without verdict: {why}", f"{count:,}", "counted as wrong")
    strategies = Table("answer found by", "completions", box=None)
    for name, count in summary.strategies.most_common():
        strategies.add_row(name, f"{count:,}")
    tables = [shares, strategies]
    if summary.confusion:
        confusion = Table("", "graded right", "graded wrong", box=None, caption=f"agreement {summary.agreement:.2%}")
        for labelled, name in ((True, "labelled right"), (False, "labelled wrong")):
            confusion.add_row(name, *(f"{summary.confusion[labelled, graded]:,}" for graded in (True, False)))
        tables.append(confusion)
    for table in tables:
        for column in table.columns[1:]:
            column.justify = "right"
    return tables
