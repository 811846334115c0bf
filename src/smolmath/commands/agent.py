"""`smolmath agent`: an agent of smolagents does a task, with a trained model as its tool."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from smolmath.commands import fail

if TYPE_CHECKING:
    from smolmath.using.agents.run import Outcome, Step


def agent(
    task: Annotated[str, typer.Argument(help="What the agent is to do.")],
    model: Annotated[
        str | None, typer.Option(help="The tool: a phase, directory or hub id; the last phase trained if not named.")
    ] = None,
    agent_model: Annotated[
        str | None, typer.Option(help="The agent's own: likewise, or a server's address; the tool's if not named.")
    ] = None,
    model_id: Annotated[str | None, typer.Option(help="Which of the server's models, where it has several.")] = None,
    kind: Annotated[
        Literal["tool", "code"],
        typer.Option(help="Calls its tools by JSON, or by Python that is run here: few imports, yet no sandbox."),
    ] = "tool",
    max_steps: Annotated[int, typer.Option(min=1, help="Steps until it must be done.")] = 6,
    max_completion_tokens: Annotated[int, typer.Option(min=1, help="Of the agent's model, in a step.")] = 1024,
    samples: Annotated[int, typer.Option(min=1, help="The tool's completions for a question; the majority's.")] = 1,
    example: Annotated[str, typer.Option(help="A question as the tool's model was trained on, to be followed.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="All steps, with the reasoning, for a program.")] = False,
) -> None:
    """An agent does a task, asking a trained model for the math. Exit code 1 if it comes to no final answer.

    smolmath agent "Add up: 3 + 4 - 2, and 9 - 5 + 1." --agent-model http://localhost:8000/v1
    smolmath agent "…" --agent-model HuggingFaceTB/SmolLM2-1.7B-Instruct --kind code
    """
    if not task.strip():
        fail("the task is empty.")
    from smolmath.params.core import read_params
    from smolmath.using.agents import MathReasonerTool, load_agent_model
    from smolmath.using.agents.models import describe, for_two, is_address
    from smolmath.using.agents.run import make_agent, run_agent
    from smolmath.using.solving.reasoner import Reasoner

    params = read_params()
    own = agent_model or model
    if own is None or not is_address(own):
        params = dict(for_two(params))
    from transformers.utils import logging as hf_logging

    hf_logging.set_verbosity_error()  # warnings about how smolagents calls transformers: not the reader's to mend
    tool = MathReasonerTool(model, samples, example)
    brain = load_agent_model(own, model_id=model_id, max_completion_tokens=max_completion_tokens, params=params)
    made = make_agent(kind, [tool], brain, max_steps=max_steps)
    tool.reasoner = Reasoner.load(model, params)
    if not as_json:
        print(f"agent: {describe(brain)}; tool: math_reasoner ({tool.reasoner.model.name})", flush=True)
    outcome = run_agent(made, task, tool, (lambda step: None) if as_json else _print_step)
    if as_json:
        facts = {"kind": kind, "model": tool.reasoner.model.name, "agent_model": describe(brain)}
        print(json.dumps(facts | _as_json(outcome), ensure_ascii=False, indent=1))
    elif outcome.finished:
        print(f"answer: {_plain(outcome.answer)}")
    else:
        print(f"asked for an answer in the end, it wrote: {_line(str(outcome.answer))}")
    if not outcome.solutions:
        print(f"note: {describe(brain)} never called math_reasoner: what it says is its own.", file=sys.stderr)
    if not outcome.finished:
        fail(
            f"no final answer within {max_steps} steps. Give it more (--max-steps), or a model that is better at "
            "calling tools (--agent-model)."
        )


def _print_step(step: "Step") -> None:
    print(f"step {step.number}:", flush=True)
    for name, arguments in step.calls:
        if name == "python_interpreter":
            _print_lines("  | ", str(arguments))
        else:
            given = arguments if isinstance(arguments, dict) else {"": arguments}
            shown = ", ".join(f"{key}={value!r}" if key else repr(value) for key, value in given.items())
            print(f"  {_plain(name)}({_plain(shown)})")
    for solution in step.solutions:
        print(f"  {_line(solution.reasoning)} → {_plain(solution.answer)}")
    if step.error:
        if not step.calls:
            print(f"  it wrote: {_line(step.written)}")
        print(f"  failed: {_line(step.error)}")
    elif step.calls and step.calls[0][0] == "python_interpreter":  # a tool's answers stand above
        _print_lines("  > ", step.observation)


def _print_lines(mark: str, text: str) -> None:
    for line in text.strip().splitlines()[:20]:
        print(f"{mark}{_plain(line)[:500]}")


def _line(text: str) -> str:
    text = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    return _plain(text if len(text) <= 300 else f"{text[:300]} …")


def _plain(value: Any) -> str:
    """As text, without what could steer a terminal: a model may write anything."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in str(value))


def _as_json(outcome: "Outcome") -> dict[str, Any]:
    from smolagents.utils import make_json_serializable

    found = asdict(outcome)
    for step in found["steps"]:
        step["calls"] = [{"tool": name, "arguments": arguments} for name, arguments in step["calls"]]
    return dict(make_json_serializable(found))
