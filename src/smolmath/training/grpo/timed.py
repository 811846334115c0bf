"""GRPOTrainer that says where its seconds go, keeps what it scored last, and finds its place in an epoch again."""

from contextlib import nullcontext
from typing import Any, NamedTuple

from torch import Tensor

from smolmath.training.grpo.resampled import ResamplingTrainer, without_spread
from smolmath.training.grpo.sampler import EpochSampler
from smolmath.training.phase.stopwatch import Stopwatch


class Scored(NamedTuple):
    """One generation: what this process drew, and the rewards of what all have drawn."""

    rows: list[dict[str, Any]]  # of the dataset
    texts: list[str]
    ids: list[list[int]]  # tokens of each
    rewards: Tensor  # (completions of all processes, functions), NaN where unscorable


class TimedTrainer(ResamplingTrainer):
    def __init__(self, *, stopwatch: Stopwatch, **keywords: Any) -> None:
        self.stopwatch = stopwatch
        self.scored: Scored | None = None
        super().__init__(**keywords)

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        theirs = super()._get_train_sampler(dataset)
        return EpochSampler(
            data_source=theirs.data_source,
            mini_repeat_count=theirs.mini_repeat_count,
            batch_size=theirs.batch_size,
            repeat_count=theirs.repeat_count,
            shuffle=theirs.shuffle,
            seed=theirs.seed,
        )

    def _generate(self, prompts: list[Any]) -> Any:
        # Autocast keeps its 16-bit copies of trained fp32 weights until the outermost context ends: here they are made
        # once for all tokens, without it once for each. vLLM has weights of its own, which nothing must cast.
        with self.stopwatch("generate"), nullcontext() if self.use_vllm else self.accelerator.autocast():
            return super()._generate(prompts)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        batch = super()._generate_and_score_completions(inputs)
        if self.scored is not None and self.model.training:
            flat = without_spread(self.scored.rewards, self.reward_weights, self.num_generations)
            self._metrics["train"]["frac_reward_zero_std"][-1] = float(flat.float().mean())
        return batch

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Any:
        with self.stopwatch("grade"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        texts = [completion[0]["content"] for completion in completions]
        self.scored = Scored(inputs, texts, completion_ids_list, rewards)
        return rewards
