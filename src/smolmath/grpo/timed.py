"""GRPOTrainer that says where its seconds go, keeps what it scored last, and finds its place in an epoch again."""

from typing import Any

from trl import GRPOTrainer

from smolmath.grpo.sampler import EpochSampler
from smolmath.training.stopwatch import Stopwatch

# (rows of the dataset, texts, token ids, rewards of shape (completions, functions)) of one generation
Scored = tuple[list[dict[str, Any]], list[str], list[list[int]], Any]


class TimedTrainer(GRPOTrainer):  # type: ignore[misc]  # trl is untyped here
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
        with self.stopwatch("generate"):
            return super()._generate(prompts)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Any:
        with self.stopwatch("grade"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        texts = [completion[0]["content"] for completion in completions]
        self.scored = (inputs, texts, completion_ids_list, rewards)
        return rewards
