"""What is watched while a trainer runs: progress, seconds by activity, memory, alerts, W&B, a loss that is lost."""

import math
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback

from smolmath.errors import StageError
from smolmath.running.progress import Advance
from smolmath.running.tracking import Tracker
from smolmath.training.phase.alerts import new_alerts
from smolmath.training.phase.curves import named
from smolmath.training.phase.stopwatch import Stopwatch

ACTIVITIES = ("generate", "grade", "train")  # of a step; train is what remains of it
COMPUTED = ("real", "computed")  # tokens of a step's passes, without and with padding: the hardware's, in no curve


class WatchCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Must be the first of smolmath's callbacks: its step ends before validation begins."""

    def __init__(
        self,
        name: str,
        *,
        stopwatch: Stopwatch,
        advance: Advance,
        tracker: Tracker | None,
        validation_problems: int | None,
    ) -> None:
        """Args: advance: the progress line's."""
        self.name, self.stopwatch, self.advance, self.tracker = name, stopwatch, advance, tracker
        self.validation_problems = validation_problems
        self.alerts: list[str] = []
        self.step_seconds: list[float] = []
        self.speeds: list[float] = []  # tokens per second of each step
        self.computed: Counter[str] = Counter()
        self._began = self._logged = time.perf_counter()
        self._tokens = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tokens = max((row.get("num_tokens") or 0.0 for row in state.log_history), default=0.0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step_seconds.append(time.perf_counter() - self._began)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        step, row = state.global_step, state.log_history[-1]
        self._refuse_lost_loss(row, args)
        lap = self.stopwatch.lap()
        seconds = self.step_seconds[-1]
        cost = {f"seconds_{name}": lap.get(name, 0.0) for name in ACTIVITIES}
        cost["seconds_train"] = seconds - cost["seconds_generate"] - cost["seconds_grade"]
        self.stopwatch.total["train"] += cost["seconds_train"]
        tokens = row.get("num_tokens") or self._tokens
        if tokens < self._tokens:  # SFTTrainer counts anew when it is resumed
            self._tokens = 0.0
        cost["tokens_per_s"] = (tokens - self._tokens) / seconds
        self._tokens = tokens
        self.speeds.append(cost["tokens_per_s"])
        cost["memory_mb"] = memory_mb()
        passes = {name: row[f"tokens/{name}"] for name in COMPUTED if f"tokens/{name}" in row}
        self.computed.update({name: int(tokens) for name, tokens in passes.items()})
        cost |= {f"tokens_{name}": tokens for name, tokens in passes.items()}
        for alert in new_alerts(state.log_history, self.validation_problems):
            self.alerts.append(f"step {step}: {alert}")
            print(f"alert: {self.name}, step {step}: {alert}", file=sys.stderr, flush=True)
        if self.tracker:
            self.tracker.log(step, named(row) | cost)
        what = "reward" if row.get("reward") is not None else "loss"  # None: no completion could be scored
        self.advance(1, f"{what} {float(row[what]):.3f}")
        self._logged = time.perf_counter()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.stopwatch.add("checkpoint", time.perf_counter() - self._logged)

    def facts(self) -> dict[str, Any]:
        """For the journal: seconds by activity, medians of a step, memory, alerts; of this process alone."""
        seconds = {name: round(value, 1) for name, value in sorted(self.stopwatch.total.items())}
        facts: dict[str, Any] = {"seconds_by_activity": seconds}
        if self.step_seconds:
            facts["median_step_seconds"] = round(statistics.median(self.step_seconds), 3)
            facts["median_tokens_per_s"] = round(statistics.median(self.speeds), 1)
        if self.computed:
            facts["tokens_of_passes"] = dict(self.computed)
        if torch.cuda.is_available():
            facts["peak_gpu_memory_mb"] = memory_mb()
        return facts | {"alerts": self.alerts}

    def _refuse_lost_loss(self, row: Mapping[str, Any], args: Any) -> None:
        """Stop before a checkpoint of lost weights can be written: the log comes before the save."""
        lost = [name for name in ("loss", "grad_norm") if not math.isfinite(float(row.get(name) or 0.0))]
        if args.fp16 and lost == ["grad_norm"]:
            return  # fp16 finds its scale by overflowing; such a step is skipped
        if lost:
            raise StageError(
                f"{self.name}: the {lost[0]} of step {row['step']} is {row[lost[0]]}, so the weights are lost. The "
                "last checkpoint before it is kept. Lower the learning rate, set max_grad_norm, or use model.dtype "
                "float32."
            )


def memory_mb() -> int:
    """Peak of the GPU's memory, or of this process's where there is none, in MB."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() / 1024**2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024))
