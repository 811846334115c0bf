"""Completions of one model for one dataset's problems, greedy and sampled, resumable batch by batch.

Batches are fixed by (prompt length, id) and seeded by (seed, batch number); a batch is saved whole or not at all, so a
generation that was killed and goes on ends with the same completions as an undisturbed one.
"""

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from smolmath.engines import Engine, Sampling
from smolmath.params.evaluate import SamplingParams
from smolmath.params.prompt import PromptParams
from smolmath.progress import progress
from smolmath.prompts import chat_prompt
from smolmath.records import COMPLETIONS, PROBLEMS, read_batches, read_table, write_table
from smolmath.runs import StageError


def problems_to_answer(split: Path, side: str, limit: int | None) -> list[dict[str, Any]]:
    """Id, question and reference answer of one side's problems: all, or the `limit` with the lowest ids.

    Ids are hashes, so these are a sample.

    Raises: StageError if the side is empty.
    """
    schema = pa.schema([PROBLEMS.field(name) for name in ("id", "question", "reference_answer")])
    batches = read_batches(split / f"{side}.parquet", schema)
    rows = (row for batch in batches for row in batch.to_pylist())

    def by_id(problem: dict[str, Any]) -> str:
        return str(problem["id"])

    problems = sorted(rows, key=by_id) if limit is None else heapq.nsmallest(limit, rows, key=by_id)
    if not problems:
        raise StageError(
            f"{split}/{side}.parquet holds no problem: raise split.{side}_fraction or name a {side} side."
        )
    return problems


def read_completions(batches: Iterable[Path]) -> list[dict[str, Any]]:
    """What `generate_batches` wrote: a row of `COMPLETIONS` per completion, sorted by problem and sample."""
    rows = [row for path in batches for row in read_table(path, COMPLETIONS)]
    return sorted(rows, key=lambda row: (row["problem_id"], row["sample"]))


def generate_batches(
    engine: Engine,
    problems: Sequence[dict[str, Any]],
    *,
    prompt: PromptParams,
    sampling: SamplingParams,
    seed: int,
    state: Path,
    what: str,
    greedy: bool = True,
) -> list[Path]:
    """Files of `COMPLETIONS`, one a batch: sample 0 greedy (if asked for), 1…k sampled.

    Args: state: folder of the batches, kept across a kill. what: shown in the progress line.
    """
    asked = [(problem["id"], chat_prompt(problem["question"], prompt)) for problem in problems]
    rendered = {problem: engine.render(chat) for problem, chat in asked}
    asked.sort(key=lambda item: (engine.count_tokens(rendered[item[0]]), item[0]))
    batches = [asked[i : i + sampling.batch_size] for i in range(0, len(asked), sampling.batch_size)]
    paths = [state / f"batch-{number:05d}.parquet" for number in range(len(batches))]
    finished = sum(len(batch) for batch, path in zip(batches, paths, strict=True) if path.is_file())
    with progress(what, len(asked), "problems", done=finished) as advance:
        for number, (batch, path) in enumerate(zip(batches, paths, strict=True)):
            if path.is_file():
                continue
            chats = [chat for _, chat in batch]
            passes = [(0, _greedy(sampling, seed))] if greedy else []
            if sampling.samples:
                passes.append((1, _sampled(sampling, seed + number)))
            rows = []
            for first, drawn in passes:
                for (problem, _), completions in zip(batch, engine.generate(chats, drawn), strict=True):
                    for index, completion in enumerate(completions, start=first):
                        rows.append(
                            {
                                "problem_id": problem,
                                "sample": index,
                                "prompt": rendered[problem],
                                "completion": completion.text,
                                "finish_reason": completion.finish_reason,
                                "tokens": completion.tokens,
                            }
                        )
            write_table(path, rows, COMPLETIONS)
            advance(len(batch))
    return paths


def _greedy(sampling: SamplingParams, seed: int) -> Sampling:
    return Sampling(0.0, 1.0, 1, sampling.max_completion_tokens, seed)


def _sampled(sampling: SamplingParams, seed: int) -> Sampling:
    return Sampling(sampling.temperature, sampling.top_p, sampling.samples, sampling.max_completion_tokens, seed)
