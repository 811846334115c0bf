"""TRL's GRPOTrainer with smolmath's rewards.

Advantage: each reward minus its group's mean, divided by the group's standard deviation (TRL's default,
`scale_rewards: group`); a reward of None is left out. Departures from the paper are TRL's defaults: no KL term
(`beta` 0), token-level loss over the whole batch (`loss_type` dapo). Both can be set under `phases.<name>.grpo`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.generation import vllm_generation
from trl.trainer.utils import is_async_callable

from smolmath.engines import Completion, require_vllm
from smolmath.engines.transformers import device_of, eos_ids
from smolmath.errors import StageError
from smolmath.kernels import arithmetic
from smolmath.params.phases import GrpoPhase
from smolmath.rewards.grpo.rewards import reward_functions
from smolmath.running.params import HardwareParams
from smolmath.training.grpo.grounding import GroundedTrainer
from smolmath.training.grpo.preflight import PROMPTS, generations, look
from smolmath.training.grpo.scoring import phase_scorer, weighted
from smolmath.training.grpo.server import refuse_server
from smolmath.training.grpo.timed import TimedTrainer
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.data import grpo_dataset
from smolmath.training.phase.method import Method
from smolmath.training.phase.ranks import gather, is_first, processes

Reward = Callable[..., list[float | None]]


def make_grpo_trainer(context: PhaseContext[GrpoPhase]) -> GRPOTrainer:
    phase, hardware, tags = context.phase, context.hardware, context.prompt.tags
    settings, arguments = dict(phase.grpo), context.arguments
    # TRL counts passes where the params count optimiser steps: a smaller micro-batch must not generate more often.
    steps = settings.pop("steps_per_generation", 1)
    if len(context.problems) < (prompts := phase.prompts_per_generation) + bool(phase.needs_others):
        others = f" and the others that {phase.needs_others} needs" if phase.needs_others else ""
        raise StageError(
            f"phases.{context.name}: {len(context.problems)} train problems are fewer than the {prompts} prompts of "
            f"one generation (prompts_per_step × grpo.steps_per_generation){others}. Lower one of them, or widen "
            "pass_rate or max_prompt_tokens."
        )
    computed = arithmetic(context.dtype, device_of(hardware))
    if hardware.vllm_server is not None and is_first():
        refuse_server(hardware.vllm_server, Path(context.model.name_or_path), computed)
    ends = eos_ids(context.model, context.tokenizer)
    trainer_class: type[TimedTrainer] = TimedTrainer
    grounding: dict[str, Any] = {}
    if phase.answer_grounding_weight:
        trainer_class = GroundedTrainer
        grounding = {"grounding_weight": phase.answer_grounding_weight, "tags": tags}
    with engine_type(computed):
        return trainer_class(
            model=context.model,
            reward_funcs=[with_finished(r, ends) for r in reward_functions(phase.reward_options, tags)],
            args=GRPOConfig(
                **settings,
                **arguments,
                **vllm_arguments(hardware, phase),
                steps_per_generation=steps * arguments["gradient_accumulation_steps"],
                reward_weights=list(phase.reward_weights.values()),
            ),
            train_dataset=grpo_dataset(context.problems, context.prompt),
            processing_class=context.tokenizer,
            peft_config=context.peft_config,
            stopwatch=context.stopwatch,
            rounds=redraws(phase),
            skip=phase.online_difficulty.skip if phase.online_difficulty else 0.0,
            **grounding,
        )


@contextmanager
def engine_type(dtype: str) -> Iterator[None]:
    """What TRL's colocated vLLM computes in: TRL names no type, and vLLM would choose by the model's config.json."""
    engine = getattr(vllm_generation, "LLM", None)  # None: vLLM is not installed
    if engine is None:
        yield
        return
    vllm_generation.LLM = partial(engine, dtype=dtype)
    try:
        yield
    finally:
        vllm_generation.LLM = engine


def vllm_arguments(hardware: HardwareParams, phase: GrpoPhase) -> dict[str, Any]:
    """GRPOConfig's fields for `hardware.vllm`. Raises: StageError if vLLM is asked for and not installed."""
    if hardware.vllm == "off":
        return {}
    require_vllm("hardware.vllm", "off")
    if processes() % hardware.vllm_tensor_parallel:
        raise StageError(
            f"hardware.vllm_tensor_parallel: {hardware.vllm_tensor_parallel} does not divide the {processes()} "
            "processes that train, on whose GPUs one vLLM engine would spread."
        )
    if hardware.vllm == "server":
        return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": hardware.vllm_server}
    longest = phase.max_prompt_tokens + max_completion_tokens(phase)
    if hardware.vllm_max_length is not None and hardware.vllm_max_length < longest:
        raise StageError(
            f"hardware.vllm_max_length: {hardware.vllm_max_length} is shorter than a prompt and its completion may be "
            f"({longest}: max_prompt_tokens and grpo.max_completion_length). Raise it, or set it to null."
        )
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": hardware.vllm_max_length or longest,
        "vllm_gpu_memory_utilization": hardware.vllm_memory,
        "vllm_enable_sleep_mode": hardware.vllm_sleep,
        "vllm_tensor_parallel_size": hardware.vllm_tensor_parallel,
    }


def redraws(phase: GrpoPhase) -> int:
    """How often a generation's groups without a spread are redrawn, at most."""
    return phase.resample.rounds if phase.resample else 0


def max_completion_tokens(phase: GrpoPhase) -> int:
    return int(phase.grpo.get("max_completion_length") or 256)


class SampleCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Keeps the completions of every `sample_steps`-th step with their rewards."""

    def __init__(self, context: PhaseContext[GrpoPhase], trainer: TimedTrainer) -> None:
        self.phase, self.samples, self.trainer = context.phase, context.samples, trainer
        self.ends = eos_ids(context.model, context.tokenizer)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.phase.sample_steps or self.trainer.scored is None:
            return
        mine = self.trainer.scored
        asked = [(row["question"], row["reference_answer"]) for row in mine.rows]
        drawn = gather(list(zip(asked, mine.texts, mine.ids, strict=True)))  # of all processes, as the rewards are
        completions = [
            Completion(text, "stop" if done(tokens, self.ends) else "length", len(tokens)) for _, text, tokens in drawn
        ]
        values = [[None if value != value else value for value in column] for column in mine.rewards.T.tolist()]
        scored = weighted(values, list(self.phase.rewards), list(self.phase.reward_weights.values()))
        problems = [{"question": question, "reference_answer": answer} for (question, answer), _, _ in drawn]
        rows = self.samples.rows("train", state.global_step, problems, completions, lambda *_: scored)
        self.samples.keep("train", state.global_step, rows)


def with_finished(reward: Reward, ends: set[int]) -> Callable[..., Any]:
    """The reward with a column `finished`: whether each completion ended by itself or was cut off.

    An `async def` stays one: TRL awaits all such rewards of a step at the same time.
    """

    def columns_of(ids_of_each: list[list[int]]) -> dict[str, Any]:
        return {"finished": [done(ids, ends) for ids in ids_of_each], "completion_ids": ids_of_each}

    @wraps(reward)
    def scored(*, completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        return reward(**columns_of(completion_ids), **columns)

    @wraps(reward)
    async def awaited(*, completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        waiting: Any = reward(**columns_of(completion_ids), **columns)
        try:
            return list(await waiting)
        except TimeoutError as error:
            raise StageError(
                f"reward {reward.__name__}: no answer within its time ({str(error) or 'TimeoutError'}). Catch "
                "it there and return None for what could not be scored, or give it more time."
            ) from error

    return awaited if is_async_callable(reward) else scored


def done(ids: Sequence[int], ends: set[int]) -> bool:
    """Whether a completion ended by itself."""
    return bool(ids) and ids[-1] in ends


def worst_loss(context: PhaseContext[GrpoPhase], trainer: TimedTrainer, rows: int) -> torch.Tensor:
    """Of the longest prompts with the longest completions, as far as the loss costs memory."""
    keep = context.max_completion_tokens
    shape = (rows, context.phase.max_prompt_tokens + keep)
    ids = torch.full(shape, context.tokenizer.pad_token_id, device=trainer.accelerator.device)
    logps, _, _ = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, torch.ones_like(ids), keep, compute_entropy=True
    )
    return logps.mean()


METHOD: Method[GrpoPhase] = Method(
    make_trainer=make_grpo_trainer,
    callbacks=lambda context, trainer: [SampleCallback(context, trainer)] if context.phase.sample_steps else [],
    max_completion_tokens=max_completion_tokens,
    look=look,
    scorer=phase_scorer,
    border=lambda phase: phase.generation_steps,
    worst=worst_loss,
    steps_drawn=lambda phase: PROMPTS * generations(phase) / (phase.completions_per_step * (1 + redraws(phase))),
)
