"""What a synthesis leaves on disk: the solutions as `process` writes problems, as chats, and every rejection.

Completions, solutions and chats stand in the order in which they were drawn; `raw_row` is a completion's row.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from smolmath.data.examine import DETAIL_CHARS, storable
from smolmath.prompts import chat_prompt, worked_completion
from smolmath.records import COMPLETIONS, PROBLEMS, REJECTED, ShardWriter, TableWriter, file_facts, read_batches
from smolmath.using.solving.models import FoundModel
from smolmath.using.synthesis.problems import Asked, count_reasons
from smolmath.using.synthesis.selection import REASONS, select

NAME = "completions.parquet"  # every completion, kept or not
CHAT = "chat.jsonl"


@dataclass(frozen=True)
class Drawn:
    """The completions of a synthesis."""

    batches: list[Path]  # in order; those of one problem lie side by side
    made_by: dict[str, str]  # engine and device
    seconds: float  # that this run took to generate
    tokens: int  # that this run generated


def write_result(
    folder: Path, drawn: Drawn, asked: Asked, model: FoundModel, *, keep: int, shard_rows: int
) -> dict[str, Any]:
    """All files but the manifest, which comes back."""
    by_id = {problem["id"]: problem for problem in asked.problems}
    solutions = ShardWriter(folder, PROBLEMS, shard_rows)
    reasons: Counter[str] = Counter()
    number = kept = solved = tokens = 0
    answered: set[str] = set()
    schema = COMPLETIONS.with_metadata({**COMPLETIONS.metadata, **drawn.made_by})
    with (
        TableWriter(folder / NAME, schema) as completions,
        TableWriter(folder / "rejected.parquet", REJECTED) as rejected,
        (folder / CHAT).open("w", encoding="utf-8") as chat,
    ):
        for name, group in groupby(completion_rows(drawn.batches), itemgetter("problem_id")):
            rows, problem, found = list(group), by_id[name], []
            completions.add(_batch(rows, schema))
            outcomes = select(rows, problem, tags=model.prompt.tags, keep=keep)
            for row, outcome in zip(rows, outcomes, strict=True):
                if outcome.reasoning is None:
                    rejected.add(_rejection(NAME, number, outcome.reason, outcome.detail))
                    reasons[outcome.reason] += 1
                else:
                    found.append(_solution(problem, asked.name, outcome.reasoning, number))
                    worked = worked_completion(outcome.reasoning, problem["reference_answer"], model.prompt)
                    messages = [*chat_prompt(problem["question"], model.prompt), *worked]
                    chat.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
                tokens += row["tokens"]
                number += 1
            solutions.add(_batch(found, PROBLEMS))
            answered.add(name)
            kept += len(found)
            solved += bool(found)
        too_long = [
            (p["raw_file"], p["raw_row"], "prompt_too_long", "no room for a completion")
            for p in asked.problems
            if p["id"] not in answered
        ]
        not_asked = [*asked.rejected, *too_long]
        for rejection in not_asked:
            rejected.add(_rejection(*rejection))
    solutions.close()
    assert number == kept + reasons.total(), (number, kept, reasons)
    chats = {"file": CHAT, "rows": kept, **file_facts(folder / CHAT)}
    return {
        "dataset": asked.name,
        "rows": {"raw": number, "kept": kept, "rejected": reasons.total(), "not_selected": 0},
        "rejected_by_reason": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
        "with_reasoning": kept,
        "layouts": {NAME: "completions"},
        "sides": {NAME: asked.side},
        "files": [*solutions.written, rejected.entry(), completions.entry(), chats],
        "synthesis": {
            "model": Path(model.name).name if Path(model.name).is_absolute() else model.name,
            "prompt": model.prompt.model_dump(),
            "keep": keep,
            "rows": asked.rows,
            "rows_not_asked": count_reasons(not_asked),
            "rows_not_selected": asked.rows - len(asked.problems) - len(asked.rejected),
            "problems": len(answered),
            "problems_solved": solved,
            "tokens": tokens,
        },
    }


def _batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=schema)


def _rejection(file: str, number: int, reason: str, detail: str) -> pa.RecordBatch:
    detail = storable(detail[:DETAIL_CHARS])
    return _batch([{"raw_file": file, "raw_row": number, "reason": reason, "detail": detail}], REJECTED)


def _solution(problem: Mapping[str, Any], dataset: str, reasoning: str, number: int) -> dict[str, Any]:
    known = {name: problem[name] for name in ("id", "question", "reference_answer", "source")}
    return {**known, "dataset": dataset, "reasoning": reasoning, "raw_file": NAME, "raw_row": number}


def completion_rows(batches: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Rows of `COMPLETIONS`, in order."""
    return (row for path in batches for batch in read_batches(path, COMPLETIONS) for row in batch.to_pylist())
