"""An agent with a math reasoner among its tools does a task, step by step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import smolagents
from smolagents.utils import AgentGenerationError

from smolmath.using.agents.errors import AgentError
from smolmath.using.agents.executor import CodeExecutor
from smolmath.using.agents.models import describe
from smolmath.using.agents.tool import MathReasonerTool
from smolmath.using.solving.reasoner import Solution

Kind = Literal["tool", "code"]


@dataclass(frozen=True)
class Step:
    number: int
    calls: list[tuple[str, Any]]  # tool and arguments; of a code agent `python_interpreter` and the code
    solutions: list[Solution]  # what the reasoner worked out in this step
    observation: str  # what the model reads of the result
    error: str | None  # what was wrong with the model's action
    written: str  # the model's own words


@dataclass
class Outcome:
    task: str
    answer: Any = None  # a code agent may give any value; after the last step it is what the model says, unasked
    finished: bool = False  # the agent gave its final answer; False: out of steps
    steps: list[Step] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def solutions(self) -> list[Solution]:
        return [solution for step in self.steps for solution in step.solutions]


def make_agent(
    kind: Kind, tools: list[smolagents.Tool], model: smolagents.Model, *, max_steps: int
) -> smolagents.MultiStepAgent:
    """A silent smolagents agent: `tool` calls its tools by JSON, `code` by Python.

    Code runs in this process, by smolagents' own interpreter (executor.py): it imports a few harmless modules, sees no
    files and nothing of ours, yet is no sandbox, as smolagents says itself.
    """
    settings = {"tools": tools, "model": model, "max_steps": max_steps, "verbosity_level": smolagents.LogLevel.OFF}
    if kind == "tool":
        return smolagents.ToolCallingAgent(**settings)
    return smolagents.CodeAgent(**settings, executor=CodeExecutor())


def run_agent(
    agent: smolagents.MultiStepAgent,
    task: str,
    tool: MathReasonerTool,
    watch: Callable[[Step], None] = lambda step: None,
) -> Outcome:
    """What comes of a task.

    Args: watch: is given each step as it ends.
    Raises: AgentError if the task is empty or doesn't fit the agent's model, or if that model fails.
    """
    if not task.strip():
        raise AgentError("the task is empty.")
    _check_room(agent, task)
    outcome, known = Outcome(task), len(tool.solutions)
    try:
        for event in agent.run(task, stream=True):
            if isinstance(event, smolagents.ActionStep) and event.step_number > len(outcome.steps):
                if event.model_output_message is None:  # the model failed, which is raised next
                    continue
                step = _step(event, tool.solutions[known:])
                known = len(tool.solutions)
                outcome.steps.append(step)
                outcome.finished = event.is_final_answer
                watch(step)
            elif isinstance(event, smolagents.FinalAnswerStep):
                outcome.answer = event.output
    except AgentGenerationError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:500]
        raise AgentError(f"the agent's model failed, {describe(agent.model)}: {reason}") from None
    tokens = agent.monitor.get_total_token_counts()
    outcome.input_tokens, outcome.output_tokens = tokens.input_tokens, tokens.output_tokens
    return outcome


def _step(event: Any, solutions: list[Solution]) -> Step:
    calls = [(call.name, call.arguments) for call in event.tool_calls or []]
    if not calls:  # smolagents keeps none of a step whose call failed
        asked = event.model_output_message.tool_calls or []
        calls = [(call.function.name, call.function.arguments) for call in asked]
    return Step(
        number=event.step_number,
        calls=calls,
        solutions=solutions,
        observation=event.observations or "",
        error=str(event.error) if event.error else None,
        written=str(event.model_output or ""),
    )


def _check_room(agent: smolagents.MultiStepAgent, task: str) -> None:
    """transformers reads past the end of a model's context without a word, and what it writes then is noise."""
    model = agent.model
    if not isinstance(model, smolagents.TransformersModel):
        return
    context = getattr(model.model.config, "max_position_embeddings", None)
    needed = len(model.tokenizer(agent.system_prompt + task, verbose=False)["input_ids"])
    if context and needed >= context:
        raise AgentError(
            f"{describe(model)} reads {context:,} tokens, and smolagents' instructions with the task have {needed:,}: "
            "it can be an agent's tool, not its own model. Name another as that (--agent-model): a phase, a "
            "directory, a hub id, or the address of a server."
        )
