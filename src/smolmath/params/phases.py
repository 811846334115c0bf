"""Section `phases`: the trainings of a curriculum, in order, each with its method, dataset and starting point."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from smolmath.params.core import ParamsError, Strict, listing, lookup, nearest, parse


class LoraParams(Strict):
    r: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    target_modules: list[str] = Field(min_length=1)


class ValidationParams(Strict):
    """Greedy completions during training for the problems of the validation side with the lowest ids.

    The phase's model is that of the step with the best `metric`; of equal ones the later.
    """

    problems: int = Field(ge=1)
    every_steps: int = Field(ge=1)
    metric: Literal["accuracy", "reward"]  # reward: mean weighted sum, of a phase that has rewards
    patience: int | None = Field(ge=1)  # validations without a better one that end the phase; null: max_steps do


class PhaseParams(Strict):
    """What both methods have."""

    dataset: str  # key in `datasets` or `difficulty`
    pass_rate: list[float] | None = Field(
        min_length=2, max_length=2
    )  # [low, high]: train problems rated within; null: all
    init: str  # `base` or a phase that stands above
    max_prompt_tokens: int = Field(ge=1)  # longer train prompts are left out, and counted
    preflight: Literal["stop", "warn", "off"]  # a look at a few prompts; stop where nothing can be learnt
    checkpoint_steps: int = Field(ge=1)  # a killed run goes on from the last multiple of this, or of the minutes
    validation: ValidationParams | None
    lora: LoraParams | None

    @field_validator("pass_rate")
    @classmethod
    def _in_order(cls, bounds: list[float] | None) -> list[float] | None:
        if bounds is not None and not 0 <= bounds[0] <= bounds[1] <= 1:
            raise ValueError(f"{bounds} is no range of pass rates: write [low, high], with 0 ≤ low ≤ high ≤ 1.")
        return bounds


class SftPhase(PhaseParams):
    """Supervised fine-tuning on worked solutions."""

    method: Literal["sft"]
    examples_per_step: int = Field(ge=1)
    sft: dict[str, Any]  # fields of trl.SFTConfig

    @property
    def settings(self) -> dict[str, Any]:
        return self.sft

    @model_validator(mode="after")
    def _has_no_rewards(self) -> Self:
        if self.validation is not None and self.validation.metric == "reward":
            raise ValueError("validation.metric: an SFT phase has no rewards. Set it to accuracy.")
        return self


class RewardParams(BaseModel):
    """A reward with options, which are keyword arguments of its function: that of its name, or one of your own."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    weight: float
    function: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")  # package.module:function

    @property
    def options(self) -> dict[str, Any]:
        named = {} if self.function is None else {"function": self.function}
        return named | dict(self.model_extra or {})


class ResampleParams(Strict):
    """Groups whose completions all earned the same are redrawn from other prompts: DAPO's dynamic sampling."""

    rounds: int = Field(ge=1)  # at most so often a generation, so that a step costs 1 + rounds generations at most


class OnlineDifficultyParams(Strict):
    """Prompts whose last group had no spread of rewards, always or never solved, are drawn less."""

    skip: float = Field(gt=0, le=1)  # chance that such a prompt gives its place to another


class GrpoPhase(PhaseParams):
    """Reinforcement learning from the rewards named in `rewards`."""

    method: Literal["grpo"]
    prompts_per_step: int = Field(ge=1)  # groups per optimiser step; completions = this × grpo.num_generations
    # name -> weight, or {weight: …, option: …}; weight 0 is logged and teaches nothing
    rewards: dict[str, float | RewardParams] = Field(min_length=1)
    answer_grounding_weight: float = Field(ge=0)  # of the reference answer's likelihood after the model's reasoning
    sample_steps: int | None = Field(ge=1)  # how often a step's completions are kept with their grades
    resample: ResampleParams | None = None  # null: what was drawn is trained on, spread or not
    online_difficulty: OnlineDifficultyParams | None = None  # null: every prompt once an epoch
    grpo: dict[str, Any]  # fields of trl.GRPOConfig

    @field_validator("grpo")
    @classmethod
    def _has_a_group(cls, grpo: dict[str, Any]) -> dict[str, Any]:
        generations = grpo.get("num_generations")
        if not isinstance(generations, int) or generations < 2:
            raise ValueError(
                f"num_generations is {generations!r}; a group needs at least 2 completions to compare. "
                "Set num_generations, e.g. 8."
            )
        return grpo

    @model_validator(mode="after")
    def _some_reward_counts(self) -> Self:
        if not any(self.reward_weights.values()):
            raise ValueError("rewards: every weight is 0, so nothing could be learnt. Give one a weight.")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        return self.grpo

    @property
    def generation_steps(self) -> int:
        """Optimiser steps that one generation is trained on."""
        return int(self.grpo.get("steps_per_generation", 1)) * int(self.grpo.get("num_iterations", 1))

    @property
    def prompts_per_generation(self) -> int:
        return self.prompts_per_step * int(self.grpo.get("steps_per_generation", 1))

    @property
    def needs_others(self) -> str | None:
        """The key that lets prompts beside a generation's own take places in it, if there is one."""
        return next((key for key in ("resample", "online_difficulty") if getattr(self, key)), None)

    @property
    def reward_weights(self) -> dict[str, float]:
        return {name: r.weight if isinstance(r, RewardParams) else r for name, r in self.rewards.items()}

    @property
    def reward_options(self) -> dict[str, dict[str, Any]]:
        return {name: r.options if isinstance(r, RewardParams) else {} for name, r in self.rewards.items()}

    @property
    def completions_per_step(self) -> int:
        return self.prompts_per_step * int(self.grpo["num_generations"])


Phase = SftPhase | GrpoPhase
_BY_METHOD: dict[str, type[SftPhase] | type[GrpoPhase]] = {"sft": SftPhase, "grpo": GrpoPhase}


def load_phase_params(params: dict[str, Any], name: str) -> Phase:
    """`phases.<name>` as the model of its method. Raises: ParamsError."""
    entry = lookup(params, f"phases.{name}")
    method = entry.get("method") if isinstance(entry, dict) else None
    if not isinstance(method, str) or method not in _BY_METHOD:
        hint = nearest(str(method), _BY_METHOD)
        raise ParamsError(f"phases.{name}.method: {method!r} is no method.{hint} Allowed: {listing(_BY_METHOD)}.")
    return parse(entry, f"phases.{name}", _BY_METHOD[method])
