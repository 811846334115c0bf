"""Completions of one model for one dataset's test problems, greedy and sampled, resumable batch by batch.

Batches are fixed by (prompt length, id) and seeded by (seed, batch number); a batch is saved whole or not at all, so a
generation that was killed and goes on ends with the same completions as an undisturbed one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smolmath.engines import Engine, Sampling
from smolmath.params.evaluate import SamplingParams
from smolmath.params.prompt import PromptParams
from smolmath.progress import progress
from smolmath.prompts import chat_prompt
from smolmath.records import COMPLETIONS, PROBLEMS, read_table, write_table
from smolmath.runs import StageError


def test_problems(split: Path, limit: int | None) -> list[dict[str, Any]]:
    """The test problems to answer: all, or the `limit` ones with the lowest ids (a sample, since ids are hashes).

    Raises: StageError if the test side is empty.
    """
    problems = sorted(read_table(split / "test.parquet", PROBLEMS), key=lambda problem: str(problem["id"]))
    if not problems:
        raise StageError(f"{split}/test.parquet holds no problem: raise split.test_fraction or name a test side.")
    return problems[:limit]


def generate_completions(
    engine: Engine,
    problems: Sequence[dict[str, Any]],
    *,
    prompt: PromptParams,
    sampling: SamplingParams,
    seed: int,
    state: Path,
    what: str,
) -> list[dict[str, Any]]:
    """A row of `COMPLETIONS` per completion: sample 0 greedy, 1…k sampled; sorted by problem and sample.

    Args: state: folder of finished batches, kept across a kill. what: shown in the progress line.
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
            passes = [(0, _greedy(sampling, seed))]
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
    rows = [row for path in paths for row in read_table(path, COMPLETIONS)]
    return sorted(rows, key=lambda row: (row["problem_id"], row["sample"]))


def _greedy(sampling: SamplingParams, seed: int) -> Sampling:
    return Sampling(0.0, 1.0, 1, sampling.max_completion_tokens, seed)


def _sampled(sampling: SamplingParams, seed: int) -> Sampling:
    return Sampling(sampling.temperature, sampling.top_p, sampling.samples, sampling.max_completion_tokens, seed)
