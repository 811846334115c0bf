"""A phase's rewards for completions that did not come from its trainer: preflight's and validation's."""

import asyncio
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from typing import Any

from smolmath.engines import Completion
from smolmath.params.phases import GrpoPhase
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from smolmath.rewards.grpo.rewards import reward_functions
from smolmath.training.phase.samples import Scored, Scorer


def phase_scorer(phase: GrpoPhase, prompt: PromptParams, tokenizer: Any) -> Scorer:
    """The phase's rewards as a function of problems and a completion of each."""
    rewards = reward_functions(phase.reward_options, prompt.tags)
    weights = list(phase.reward_weights.values())

    def score(problems: Sequence[Mapping[str, Any]], completions: Sequence[Completion]) -> list[Scored]:
        columns: dict[str, Any] = {
            "prompts": [chat_prompt(problem["question"], prompt) for problem in problems],
            "completions": [[{"role": "assistant", "content": completion.text}] for completion in completions],
            "completion_ids": [tokenizer(c.text, add_special_tokens=False)["input_ids"] for c in completions],
            "question": [problem["question"] for problem in problems],
            "reference_answer": [problem["reference_answer"] for problem in problems],
            "reasoning": [problem["reasoning"] for problem in problems],
            "finished": [completion.finish_reason == "stop" for completion in completions],
        }
        return weighted(asyncio.run(_values(rewards, columns)), list(phase.rewards), weights)

    return score


async def _values(rewards: Sequence[Any], columns: Mapping[str, Any]) -> list[list[float | None]]:
    """What each reward says; those that are `async def` at the same time, as in training."""
    said = [reward(**columns) for reward in rewards]
    waiting = iter(await asyncio.gather(*(value for value in said if isawaitable(value))))
    return [next(waiting) if isawaitable(value) else value for value in said]


def weighted(values: Sequence[Sequence[float | None]], names: Sequence[str], weights: Sequence[float]) -> list[Scored]:
    """Rewards by function -> by completion: the weighted sum of those that could score it, as TRL forms it."""
    scored = []
    for parts in zip(*values, strict=True):
        known = [weight * part for weight, part in zip(weights, parts, strict=True) if part is not None]
        scored.append(Scored(sum(known) if known else None, dict(zip(names, parts, strict=True))))
    return scored
