"""The longest pass that a phase can have, tried before step 1: out of memory is met then, and not at step 120.

Forward and backward for a full micro-batch of the longest sequences that the params allow, with room held for the
optimiser's moments. Nothing of it is kept: no gradient, no random number, no logged value. Its time bounds the run's.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from transformers import TrainerCallback

from smolmath.errors import StageError
from smolmath.training.phase.arguments import largest_divisor
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.ranks import processes


class WorstPassCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Tries it when the trainer has prepared its model. One process: several would have to try as one."""

    def __init__(
        self, context: PhaseContext[Any], trainer: Any, loss: Callable[[Any, int], torch.Tensor], steps_drawn: float
    ) -> None:
        """Args:
        loss: of the trainer for as many of the longest sequences.
        steps_drawn: how many steps' completions the look before has drawn; 0 where a method draws none.
        """
        self.context, self.trainer, self.loss, self.steps_drawn = context, trainer, loss, steps_drawn
        self.forecast: float | None = None  # seconds that the run takes at most, but for validation

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step or processes() > 1:
            return
        rows, model = args.per_device_train_batch_size, self.trainer.model
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        looked = self.context.stopwatch.total["preflight"]
        began = time.perf_counter()
        try:
            with torch.random.fork_rng(devices=_devices(model)), self.context.stopwatch("preflight"):
                moments = [torch.empty_like(weight) for weight in trained for _ in range(2)]
                self.loss(self.trainer, rows).backward()
                del moments
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise StageError(self._too_much(rows, str(error))) from error
        finally:
            model.zero_grad(set_to_none=True)
            self.trainer._metrics["train"].clear()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        passes = args.gradient_accumulation_steps * (time.perf_counter() - began)
        drawing = looked / self.steps_drawn if self.steps_drawn else 0.0
        self.forecast = args.max_steps * (passes + drawing)
        most = timedelta(seconds=round(self.forecast))
        print(f"{self.context.name}: at most about {most} for {args.max_steps} steps")

    def _too_much(self, rows: int, error: str) -> str:
        phase, name = self.context.phase, self.context.name
        first = error.strip().splitlines()[0] if error.strip() else "out of memory"
        ways = ["lower max_completion_length or max_length, which starts the phase afresh"]
        if not phase.settings.get("gradient_checkpointing", True):
            ways.insert(0, "set gradient_checkpointing: true, which starts the phase afresh")
        if rows > 1:
            ways.insert(0, f"set hardware.micro_batch: {largest_divisor(rows, rows // 2)}")
        return (
            f"{name}: the longest pass that it can have, {rows} sequences at once, does not fit into memory "
            f"({first}). Nothing has been trained yet: {', or '.join(ways)}."
        )


def _devices(model: Any) -> list[Any]:
    return [model.device] if model.device.type == "cuda" else []
