"""One completion of the model's own evaluation, for its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smolmath.evaluation.verdicts import VERDICTS
from smolmath.records import COMPLETIONS, PROBLEMS, read_table
from smolmath.running.hashes import content_hash
from smolmath.running.lockfile import Recorded, producer, workspace_lock
from smolmath.using.publishing.origin import Origin

LONGEST = 2000  # characters of a question and its completion that a card shows


@dataclass(frozen=True)
class Example:
    dataset: str
    question: str
    completion: str  # greedy, in the format and right


def example_of(origin: Origin) -> Example | None:
    """Of the dataset that the last phase was trained on, the first problem by id that came out right.

    None where its completions are not here, not those that dvc.lock records, or none of them is right.
    """
    model = Path(origin.trail.path).name
    trained = [phase.dataset for phase in reversed(origin.phases)]
    lock = workspace_lock()
    for dataset in sorted((result.dataset for result in origin.results), key=lambda name: name not in trained[:1]):
        completions = Path(f"results/completions/{model}/{dataset}.parquet")
        verdicts = Path(f"results/verdicts/{model}/{dataset}.parquet")
        problems = Path(f"data/split/{dataset}/test.parquet")
        if not (all(_is_recorded(lock, path) for path in (completions, verdicts)) and problems.is_file()):
            continue
        right = sorted(
            row["problem_id"]
            for row in read_table(verdicts, VERDICTS)
            if row["sample"] == 0 and row["correct"] and row["formatted"]
        )
        questions = {row["id"]: row["question"] for row in read_table(problems, PROBLEMS)}
        answered = {
            row["problem_id"]: row["completion"] for row in read_table(completions, COMPLETIONS) if row["sample"] == 0
        }
        for name in right:
            if name in questions and name in answered and len(questions[name] + answered[name]) <= LONGEST:
                return Example(dataset, questions[name], answered[name])
    return None


def _is_recorded(lock: Mapping[str, Recorded], path: Path) -> bool:
    made = producer(lock, path.as_posix())
    return made is not None and path.is_file() and content_hash(path) == made.outs[path.as_posix()]
