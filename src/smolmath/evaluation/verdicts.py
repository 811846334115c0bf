"""Verdicts on disk: what the grader and each reward say of a completion, a row each; and what a problem's rows make.

Apart from records.py, which every stage depends on: a new column here must not train anything again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

VERDICTS = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),  # 0: greedy; 1…k: sampled
        pa.field("predicted_answer", pa.string()),
        pa.field("strategy", pa.string()),  # how the answer was found, see smolmath.answers
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("strict", pa.bool_(), nullable=False),
        pa.field("formatted", pa.bool_(), nullable=False),  # in the asked format, right or wrong
        pa.field("finished", pa.bool_(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        # Equal answers to one problem share a number; the right one is 0. null: no answer was found.
        pa.field("answer_group", pa.int32()),
    ],
    metadata={"smolmath.schema": "verdicts/2"},
)  # without the rewards, whose names differ between recipes

# What the text is like, right or wrong.
TEXT = (
    pa.field("equations", pa.int32()),  # of numbers alone: 48 / 2 = 24
    pa.field("wrong_equations", pa.int32()),
    pa.field("repeated", pa.float64()),  # share of its word 4-grams that stood there before
    pa.field("mixes_scripts", pa.bool_()),  # letters of a script that neither its question nor mathematics has
)

Row = Mapping[str, Any]


def verdicts_schema(rewards: Sequence[str]) -> pa.Schema:
    """Verdicts, what the text is like, and a nullable column `reward_<name>` per reward (null: not scorable)."""
    columns = [pa.field(f"reward_{name}", pa.float64()) for name in rewards]
    return pa.schema([*VERDICTS, *TEXT, *columns], metadata=VERDICTS.metadata)


def by_problem(verdicts: Iterable[Row]) -> tuple[dict[str, Row], dict[str, list[Row]]]:
    """(problem id -> its greedy verdict, problem id -> its sampled verdicts), both in the order of the ids."""
    greedy: dict[str, Row] = {}
    sampled: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(verdicts, key=lambda row: (row["problem_id"], row["sample"])):
        if row["sample"] == 0:
            greedy[row["problem_id"]] = row
        else:
            sampled[row["problem_id"]].append(row)
    return greedy, dict(sampled)


def share_right(samples: Sequence[Row]) -> float:
    """mean@k of one problem: the share of its samples that are right."""
    return float(sum(row["correct"] for row in samples) / len(samples))


def majority_right(samples: Sequence[Row]) -> float:
    """maj@k of one problem: 1 if the most frequent answer among its samples is right, a share where several tie.

    A sample without an answer has no vote. Of a tie one answer is drawn, so its worth is the chance that it is right.
    Source: self-consistency, Wang et al. 2022, arXiv:2203.11171.
    """
    votes = _votes(samples)
    if not votes:
        return 0.0
    most = max(votes.values())
    tied = [group for group, count in votes.items() if count == most]
    return (0 in tied) / len(tied)


def majority_share(samples: Sequence[Row]) -> float:
    """The share of one problem's samples that give its most frequent answer: how sure the model seems to be."""
    return max(_votes(samples).values(), default=0) / len(samples)


def _votes(samples: Sequence[Row]) -> Counter[int]:
    return Counter(row["answer_group"] for row in samples if row["answer_group"] is not None)
