"""Source `reasoning_gym`: problems that a task of reasoning-gym generates; row i depends on seed + i alone.

The task `composite` mixes tasks: options: {datasets: [{name: chain_sum, weight: 2, config: {…}}, …]}.
"""

import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from smolmath.errors import StageError
from smolmath.params.core import listing, nearest
from smolmath.params.datasets import ReasoningGymDataset
from smolmath.running.progress import progress

with warnings.catch_warnings():  # one of its own dependencies compares a literal with `is`
    warnings.simplefilter("ignore", SyntaxWarning)
    import reasoning_gym
    from reasoning_gym.composite import DatasetSpec
    from reasoning_gym.factory import DATASETS

# Tasks with reference answers that are seen to be wrong; nothing graded may come from them.
WRONG_ANSWERS = {
    "simple_geometry": "it asks for polygons that cannot be convex",
    "polynomial_equations": "it misses real roots of cubics",
}
# Templates of gsm_symbolic that cut off fractions on the way (69.98 - 28.98 = 40): their problems are passed over.
WRONG_TEMPLATES = frozenset({2, 3, 4, 40, 49, 60, 75, 99})


def fetch(params: ReasoningGymDataset, out: Path, state: Path) -> dict[str, Any]:
    """Write rows.jsonl, one generated row a line. Raises: StageError for an unknown task or option."""
    dataset = _create(params)
    with (
        (out / "rows.jsonl").open("w", encoding="utf-8") as file,
        progress(f"generate {params.task}", params.rows, "problems") as advance,
    ):
        rows = islice(_sound_rows(dataset), params.rows)
        written = 0
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            advance()
            written += 1
    if written < params.rows:
        raise StageError(
            f"reasoning_gym task {params.task!r} made {written} of {params.rows} rows: too many were of templates "
            "whose answers are wrong. Ask for fewer rows, or another seed."
        )
    return {"task": params.task, "files": [{"path": "rows.jsonl", "side": None}]}


def _create(params: ReasoningGymDataset) -> Any:
    options = dict(params.options)
    _refuse(params.task)
    if params.task == "composite":
        specs = options.get("datasets")
        if not isinstance(specs, list) or not all(isinstance(spec, Mapping) and "name" in spec for spec in specs):
            raise StageError(
                "reasoning_gym task 'composite' takes options: {datasets: [{name: chain_sum, weight: 1, config: {}}]}."
            )
        for spec in specs:
            _refuse(spec["name"])
        options["datasets"] = [_spec(spec) for spec in specs]
    try:
        # Twice the rows: enough to pass over those of wrong templates; none is made before it is asked for.
        return reasoning_gym.create_dataset(params.task, seed=params.seed, size=2 * params.rows, **options)
    except (TypeError, AssertionError, ValueError) as error:
        known = [
            field.name for field in dataclasses.fields(DATASETS[params.task][1]) if field.name not in ("seed", "size")
        ]
        raise StageError(f"reasoning_gym task {params.task!r}: {error}. Its options: {listing(known)}.") from None


def _refuse(task: str) -> None:
    if task not in DATASETS:
        raise StageError(f"reasoning_gym has no task {task!r}.{nearest(task, DATASETS)}")
    if task in WRONG_ANSWERS:
        raise StageError(
            f"reasoning_gym's task {task!r} has wrong reference answers: {WRONG_ANSWERS[task]}. Choose another task."
        )


def _spec(given: Mapping[str, Any]) -> Any:
    spec = {"weight": 1, "config": {}, **given}
    if unknown := set(spec) - {"name", "weight", "config"}:
        raise StageError(
            f"reasoning_gym task 'composite': {listing(unknown)} is unknown. Allowed: config, name, weight."
        )
    return DatasetSpec(**spec)


def _sound_rows(dataset: Any) -> Iterator[dict[str, Any]]:
    for index in range(len(dataset)):
        row = dataset[index]
        if _template(dataset, row) not in WRONG_TEMPLATES:
            yield row


def _template(dataset: Any, row: Mapping[str, Any]) -> int | None:
    """The template that a row of gsm_symbolic was made from, which reasoning-gym leaves out of the row."""
    metadata = row["metadata"]
    if metadata.get("source_dataset") != "gsm_symbolic":
        return None
    inner = getattr(dataset, "datasets", {}).get("gsm_symbolic", dataset)
    return int(inner.task_indices[metadata["source_index"]])
