"""The completions of every model and dataset with their verdicts, packed for the page's browser."""

import base64
import gzip
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from smolmath.evaluation.verdicts import VERDICTS
from smolmath.records import COMPLETIONS, PROBLEMS, read_batches, read_table
from smolmath.studies.wording import visible
from smolmath.tags import Tags

MOST = 20_000  # completions in one page, which is searched within a second
MOST_BYTES = 40_000_000  # of their text; packed it takes a fifth or less


@dataclass(frozen=True)
class Browsed:
    """What the browser shows of one dataset."""

    dataset: str
    models: dict[str, list[list[dict[str, Any]]]]  # model -> problem -> its completions, greedy first
    problems: list[dict[str, Any]]  # id, question, reference_answer, source
    of: int  # problems that were answered
    missing: list[str]  # what is not here, and which command makes it


def browse(
    models: Sequence[str], datasets: Sequence[str], outdated: Mapping[tuple[str, str], str], most: int = MOST
) -> list[Browsed]:
    """At most `most` completions and `MOST_BYTES` in all: as many problems of each dataset, by id, for every model.

    Args: outdated: (model, dataset) to leave out -> why.

    Raises: RecordsError if a table is there but cannot be read.
    """
    paths = [_paths(model, dataset)[0] for model in models for dataset in datasets]
    most = min(most, MOST_BYTES // _mean_bytes([path for path in paths if path.is_file()]))
    return [_browsed(models, dataset, outdated, most // len(datasets)) for dataset in datasets]


@dataclass(frozen=True)
class Packed:
    text: str  # base64 of gzipped JSON, which is safe inside HTML as it is; the same input gives the same text
    formulas: bool  # whether there may be LaTeX in it


def packed(found: Sequence[Browsed], tags: Tags) -> Packed:
    data = {
        "tags": [tags.reasoning, tags.answer],
        "datasets": [
            {"name": one.dataset, "problems": one.problems, "models": one.models} for one in found if one.models
        ],
    }
    plain = visible(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    text = base64.b64encode(gzip.compress(plain.encode(), compresslevel=9, mtime=0)).decode()
    return Packed(text, formulas=r"\\" in plain or "$" in plain)  # JSON writes a backslash as two


def _browsed(models: Sequence[str], dataset: str, outdated: Mapping[tuple[str, str], str], most: int) -> Browsed:
    problems_path = Path("data/split", dataset, "test.parquet")
    paths = {model: _paths(model, dataset) for model in models if (model, dataset) not in outdated}
    missing = [
        f"{model} on {dataset} was answered with {outdated[model, dataset]}: run `dvc repro`."
        for model in models
        if (model, dataset) in outdated
    ]
    missing += [
        f"{path} is not here: run `dvc repro`, or `dvc pull` where a remote has it."
        for path in dict.fromkeys([*(path for pair in paths.values() for path in pair), problems_path])
        if not path.is_file()
    ]
    there = {m: pair for m, pair in paths.items() if problems_path.is_file() and all(p.is_file() for p in pair)}
    verdicts = {model: read_table(judged, _with_rewards(judged)) for model, (_, judged) in there.items()}
    answered = sorted({row["problem_id"] for rows in verdicts.values() for row in rows})
    per_problem = max(1, sum(len(rows) for rows in verdicts.values()) // max(1, len(answered)))
    shown = heapq.nsmallest(max(1, most // per_problem), answered)
    rows = _rows_of(problems_path, PROBLEMS, "id", {*shown}) if there else []
    problems = {row["id"]: row for row in rows}
    if unknown := [problem for problem in shown if problem not in problems]:
        missing.append(f"{problems_path} lacks {len(unknown)} problems that were answered: run `dvc repro`.")
    shown = [problem for problem in shown if problem in problems]
    return Browsed(
        dataset=dataset,
        models={model: _answers(completed, verdicts[model], shown) for model, (completed, _) in there.items()},
        problems=[
            {"id": problem, **{key: problems[problem][key] for key in ("question", "reference_answer", "source")}}
            for problem in shown
        ],
        of=len(answered),
        missing=missing,
    )


def _mean_bytes(paths: Sequence[Path]) -> int:
    """Of a completion's text; at least 1."""
    column = pa.schema([COMPLETIONS.field("completion")])
    size = rows = 0
    for batch in (batch for path in paths for batch in read_batches(path, column)):
        size += int(pc.sum(pc.binary_length(batch.column(0))).as_py() or 0)
        rows += batch.num_rows
    return max(1, size // max(1, rows))


def _paths(model: str, dataset: str) -> tuple[Path, Path]:
    name = f"{dataset}.parquet"
    return Path("results/completions", model, name), Path("results/verdicts", model, name)


def _answers(completed: Path, verdicts: Sequence[dict[str, Any]], shown: Sequence[str]) -> list[list[dict[str, Any]]]:
    wanted = {*shown}
    texts = {
        (row["problem_id"], row["sample"]): row["completion"]
        for row in _rows_of(completed, COMPLETIONS, "problem_id", wanted)
    }
    answers: dict[str, list[dict[str, Any]]] = {problem: [] for problem in shown}
    for row in sorted(verdicts, key=lambda row: (row["problem_id"], row["sample"])):
        if row["problem_id"] in wanted and (row["problem_id"], row["sample"]) in texts:
            answers[row["problem_id"]].append(_answer(row, texts[row["problem_id"], row["sample"]]))
    return list(answers.values())


def _answer(verdict: dict[str, Any], text: str) -> dict[str, Any]:
    """Short keys: there are many."""
    rewards = {name[len("reward_") :]: value for name, value in verdict.items() if name.startswith("reward_")}
    return {
        "text": text,
        "right": verdict["correct"],
        "strict": verdict["strict"],
        "cut": not verdict["finished"],
        "answer": verdict["predicted_answer"],
        "strategy": verdict["strategy"],
        "tokens": verdict["tokens"],
        "rewards": {name: value if value is None else round(value, 4) for name, value in rewards.items()},
    }


def _with_rewards(path: Path) -> pa.Schema:
    """The verdicts' schema with the reward columns that this file has."""
    try:
        found = pq.read_schema(path)
    except pa.ArrowInvalid:
        return VERDICTS  # read_table says what is wrong
    return pa.schema([*VERDICTS, *(column for column in found if column.name.startswith("reward_"))])


def _rows_of(path: Path, schema: pa.Schema, key: str, ids: set[str]) -> list[dict[str, Any]]:
    """The rows of these problems; only they are held, however long the table is."""
    return [row for batch in read_batches(path, schema) for row in batch.to_pylist() if row[key] in ids]
