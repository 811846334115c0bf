"""`smolmath solve`: questions from the command line, stdin or a file, answered one after the other."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from smolmath.commands import console, fail
from smolmath.commands.options import MaxTokens, Model

if TYPE_CHECKING:  # they import what takes seconds
    from smolmath.engines import Sampling
    from smolmath.using.solving.files import Question
    from smolmath.using.solving.reasoner import Reasoner


def solve(
    question: Annotated[str | None, typer.Argument(help="What to solve; - or nothing: it is read from stdin.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Many: a .jsonl with `question` and maybe `id`, or a text file, one a line.")
    ] = None,
    model: Model = None,
    samples: Annotated[int, typer.Option(min=1, help="Completions to draw; most of them decide.")] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0, which is greedy, for one sample; evaluation's for several.")
    ] = None,
    max_tokens: MaxTokens = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 0,
    save: Annotated[Path | None, typer.Option(help="A .jsonl to append each solution to.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each question and nothing else.")] = False,
) -> None:
    """Ask a trained model: its reasoning as it comes, then the answer.

    smolmath solve "Now, how many legs are there in total if you have 1 bird, 2 ducks, 1 elephant?"
    smolmath solve "State the final answer to the following arithmetic problem: 9 + 8 - 5 + 7 =" --model sums
    smolmath solve --file questions.jsonl --samples 8 --save solutions.jsonl
    """
    with loading(model):
        from smolmath.using.solving.files import append_row

        questions = _questions(question, file)
        if save is not None:
            if file is not None and save.exists() and save.samefile(file):
                fail(f"{save} holds the questions: solutions would stand among them. Name another with --save.")
            append_row(save, None)  # a file that can't be written must not be found out after minutes
        reasoner, sampling = _load(model, samples, temperature, max_tokens, seed)
    failed = 0
    for asked in questions:
        failed += not _solve(reasoner, asked, sampling, len(questions) > 1, save, as_json)
    if failed:
        fail(f"{failed} of {len(questions)} questions could not be asked.")


def loading(model: str | None) -> Status:
    """A sign of life on a terminal while a model is loaded. Enter it before anything imports transformers."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its warnings would stand amid what the model writes
    return Console(stderr=True).status(f"loading {model or 'the model'} …")


def _questions(question: str | None, file: Path | None) -> "list[Question]":
    from smolmath.using.solving.files import Question, read_questions
    from smolmath.using.solving.reasoner import QuestionError, check_question

    if file is not None:
        if question is not None:
            raise QuestionError("name a question or --file, not both.")
        return read_questions(file)
    if question is None and sys.stdin.isatty():
        raise QuestionError('name a question, smolmath solve "QUESTION", or --file.')
    if question is None or question == "-":
        question = sys.stdin.buffer.read().decode(errors="surrogateescape").strip("\r\n")
    check_question(question)
    return [Question(question)]


def _load(
    model: str | None, samples: int, temperature: float | None, max_tokens: int | None, seed: int
) -> "tuple[Reasoner, Sampling]":
    from smolmath.engines import Sampling
    from smolmath.params.core import load_section, read_params
    from smolmath.params.evaluate import EvaluationSampling
    from smolmath.using.solving.reasoner import Reasoner, check_drawing

    params = read_params()
    evaluated = load_section(params, "evaluate.sampling", EvaluationSampling)
    if temperature is None:
        temperature = 0.0 if samples == 1 else evaluated.temperature
    check_drawing(samples=samples, temperature=temperature, seed=seed)  # before the model is loaded
    sampling = Sampling(
        temperature=temperature,
        top_p=evaluated.top_p if temperature else 1.0,
        samples=samples,
        max_completion_tokens=max_tokens or evaluated.max_completion_tokens,
        seed=seed,
    )
    return Reasoner.load(model, params), sampling


def _solve(
    reasoner: "Reasoner", asked: "Question", sampling: "Sampling", several: bool, save: Path | None, as_json: bool
) -> bool:
    """Ask one question and print what came of it; False if it can't be asked, which of a file's is said and no more.

    Raises: QuestionError if it can't and is from no file; SaveError.
    """
    from smolmath.using.solving.files import append_row, json_line, now, solution_row
    from smolmath.using.solving.reasoner import QuestionError
    from smolmath.using.solving.show import Stream, print_solution, printable

    stream = Stream(console, reasoner.model.prompt.tags)
    if several and not as_json:
        console.print(Text(printable(asked.text), style="bold"), soft_wrap=True)
    try:
        solution = reasoner.solve(
            asked.text,
            samples=sampling.samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_completion_tokens=sampling.max_completion_tokens,
            seed=sampling.seed,
            write=None if as_json else stream.write,
        )
    except QuestionError as error:
        if not asked.place:
            raise
        print(f"error: {asked.place}: {error}", file=sys.stderr, flush=True)
        if as_json:
            print(json_line({"id": asked.id, "question": asked.text, "error": str(error)}))
        return False
    row = solution_row(asked, solution, reasoner.model.name, sampling)
    if save is not None:
        append_row(save, {"time": now(), **row})
    if as_json:
        print(json_line(row), flush=True)
        return True
    if solution.samples > 1:
        stream.write(solution.completion)
    stream.end()
    print_solution(console, solution)
    if several:
        console.print()
    return True
