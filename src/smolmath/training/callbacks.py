"""What is watched while a trainer runs: progress on the terminal, greedy accuracy on the validation side."""

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from smolmath.answers import grade
from smolmath.engines import Sampling
from smolmath.engines.transformers import TransformersEngine
from smolmath.params.phases import ValidationParams
from smolmath.params.prompt import PromptParams
from smolmath.progress import Advance
from smolmath.prompts import chat_prompt

VALIDATION_BATCH = 64


class ProgressCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Steps on the progress bar, with the number that people watch: the reward, or the loss."""

    def __init__(self, advance: Advance) -> None:
        self.advance, self.note = advance, ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        for name in ("reward", "loss"):
            if logs and name in logs:
                self.note = f"{name} {float(logs[name]):.3f}"
                break

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.advance(1, self.note)


class ValidationCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Greedy accuracy every few steps and at the end, logged as `validation_accuracy`."""

    def __init__(
        self,
        params: ValidationParams,
        problems: Sequence[dict[str, Any]],
        *,
        tokenizer: Any,
        prompt: PromptParams,
        max_completion_tokens: int,
    ) -> None:
        self.params, self.problems, self.tokenizer = params, problems, tokenizer
        self.prompt, self.max_completion_tokens = prompt, max_completion_tokens
        self.trainer: Any = None  # set once it exists: trainers take their callbacks when they are made

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step % self.params.every_steps == 0 or state.global_step == state.max_steps:
            # TRL merges this into the step's own log row; a row of its own would be a second step in the plots.
            self.trainer._metrics["train"]["validation_accuracy"].append(self.accuracy(model))

    def accuracy(self, model: Any) -> float:
        """Share of the validation problems that the model answers right, decoding greedily."""
        engine = TransformersEngine(model, self.tokenizer)
        sampling = Sampling(0.0, 1.0, 1, self.max_completion_tokens, 0)
        training = model.training
        model.eval()
        right = 0
        for start in range(0, len(self.problems), VALIDATION_BATCH):
            batch = self.problems[start : start + VALIDATION_BATCH]
            answers = engine.generate([chat_prompt(p["question"], self.prompt) for p in batch], sampling)
            for problem, (completion,) in zip(batch, answers, strict=True):
                verdict = grade(
                    completion.text,
                    problem["reference_answer"],
                    finished=completion.finish_reason == "stop",
                    tags=self.prompt.tags,
                )
                right += verdict.correct
        model.train(training)
        return right / len(self.problems)
