"""A few completions of each model and dataset, right and wrong, cut into reasoning, answer and the rest."""

import heapq
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from smolmath.records import COMPLETIONS, PROBLEMS, VERDICTS_BASE, read_batches
from smolmath.tags import Tags

SHOWN = 2  # right ones, and as many wrong ones
VERDICTS = pa.schema(VERDICTS_BASE)  # without the rewards, whose names differ between recipes


@dataclass(frozen=True)
class Part:
    """A stretch of a completion, as it was written. The parts of a completion joined are the completion."""

    kind: str  # reasoning, answer, tag or rest
    text: str


@dataclass(frozen=True)
class Example:
    """One greedy completion with its verdict."""

    problem_id: str
    question: str
    reference_answer: str
    predicted_answer: str | None
    strategy: str | None  # how the answer was found, see smolmath.answers
    correct: bool
    finished: bool
    tokens: int
    parts: list[Part]


@dataclass(frozen=True)
class Examples:
    model: str
    dataset: str
    examples: list[Example]  # right ones first
    problem: str  # what is missing and which command makes it, else empty


def read_examples(model: str, dataset: str, tags: Tags) -> Examples:
    """The first right and the first wrong greedy completions, by problem id.

    Raises: RecordsError if a table is there but cannot be read.
    """
    verdicts_path = Path("results/verdicts", model, f"{dataset}.parquet")
    completions_path = Path("results/completions", model, f"{dataset}.parquet")
    problems_path = Path("data/split", dataset, "test.parquet")
    for path in (verdicts_path, completions_path, problems_path):
        if not path.is_file():
            problem = f"{path} is not here: run dvc repro, or dvc pull where a remote has it."
            return Examples(model, dataset, [], problem)
    verdicts = _first_verdicts(verdicts_path)
    ids = {row["problem_id"] for row in verdicts}
    completions = _rows_with(completions_path, COMPLETIONS, "problem_id", ids)
    problems = _rows_with(problems_path, PROBLEMS, "id", ids)
    if ids - completions.keys() or ids - problems.keys():
        problem = f"{verdicts_path} judges problems that {completions_path} or {problems_path} lacks: run dvc repro."
        return Examples(model, dataset, [], problem)
    return Examples(
        model,
        dataset,
        [_example(row, completions[row["problem_id"]], problems[row["problem_id"]], tags) for row in verdicts],
        "",
    )


def cut(completion: str, tags: Tags) -> list[Part]:
    """The completion's parts, tags apart; a tag that is not closed reaches to the end.

    cut("<answer>7</answer>", DEFAULT_TAGS) -> tag "<answer>", answer "7", tag "</answer>"
    """
    parts: list[Part] = []
    end = 0
    names = "|".join(re.escape(name) for name in (tags.reasoning, tags.answer))
    for found in re.finditer(rf"(<({names})>)(.*?)(</\2>|\Z)", completion, flags=re.DOTALL):
        kind = "reasoning" if found[2] == tags.reasoning else "answer"
        parts += [Part("rest", completion[end : found.start()]), Part("tag", found[1]), Part(kind, found[3])]
        parts.append(Part("tag", found[4]))
        end = found.end()
    parts.append(Part("rest", completion[end:]))
    return [part for part in parts if part.text]


def _first_verdicts(path: Path) -> list[dict[str, Any]]:
    """The greedy verdicts to show; only they are held, however long the table is."""
    shown: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for batch in read_batches(path, VERDICTS):
        for correct in shown:
            found = [row for row in batch.to_pylist() if row["sample"] == 0 and row["correct"] == correct]
            shown[correct] = heapq.nsmallest(SHOWN, shown[correct] + found, key=lambda row: row["problem_id"])
    return shown[True] + shown[False]


def _rows_with(path: Path, schema: pa.Schema, key: str, ids: set[str]) -> dict[str, dict[str, Any]]:
    """id -> its row; of completions the greedy one."""
    return {
        row[key]: row
        for batch in read_batches(path, schema)
        for row in batch.to_pylist()
        if row[key] in ids and row.get("sample", 0) == 0
    }


def _example(verdict: dict[str, Any], completion: dict[str, Any], problem: dict[str, Any], tags: Tags) -> Example:
    return Example(
        problem_id=verdict["problem_id"],
        question=problem["question"],
        reference_answer=problem["reference_answer"],
        predicted_answer=verdict["predicted_answer"],
        strategy=verdict["strategy"],
        correct=verdict["correct"],
        finished=verdict["finished"],
        tokens=verdict["tokens"],
        parts=cut(completion["completion"], tags),
    )
