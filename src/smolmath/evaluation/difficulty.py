"""How hard each train problem is for a model: the share of its sampled completions that are right.

Groups whose completions are all right or all wrong teach GRPO nothing; leaving such problems out beforehand has
dynamic sampling's effect without touching the trainer. Rated are train problems only, and none changes its side.
Source: dynamic sampling, DAPO, arXiv:2503.14476, section 3.2.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from smolmath.answers import grade
from smolmath.records import COMPLETIONS, read_table
from smolmath.running.workers import ordered_map
from smolmath.tags import Tags

BAR_WIDTH = 40
WORTH_WORKERS = 5_000  # completions below which starting processes takes longer than grading them


def pass_rates(
    batches: Sequence[Path], problems: Sequence[Mapping[str, Any]], tags: Tags, *, workers: int = 1
) -> list[dict[str, Any]]:
    """A row of `PASS_RATES` per problem that was answered, sorted by id.

    Args:
        batches: files of completions.
        problems: with their questions and reference answers.
        workers: processes that grade a file each, with a judge of its own; few completions are graded in this one.
    """
    asked = {problem["id"]: (problem["question"], problem["reference_answer"]) for problem in problems}
    samples: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    workers = workers if sum(pq.read_metadata(path).num_rows for path in batches) >= WORTH_WORKERS else 1
    for rated in ordered_map(partial(_rate, asked=asked, tags=tags), batches, workers=workers):
        for problem, finished, right in rated:
            samples[problem] += 1
            cut[problem] += not finished
            correct[problem] += right
    return [{"problem_id": p, "samples": samples[p], "correct": correct[p], "cut": cut[p]} for p in sorted(samples)]


def _rate(batch: Path, asked: Mapping[str, tuple[str, str]], tags: Tags) -> list[tuple[str, bool, bool]]:
    """(problem, finished, right) of each completion."""
    rated = []
    for row in read_table(batch, COMPLETIONS):
        problem, finished = row["problem_id"], row["finish_reason"] == "stop"
        question, reference = asked[problem]
        verdict = grade(row["completion"], reference, question=question, finished=finished, tags=tags)
        rated.append((problem, finished, verdict.correct))
    return rated


def histogram(rates: Sequence[Mapping[str, Any]]) -> str:
    """How many problems have which pass rate, a bar for each tenth; none right and all right stand alone."""
    bins = ["none", *(f"{i / 10:.1f}–{(i + 1) / 10:.1f}" for i in range(10)), "all"]
    counts = Counter(_bin(row["correct"], row["samples"]) for row in rates)
    most = max(counts.values(), default=1)
    bars = (
        f"  {name:>7}  {counts[i]:>7,}  {'█' * round(BAR_WIDTH * counts[i] / most)}" for i, name in enumerate(bins)
    )
    drawn = max(1, sum(row["samples"] for row in rates))
    mean, cut = (sum(row[column] for row in rates) / drawn for column in ("correct", "cut"))
    head = f"{len(rates):,} problems, mean pass rate {mean:.1%}, {cut:.1%} of the completions cut off; by share right:"
    return "\n".join([head, *(bar.rstrip() for bar in bars)])


def _bin(correct: int, samples: int) -> int:
    """0: none right, 11: all right, 1 to 10: the tenth between."""
    return 0 if correct == 0 else 11 if correct == samples else 1 + 10 * correct // samples
