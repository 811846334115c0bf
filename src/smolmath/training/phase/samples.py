"""Completions of a training with their grades, every few steps: what the model really writes while a reward rises.

Kept in the state directory step by step, joined into results/training/<phase>.parquet when the phase ends.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.answers import grade
from smolmath.engines import Completion
from smolmath.records import write_table
from smolmath.tags import Tags
from smolmath.training.phase.ranks import is_first

Kind = Literal["train", "validation"]
Rows = list[dict[str, Any]]
_BASE = [
    pa.field("step", pa.int32(), nullable=False),  # optimiser steps done when it was written
    pa.field("kind", pa.string(), nullable=False),  # train (sampled, what was learnt from) or validation (greedy)
    pa.field("question", pa.string(), nullable=False),
    pa.field("reference_answer", pa.string(), nullable=False),
    pa.field("completion", pa.string(), nullable=False),
    pa.field("finished", pa.bool_(), nullable=False),
    pa.field("tokens", pa.int32(), nullable=False),
    pa.field("predicted_answer", pa.string()),
    pa.field("correct", pa.bool_(), nullable=False),
    pa.field("reward", pa.float64()),  # weighted sum; null: no rewards, or none that could score it
]


class Scored(NamedTuple):
    """A completion's rewards: the weighted sum and each by its name; None where it could not be scored."""

    total: float | None
    parts: dict[str, float | None]


Scorer = Callable[[Sequence[Mapping[str, Any]], Sequence[Completion]], list[Scored]]  # problems, a completion of each


class Samples:
    """The sampled completions of one phase."""

    def __init__(
        self, folder: Path, rewards: Sequence[str], tags: Tags, show: Callable[[Kind, int, Rows], None] | None = None
    ) -> None:
        """Args: rewards: the names of the phase's, which become columns. show: called with the rows of each step."""
        self.folder, self.tags, self.show = folder, tags, show
        columns = [pa.field(f"reward_{name}", pa.float64()) for name in rewards]
        self.schema = pa.schema([*_BASE, *columns], metadata={"smolmath.schema": "samples/1"})

    def rows(
        self,
        kind: Kind,
        step: int,
        problems: Sequence[Mapping[str, Any]],
        completions: Sequence[Completion],
        score: Scorer | None,
    ) -> list[dict[str, Any]]:
        """A row for each completion; `problems` as long as they, with question and reference_answer."""
        scored = score(problems, completions) if score else [Scored(None, {})] * len(completions)
        rows = []
        for problem, completion, rewards in zip(problems, completions, scored, strict=True):
            finished = completion.finish_reason == "stop"
            verdict = grade(
                completion.text,
                problem["reference_answer"],
                question=problem["question"],
                finished=finished,
                tags=self.tags,
            )
            rows.append(
                {
                    "step": step,
                    "kind": kind,
                    "question": problem["question"],
                    "reference_answer": problem["reference_answer"],
                    "completion": completion.text,
                    "finished": finished,
                    "tokens": completion.tokens,
                    "predicted_answer": verdict.extracted,
                    "correct": verdict.correct,
                    "reward": rewards.total,
                    **{f"reward_{name}": value for name, value in rewards.parts.items()},
                }
            )
        return rows

    def keep(self, kind: Kind, step: int, rows: list[dict[str, Any]]) -> None:
        """Write the rows of one step, which every process has; a resumed run that passes it writes them again."""
        if not is_first():
            return
        write_table(self.folder / f"{step:08d}-{kind}.parquet", rows, self.schema)
        if self.show:
            self.show(kind, step, rows)

    def join(self, out: Path, last_step: int) -> None:
        """One table of every step up to `last_step`."""
        files = [path for path in sorted(self.folder.glob("*.parquet")) if int(path.name[:8]) <= last_step]
        tables = [pq.read_table(path, schema=self.schema) for path in files]
        write_table(out, pa.concat_tables([self.schema.empty_table(), *tables]).to_pylist(), self.schema)


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Sampled completions for reading on a terminal."""
    parts = []
    for row in rows:
        reward = "" if row["reward"] is None else f", reward {row['reward']:.2f}"
        parts.append(
            f"--- step {row['step']}, {row['kind']}: {'right' if row['correct'] else 'wrong'}{reward}"
            f"{'' if row['finished'] else ', cut off'}\n"
            f"{row['question']}\n"
            f">>> {row['completion']}\n"
            f"<<< predicted {row['predicted_answer']!r}, reference {row['reference_answer']!r}"
        )
    return "\n".join(parts)
