"""What a killed training goes on from, and how one that is asked to stop ends well."""

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback


def last_whole_checkpoint(folder: Path, *, last_file: str = "trainer_state.json") -> Path | None:
    """The newest checkpoint whose last file to be written, a JSON one, is whole; others are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for path in found:
        try:
            json.loads((path / last_file).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            print(f"{path.name} is incomplete and removed", file=sys.stderr)
            shutil.rmtree(path)
        else:
            return path
    return None


def log_history(checkpoint: Path | None) -> list[dict[str, Any]]:
    """The rows that were logged up to a checkpoint; none without one."""
    if checkpoint is None:
        return []
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return list(state["log_history"])


class StopRequest:
    """SIGTERM (a job limit, a spot instance) or Ctrl-C: noted, and obeyed at the end of a step. A second one ends at
    once."""

    def __init__(self) -> None:
        self.signal: str | None = None  # its name, once there was one

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Notice signals while the body runs."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        self._before = before
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        print(f"{self.signal}: saving at the end of this step; once more to stop at once", file=sys.stderr, flush=True)
        for known, handler in self._before.items():
            signal.signal(known, handler)


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Checkpoints by time, beside those by steps, and the last one before a stop.

    They fall on the borders of what was generated: within one a resumed run would generate anew, and differ.
    """

    def __init__(self, minutes: float | None, border: int, stop: StopRequest) -> None:
        """border: optimiser steps that one generation is trained on."""
        self.minutes, self.border, self.stop = minutes, border, stop
        self.saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.border:
            return
        if self.stop.signal:
            control.should_save = control.should_training_stop = True
        elif self.minutes is not None and time.monotonic() - self.saved >= 60 * self.minutes:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
