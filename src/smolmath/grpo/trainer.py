"""TRL's GRPOTrainer with smolmath's rewards.

Advantage: each reward minus its group's mean, divided by the group's standard deviation (TRL's default,
`scale_rewards: group`); a reward of None is left out. Departures from the paper are TRL's defaults: no KL term
(`beta` 0), token-level loss over the whole batch (`loss_type` dapo). Both can be set under `phases.<name>.grpo`.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from smolmath.engines.transformers import eos_ids
from smolmath.grpo.rewards import reward_functions
from smolmath.params.phases import GrpoPhase
from smolmath.params.prompt import PromptParams
from smolmath.training.data import grpo_dataset

Reward = Callable[..., list[float | None]]


def make_grpo_trainer(
    *,
    model: Any,
    tokenizer: Any,
    phase: GrpoPhase,
    name: str,
    problems: Sequence[dict[str, Any]],
    prompt: PromptParams,
    arguments: dict[str, Any],
    peft_config: Any,
    callbacks: list[Any],
) -> GRPOTrainer:
    settings = dict(phase.grpo)
    # TRL counts passes where the params count optimiser steps: a smaller micro-batch must not generate more often.
    steps = settings.pop("steps_per_generation", 1)
    ends = eos_ids(model, tokenizer)
    return GRPOTrainer(
        model=model,
        reward_funcs=[with_finished(r, ends) for r in reward_functions(phase.reward_options, prompt.tags)],
        args=GRPOConfig(
            **settings,
            **arguments,
            steps_per_generation=steps * arguments["gradient_accumulation_steps"],
            reward_weights=list(phase.reward_weights.values()),
        ),
        train_dataset=grpo_dataset(problems, prompt),
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=callbacks,
    )


def max_completion_tokens(phase: GrpoPhase) -> int:
    return int(phase.grpo.get("max_completion_length") or 256)


def with_finished(reward: Reward, ends: set[int]) -> Reward:
    """The reward with a column `finished`: whether each completion ended by itself or was cut off."""

    @wraps(reward)
    def scored(*, completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        finished = [bool(ids) and ids[-1] in ends for ids in completion_ids]
        return reward(finished=finished, completion_ids=completion_ids, **columns)

    return scored
