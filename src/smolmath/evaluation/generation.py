"""Completions of one model for one dataset's problems, greedy and sampled, resumable batch by batch.

Batches are fixed by (prompt length, id) and seeded by (seed, batch number); a batch is saved whole or not at all, so a
generation that was killed and goes on ends with the same completions as an undisturbed one, and so does one whose
batches several engines share.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from smolmath.engines import Engine, Reader, Sampling
from smolmath.errors import StageError
from smolmath.evaluation.several import SeveralEngines
from smolmath.params.evaluate import SamplingParams
from smolmath.params.prompt import PromptParams
from smolmath.prompts import Message, chat_prompt, worked_completion
from smolmath.records import COMPLETIONS, PROBLEMS, read_batches, read_table, write_table
from smolmath.running.progress import progress

POLL_S = 0.2


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


def worked_examples(split: Path, shots: int, prompt: PromptParams) -> list[Message]:
    """The chat turns of `shots` problems of the train side with their worked solutions, those of the lowest ids.

    Raises: StageError if it has fewer.
    """
    if not shots:
        return []
    rows = (row for batch in read_batches(split / "train.parquet", PROBLEMS) for row in batch.to_pylist())
    worked = heapq.nsmallest(shots, (row for row in rows if row["reasoning"]), key=lambda row: str(row["id"]))
    if len(worked) < shots:
        raise StageError(
            f"{split}/train.parquet has {len(worked)} problems with a worked solution, and `shots` asks for {shots}. "
            "Ask for fewer, or for none where a dataset is only tested on."
        )
    turns = ([{"role": "user", "content": row["question"]}, *_solution(row, prompt)] for row in worked)
    return [turn for pair in turns for turn in pair]


def _solution(row: dict[str, Any], prompt: PromptParams) -> list[Message]:
    return worked_completion(row["reasoning"], row["reference_answer"], prompt)


def read_completions(batches: Iterable[Path]) -> list[dict[str, Any]]:
    """What `generate_batches` wrote: a row of `COMPLETIONS` per completion, sorted by problem and sample."""
    rows = [row for path in batches for row in read_table(path, COMPLETIONS)]
    return sorted(rows, key=lambda row: (row["problem_id"], row["sample"]))


@dataclass(frozen=True)
class Batch:
    """Prompts that are answered together, into one file."""

    number: int
    asked: list[tuple[str, list[Message], str]]  # problem's id, its chat, the chat as the model reads it
    path: Path


def generate_batches(
    engine: Engine | SeveralEngines,
    problems: Sequence[dict[str, Any]],
    *,
    prompt: PromptParams,
    sampling: SamplingParams,
    seed: int,
    state: Path,
    what: str,
    greedy: bool = True,
    examples: Sequence[Message] = (),
) -> list[Path]:
    """Files of `COMPLETIONS`, one a batch: sample 0 greedy (if asked for), 1…k sampled.

    Args: state: folder of the batches, kept across a kill. what: shown in the progress line. examples: turns before
    each question.
    """
    batches = _batches(engine, problems, prompt, examples, sampling.batch_size, state)
    missing = [batch for batch in batches if not batch.path.is_file()]
    write = partial(write_batch, sampling=sampling, seed=seed, greedy=greedy)
    answer = partial(_answer, missing, write, what, len(problems))
    if isinstance(engine, SeveralEngines):
        engine.run(answer, tasks=len(missing), name=what, logs=state / "processes")
    else:
        answer(engine, 0, 1)
    return [batch.path for batch in batches]


def _batches(
    reader: Reader,
    problems: Sequence[dict[str, Any]],
    prompt: PromptParams,
    examples: Sequence[Message],
    size: int,
    state: Path,
) -> list[Batch]:
    asked = []
    for problem in problems:
        chat = chat_prompt(problem["question"], prompt, examples)
        asked.append((problem["id"], chat, reader.render(chat)))
    asked.sort(key=lambda item: (reader.count_tokens(item[2]), item[0]))
    return [
        Batch(number, asked[start : start + size], state / f"batch-{number:05d}.parquet")
        for number, start in enumerate(range(0, len(asked), size))
    ]


def _answer(
    batches: Sequence[Batch],
    write: Callable[[Engine, Batch], None],
    what: str,
    problems: int,
    engine: Engine,
    rank: int,
    processes: int,
) -> None:
    """Write this process's share of the batches; the first of `processes` shows how far all of them are.

    Args: problems: of these batches and of those that were there before.
    """
    if rank:
        for batch in batches[rank::processes]:
            write(engine, batch)
        return
    done = problems - sum(len(batch.asked) for batch in batches)
    shares = [deque(batches[other::processes]) for other in range(processes)]
    mine = iter(batches[::processes])
    with progress(what, problems, "problems", done=done) as advance:
        while any(shares):
            if following := next(mine, None):
                write(engine, following)
            else:
                time.sleep(POLL_S)  # for the others
            for share in shares:  # each process writes its own in this order
                while share and share[0].path.is_file():
                    advance(len(share.popleft().asked))


def write_batch(engine: Engine, batch: Batch, *, sampling: SamplingParams, seed: int, greedy: bool) -> None:
    """Answer one batch into its file."""
    chats = [chat for _, chat, _ in batch.asked]
    passes = [(0, _greedy(sampling, seed))] if greedy else []
    if sampling.samples:
        passes.append((1, _sampled(sampling, seed + batch.number)))
    rows = []
    for first, drawn in passes:
        for (problem, _, rendered), completions in zip(batch.asked, engine.generate(chats, drawn), strict=True):
            for index, completion in enumerate(completions, start=first):
                rows.append(
                    {
                        "problem_id": problem,
                        "sample": index,
                        "prompt": rendered,
                        "completion": completion.text,
                        "finish_reason": completion.finish_reason,
                        "tokens": completion.tokens,
                    }
                )
    write_table(batch.path, rows, COMPLETIONS)


def _greedy(sampling: SamplingParams, seed: int) -> Sampling:
    return Sampling(0.0, 1.0, 1, sampling.max_completion_tokens, seed)


def _sampled(sampling: SamplingParams, seed: int) -> Sampling:
    return Sampling(sampling.temperature, sampling.top_p, sampling.samples, sampling.max_completion_tokens, seed)
