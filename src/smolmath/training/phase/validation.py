"""Greedy answers to a fixed part of the validation side every few steps: the curve's accuracy, and the best step.

Scores are read from the trainer's log history, which its checkpoints carry, so that a resumed run picks as an
undisturbed one. The weights of the best step lie in the state directory until the phase ends.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from transformers import TrainerCallback

from smolmath.engines import Completion, Sampling
from smolmath.engines.transformers import TransformersEngine
from smolmath.params.phases import ValidationParams
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.ranks import is_first, joined, share
from smolmath.training.phase.weights import save_weights

T = TypeVar("T")

VALIDATION_BATCH = 64


def best_step(history: Sequence[Mapping[str, Any]], metric: str) -> tuple[int, float] | None:
    """(step, score) of the best validation; of equal ones the later, which has learnt more. None before the first."""
    validated = [row for row in history if f"validation_{metric}" in row]
    if not validated:
        return None
    best = max(validated, key=lambda row: (row[f"validation_{metric}"], row["step"]))
    return int(best["step"]), float(best[f"validation_{metric}"])


def out_of_patience(history: Sequence[Mapping[str, Any]], params: ValidationParams | None) -> bool:
    """Whether the last `patience` validations brought nothing better."""
    if params is None or params.patience is None:
        return False
    scores = [row[f"validation_{params.metric}"] for row in history if f"validation_{params.metric}" in row]
    before = scores[: -params.patience]
    return bool(before) and max(scores[-params.patience :]) < max(before)


class ValidationCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Validates every `every_steps` and at the end; keeps the best weights; ends the phase when patience is out."""

    def __init__(self, context: PhaseContext[Any], problems: Sequence[dict[str, Any]], trainer: Any) -> None:
        """Args: problems: of the validation side, that are answered each time."""
        self.context, self.problems, self.trainer = context, problems, trainer
        self.params: ValidationParams = context.phase.validation

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        step = state.global_step
        if step % self.params.every_steps and step != state.max_steps:
            return
        with self.context.stopwatch("validate"):
            scores = self.validate(model, step)
            # TRL merges this into the step's own log row; a row of its own would be a second step in the plots.
            for name, value in scores.items():
                self.trainer._metrics["train"][name].append(value)
            history = [*state.log_history, {"step": step, **scores}]
            best = best_step(history, self.params.metric)
            if best and best[0] == step:
                save_weights(self.trainer, self.context.best / f"step-{step}")
        if out_of_patience(history, self.params):
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Only now: a run that is killed before its checkpoint is whole goes back to a step at which another was best.
        best = best_step(state.log_history, self.params.metric)
        for path in self.context.best.glob("step-*") if is_first() else ():
            if best and path.name != f"step-{best[0]}":
                shutil.rmtree(path)

    def validate(self, model: Any, step: int) -> dict[str, float]:
        """`validation_accuracy`, and `validation_reward` where the phase has rewards; the answers become samples."""
        context, mine = self.context, share(self.problems)
        with self.trainer.accelerator.autocast():  # as a step computes, with each weight cast once for all tokens
            completions = answer_greedily(
                model, context.tokenizer, mine, context.prompt, context.max_completion_tokens, batch=VALIDATION_BATCH
            )
        rows = joined(context.samples.rows("validation", step, mine, completions, context.score), len(self.problems))
        context.samples.keep("validation", step, rows)
        scores = {"validation_accuracy": sum(row["correct"] for row in rows) / len(rows)}
        rewards = [row["reward"] for row in rows if row["reward"] is not None]
        if rewards:
            scores["validation_reward"] = sum(rewards) / len(rewards)
        return scores


def answer_greedily(
    model: Any,
    tokenizer: Any,
    problems: Sequence[Mapping[str, Any]],
    prompt: PromptParams,
    max_completion_tokens: int,
    *,
    batch: int,
) -> list[Completion]:
    """One greedy completion per problem from a model that is being trained, which is left in the mode it was in."""
    engine = TransformersEngine(model, tokenizer)
    sampling = Sampling(0.0, 1.0, 1, max_completion_tokens, 0)

    def answer() -> list[Completion]:
        return [
            completion
            for start in range(0, len(problems), batch)
            for (completion,) in engine.generate(
                [chat_prompt(p["question"], prompt) for p in problems[start : start + batch]], sampling
            )
        ]

    return in_eval_mode(model, answer)


def in_eval_mode(model: Any, action: Callable[[], T]) -> T:
    """`action()` with dropout off, and the mode put back."""
    training = model.training
    model.eval()
    try:
        return action()
    finally:
        model.train(training)
