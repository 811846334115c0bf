"""Verdicts: what the grader and each reward say of every completion."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from smolmath.answers import expect, grade
from smolmath.errors import StageError
from smolmath.evaluation.arithmetic import equations
from smolmath.evaluation.repetition import repeated
from smolmath.evaluation.voting import AnswerGroups
from smolmath.rewards.grpo.rewards import reward_functions
from smolmath.running.progress import progress
from smolmath.running.workers import ordered_map
from smolmath.scripts import mixes_scripts
from smolmath.tags import Tags

# Shown beside the verdict whatever a phase was trained on; cheap, and the same for every model.
EVALUATED_REWARDS = ("correctness", "integer", "strict_format", "soft_format", "xml_count", "reasoning_steps")
CHUNK = 256  # completions that a worker takes at a time, or more where one problem has more
WORTH_WORKERS = 5_000  # completions below which starting processes takes longer than the work

Graded = tuple[Mapping[str, Any], Mapping[str, Any]]  # a completion and its problem


def grade_completions(
    completions: Sequence[Mapping[str, Any]], problems: Sequence[Mapping[str, Any]], tags: Tags, *, workers: int = 1
) -> list[dict[str, Any]]:
    """A verdict row per completion, in the completions' order.

    Args: workers: processes, each with a judge of its own; few completions are graded in this one.
    Raises: StageError if a completion's problem is not among `problems`.
    """
    by_id = {problem["id"]: problem for problem in problems}
    if unknown := [row["problem_id"] for row in completions if row["problem_id"] not in by_id]:
        raise StageError(
            f"{len(unknown)} completions answer problems that the test side doesn't hold, e.g. {unknown[0]}"
        )
    chunks = _chunks(completions)
    items = ([(completions[i], by_id[completions[i]["problem_id"]]) for i in chunk] for chunk in chunks)
    workers = workers if len(completions) >= WORTH_WORKERS else 1
    verdicts: dict[int, dict[str, Any]] = {}
    graded = ordered_map(partial(_grade_chunk, tags=tags), items, workers=workers)
    with progress("grade", len(completions), "completions") as advance:
        for chunk, rows in zip(chunks, graded, strict=True):
            verdicts.update(zip(chunk, rows, strict=True))
            advance(len(chunk))
    return [verdicts[i] for i in range(len(completions))]


def _chunks(completions: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Row numbers of whole problems, some `CHUNK` together: a problem's answers are numbered in one go."""
    of_problem: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(completions):
        of_problem[row["problem_id"]].append(number)
    chunks: list[list[int]] = []
    for numbers in of_problem.values():
        if not chunks or len(chunks[-1]) >= CHUNK:
            chunks.append([])
        chunks[-1] += numbers
    return chunks


def _grade_chunk(graded: Sequence[Graded], tags: Tags) -> list[dict[str, Any]]:
    """The verdict rows of whole problems."""
    columns: dict[str, list[Any]] = {
        "prompts": [row["prompt"] for row, _ in graded],
        "completions": [row["completion"] for row, _ in graded],
        "question": [problem["question"] for _, problem in graded],
        "reference_answer": [problem["reference_answer"] for _, problem in graded],
        "reasoning": [problem["reasoning"] for _, problem in graded],
        "finished": [row["finish_reason"] == "stop" for row, _ in graded],
    }
    expect(columns["reference_answer"])
    rewards = zip(EVALUATED_REWARDS, reward_functions(list(EVALUATED_REWARDS), tags), strict=True)
    scores = {name: reward(**columns) for name, reward in rewards}
    answers = AnswerGroups()
    verdicts = []
    for index, (row, problem) in enumerate(graded):
        finished = columns["finished"][index]
        verdict = grade(
            row["completion"], problem["reference_answer"], question=problem["question"], finished=finished, tags=tags
        )
        steps = equations(row["completion"])
        verdicts.append(
            {
                "problem_id": row["problem_id"],
                "sample": row["sample"],
                "predicted_answer": verdict.extracted,
                "answer_group": answers.number(row["problem_id"], verdict.extracted, correct=verdict.correct),
                "strategy": verdict.strategy,
                "correct": verdict.correct,
                "strict": verdict.strict,
                "formatted": scores["strict_format"][index] == 1.0,
                "finished": finished,
                "tokens": row["tokens"],
                "equations": len(steps),
                "wrong_equations": steps.count(False),
                "repeated": repeated(row["completion"]),
                "mixes_scripts": mixes_scripts(row["completion"], problem["question"]),
                **{f"reward_{name}": values[index] for name, values in scores.items()},
            }
        )
    return verdicts
