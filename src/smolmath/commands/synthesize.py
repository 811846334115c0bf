"""`smolmath synthesize`: a model's right solutions as a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from smolmath.commands import interruptible, show
from smolmath.commands.options import MaxTokens, Model


def synthesize(
    target: Annotated[
        str, typer.Argument(metavar="DATASET_OR_FILE", help="A dataset of params.yaml, or a data file.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: a new one, or the same synthesis to make anew.")],
    model: Model = None,
    samples: Annotated[int, typer.Option(min=1, help="Completions of each problem.")] = 4,
    temperature: Annotated[float, typer.Option(min=0.01, help="At which they are drawn.")] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many problems, lowest id first.")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Solutions of each problem, the first that are right.")] = 1,
    side: Annotated[str, typer.Option(help="Of a dataset: train or validation.")] = "train",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    max_tokens: MaxTokens = None,
    question: Annotated[str | None, typer.Option(help="Column of a file's questions.")] = None,
    reference: Annotated[str | None, typer.Option(help="Column of a file's reference answers.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Yield and cost, for a program.")] = False,
) -> None:
    """Draw solutions of problems whose answer is known, and keep those that the grader finds right.

    smolmath synthesize sums --out synthetic/sums             by the last phase, 4 samples a problem
    smolmath synthesize mine.jsonl --model legs --out mine    problems of a file with questions and answers

    Killed or interrupted, the same command goes on where it was.
    """
    with interruptible("the same command goes on where it was"):
        from smolmath.using.synthesis.run import Wanted, synthesize
        from smolmath.using.synthesis.run import as_json as to_json
        from smolmath.using.synthesis.show import summary_parts

        wanted = Wanted(
            target=target,
            model=model,
            out=out,
            samples=samples,
            temperature=temperature,
            limit=limit,
            keep=keep,
            side=side,
            seed=seed,
            max_completion_tokens=max_tokens,
            columns={"question": question, "reference_answer": reference},
        )
        summary = synthesize(wanted)
    if as_json:
        print(to_json(summary))
        return
    show(summary_parts(summary), str)  # unbroken: params are to be copied
