"""Source `reasoning_gym`: problems that a task of reasoning-gym generates; row i depends on seed + i alone."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from smolmath.params.core import listing, nearest
from smolmath.params.datasets import ReasoningGymDataset
from smolmath.progress import progress
from smolmath.runs import StageError

with warnings.catch_warnings():  # one of its own dependencies compares a literal with `is`
    warnings.simplefilter("ignore", SyntaxWarning)
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

# Tasks with reference answers that are seen to be wrong; nothing graded may come from them.
WRONG_ANSWERS = {
    "simple_geometry": "it asks for polygons that cannot be convex",
    "polynomial_equations": "it misses real roots of cubics",
}


def fetch(params: ReasoningGymDataset, out: Path) -> dict[str, Any]:
    """Write rows.jsonl, one generated row a line. Raises: StageError for an unknown task or option."""
    if params.task not in DATASETS:
        raise StageError(f"reasoning_gym has no task {params.task!r}.{nearest(params.task, DATASETS)}")
    if params.task in WRONG_ANSWERS:
        raise StageError(
            f"reasoning_gym's task {params.task!r} has wrong reference answers: {WRONG_ANSWERS[params.task]}. "
            "Choose another task."
        )
    try:
        rows = reasoning_gym.create_dataset(params.task, seed=params.seed, size=params.rows, **params.options)
    except (TypeError, AssertionError) as error:
        known = [
            field.name for field in dataclasses.fields(DATASETS[params.task][1]) if field.name not in ("seed", "size")
        ]
        raise StageError(f"reasoning_gym task {params.task!r}: {error}. Its options: {listing(known)}.") from None
    with (
        (out / "rows.jsonl").open("w", encoding="utf-8") as file,
        progress(f"generate {params.task}", params.rows, "problems") as advance,
    ):
        for index in range(params.rows):
            file.write(json.dumps(rows[index], ensure_ascii=False, default=str) + "\n")
            advance()
    return {"task": params.task, "files": [{"path": "rows.jsonl", "side": None}]}
