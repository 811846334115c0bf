"""Verdicts: what the grader and each reward say of every completion."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from smolmath.answers import answers_match, grade
from smolmath.answers.normalise import normalise
from smolmath.grpo.rewards import reward_functions
from smolmath.progress import progress
from smolmath.runs import StageError
from smolmath.tags import Tags

# Shown beside the verdict whatever a phase was trained on; cheap, and the same for every model.
EVALUATED_REWARDS = ("correctness", "integer", "strict_format", "soft_format", "xml_count", "reasoning_steps")
BATCH = 256


def grade_completions(
    completions: Sequence[Mapping[str, Any]], problems: Sequence[Mapping[str, Any]], tags: Tags
) -> list[dict[str, Any]]:
    """A verdict row per completion, in the completions' order.

    Raises: StageError if a completion's problem is not among `problems`.
    """
    by_id = {problem["id"]: problem for problem in problems}
    if unknown := [row["problem_id"] for row in completions if row["problem_id"] not in by_id]:
        raise StageError(
            f"{len(unknown)} completions answer problems that the test side doesn't hold, e.g. {unknown[0]}"
        )
    rewards = reward_functions(list(EVALUATED_REWARDS), tags)
    verdicts = []
    with progress("grade", len(completions), "completions") as advance:
        for start in range(0, len(completions), BATCH):
            batch = completions[start : start + BATCH]
            columns = {
                "prompts": [row["prompt"] for row in batch],
                "completions": [row["completion"] for row in batch],
                "reference_answer": [by_id[row["problem_id"]]["reference_answer"] for row in batch],
                "reasoning": [by_id[row["problem_id"]]["reasoning"] for row in batch],
                "finished": [row["finish_reason"] == "stop" for row in batch],
            }
            scores = {name: reward(**columns) for name, reward in zip(EVALUATED_REWARDS, rewards, strict=True)}
            for index, row in enumerate(batch):
                finished = columns["finished"][index]
                verdict = grade(row["completion"], columns["reference_answer"][index], finished=finished, tags=tags)
                verdicts.append(
                    {
                        "problem_id": row["problem_id"],
                        "sample": row["sample"],
                        "predicted_answer": verdict.extracted,
                        "strategy": verdict.strategy,
                        "correct": verdict.correct,
                        "strict": verdict.strict,
                        "formatted": scores["strict_format"][index] == 1.0,
                        "finished": finished,
                        "tokens": row["tokens"],
                        **{f"reward_{name}": values[index] for name, values in scores.items()},
                    }
                )
            advance(len(batch))
    _number_answers(verdicts)
    return verdicts


def _number_answers(verdicts: Sequence[dict[str, Any]]) -> None:
    """Set `answer_group`: 0 for the right answer, 1 and on for each other answer to a problem, None for no answer.

    A majority is of equal answers, not of equal texts: 1/2 and 0.5 vote together.
    """
    groups: dict[str, list[str]] = defaultdict(list)  # problem -> one spelling of each of its wrong answers
    known: dict[tuple[str, str], int] = {}
    for row in verdicts:
        answer, problem = row["predicted_answer"], row["problem_id"]
        if row["correct"] or answer is None:
            row["answer_group"] = 0 if row["correct"] else None
            continue
        spelling = normalise(answer)
        if (problem, spelling) not in known:
            found = (i for i, other in enumerate(groups[problem], start=1) if answers_match(answer, other))
            known[problem, spelling] = next(found, len(groups[problem]) + 1)
            if known[problem, spelling] > len(groups[problem]):
                groups[problem].append(answer)
        row["answer_group"] = known[problem, spelling]
