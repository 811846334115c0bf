"""The problems that are asked: one side of a dataset of this project, or the rows of a file.

What is validated or tested on in any dataset of the recipe is left out of a file by id, as `split` does: a model that
was trained on solutions of those problems could not be judged by them.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from smolmath.data.examine import Examiner, Rejection, Work
from smolmath.data.layouts import Layout, LayoutError, choose_layout
from smolmath.data.layouts.values import column_of
from smolmath.data.tables import column_names
from smolmath.data.tables import read_batches as read_file_batches
from smolmath.errors import SmolmathError
from smolmath.params.core import load_section, nearest
from smolmath.params.process import ProcessParams
from smolmath.records import PROBLEMS, read_batches

ASKABLE = ("train", "validation")
COLUMNS = ("id", "question", "reference_answer", "source", "raw_file", "raw_row")


class SynthesisError(SmolmathError):
    """A synthesis that cannot begin, or that came to nothing."""


@dataclass
class Asked:
    """The problems, and what became of the other rows."""

    name: str  # key of the dataset, or the file's name without its ending
    side: str | None  # None: a file has none
    problems: list[dict[str, Any]]  # columns COLUMNS; sorted by id
    rows: int  # that there were: problems, rejected and not selected ones
    rejected: list[tuple[str, int, str, str]] = field(default_factory=list)  # file, row, reason, detail
    unchecked: list[str] = field(default_factory=list)  # datasets of which it isn't known what they hold out


def problems_of(
    target: str, params: Mapping[str, Any], *, side: str, limit: int | None, columns: Mapping[str, str | None]
) -> Asked:
    """The problems of a dataset or file; with a limit those of the lowest ids, which are a sample: ids are hashes.

    Args: columns: names of the file's columns question and reference_answer; None: found by its layout.
    Raises: SynthesisError if there is no such dataset or file, or nothing in it can be asked; TableError if the file
    is unreadable.
    """
    if side not in ASKABLE:
        raise SynthesisError(_no_side(side))
    datasets = [*params["datasets"], *(params["difficulty"] or {})]
    path = Path(target)
    if target in datasets:
        asked = _of_dataset(target, side)
    elif path.is_dir():
        raise SynthesisError(f"{target} is a folder: name a file in it, or a dataset: {', '.join(datasets)}.")
    elif path.is_file():
        if side != "train":
            raise SynthesisError(f"{target} is a file, which has no sides: leave --side out.")
        asked = _of_file(path, params, columns)
    else:
        hint = nearest(target, datasets)
        raise SynthesisError(f"{target}: no dataset or file.{hint} The datasets are: {', '.join(datasets)}.")
    asked.problems = (
        sorted(asked.problems, key=_by_id) if limit is None else heapq.nsmallest(limit, asked.problems, key=_by_id)
    )
    return asked


def _of_dataset(key: str, side: str) -> Asked:
    path = Path("data/split", key, f"{side}.parquet")
    if not path.is_file():
        stage = f"split@{key}"
        raise SynthesisError(f"{key}: {path} is not there. Run: dvc repro {stage} (or dvc pull {path.parent}).")
    problems = list(_read(path, COLUMNS))
    if not problems:
        raise SynthesisError(f"{key}: {path} holds no problem. Name another side than {side}, or another dataset.")
    return Asked(key, side, problems, len(problems))


def _of_file(path: Path, params: Mapping[str, Any], columns: Mapping[str, str | None]) -> Asked:
    """Read and checked as `process` does it; all rows are looked at, whatever `fraction` and `limit` say."""
    every_row = {"fraction": 1.0, "limit": None, "near_duplicates": None, "trace": "solution"}
    process = load_section(params, "process", ProcessParams).model_copy(update=every_row)
    layout = _layout(path, columns)
    examiner = Examiner(path.name, process, {path.name: layout})
    held_out, unchecked = _held_out(params)
    asked = Asked(path.name.split(".")[0], None, [], 0, unchecked=unchecked)
    rejected: list[Rejection] = []
    seen: dict[str, int] = {}
    for batch in read_file_batches(path, layout.columns):
        examined = examiner(Work(path.name, None, batch))
        asked.rows += examined.rows
        rejected += examined.rejected
        for problem in examined.problems.to_pylist():
            number, name = problem["raw_row"], problem["id"]
            if name in held_out:
                rejected.append((number, "held_out_elsewhere", f"{name} is on {held_out[name]}"))
            elif name in seen:
                rejected.append((number, "duplicate", f"of {path.name} row {seen[name]}"))
            else:
                seen[name] = number
                asked.problems.append({column: problem[column] for column in COLUMNS})
    asked.rejected = [(path.name, *rejection) for rejection in sorted(rejected)]
    if not asked.problems:
        why = (
            f"{asked.rows:,} rows: {counts_in_words(count_reasons(asked.rejected))}" if asked.rows else "it holds none"
        )
        raise SynthesisError(f"{path}: no row of it can be asked ({why}).")
    return asked


def _layout(path: Path, columns: Mapping[str, str | None]) -> Layout:
    found = column_names(path)
    named = {ours: theirs for ours, theirs in columns.items() if theirs is not None}
    if lacking := [theirs for theirs in named.values() if column_of(theirs, found) not in found]:
        raise SynthesisError(f"{path} has no column {', '.join(lacking)}. It has: {', '.join(found)}.")
    if named or {"question", "reference_answer"} <= set(found):
        wanted = {"question": "question", "reference_answer": "reference_answer"} | named
        if "source" in found:
            wanted["source"] = "source"
    else:
        wanted = None
    try:
        return choose_layout(found, name=None, columns=wanted, where=str(path))
    except LayoutError:
        raise SynthesisError(
            f"{path} has the columns {', '.join(found)}, and it is not plain which hold the question and the "
            "reference answer. Name both: --question COLUMN --reference COLUMN; `smolmath inspect` proposes them."
        ) from None


def _held_out(params: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Id -> the side that it is on, of all that is validated or tested on; and the datasets that aren't split yet."""
    held_out: dict[str, str] = {}
    unchecked = []
    for key in params["datasets"]:
        for side in ("validation", "test"):
            path = Path("data/split", key, f"{side}.parquet")
            if not path.is_file():
                unchecked.append(key)
                break
            held_out |= {row["id"]: f"side {side} of {key}" for row in _read(path, ("id",))}
    return held_out, unchecked


def _no_side(side: str) -> str:
    if side == "test":
        return (
            "--side test: models are judged by the problems of the test side, and one that was trained on their "
            f"solutions could not be. Name one of: {', '.join(ASKABLE)}."
        )
    return f"--side {side}: no side of a dataset.{nearest(side, ASKABLE)} Name one of: {', '.join(ASKABLE)}."


def _read(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    schema = pa.schema([PROBLEMS.field(name) for name in columns])
    return (row for batch in read_batches(path, schema) for row in batch.to_pylist())


def _by_id(problem: dict[str, Any]) -> str:
    return str(problem["id"])


def count_reasons(rejected: Sequence[tuple[str, int, str, str]]) -> dict[str, int]:
    """Reason -> rows, the most frequent first."""
    return dict(Counter(reason for _, _, reason, _ in rejected).most_common())


def counts_in_words(counts: Mapping[str, int]) -> str:
    """`12 wrong_answer, 3 cut_off`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
