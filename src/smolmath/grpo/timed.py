"""GRPOTrainer that says where its seconds go, and keeps what it scored last for whoever samples it."""

from typing import Any

from trl import GRPOTrainer

from smolmath.training.stopwatch import Stopwatch

# (rows of the dataset, texts, token ids, rewards of shape (completions, functions)) of one generation
Scored = tuple[list[dict[str, Any]], list[str], list[list[int]], Any]


class TimedTrainer(GRPOTrainer):  # type: ignore[misc]  # trl is untyped here
    def __init__(self, *, stopwatch: Stopwatch, **keywords: Any) -> None:
        self.stopwatch = stopwatch
        self.scored: Scored | None = None
        super().__init__(**keywords)

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
