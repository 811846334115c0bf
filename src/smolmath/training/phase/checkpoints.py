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

from smolmath.errors import StageError
from smolmath.running.journal import write_whole
from smolmath.running.launch.config import SHARDED
from smolmath.training.phase.ranks import anywhere, is_first, processes, wait_for_all

MADE_BY = "processes.json"  # beside a checkpoint of several processes, once all have written their part


def last_whole_checkpoint(folder: Path, *, last_file: str = "trainer_state.json") -> Path | None:
    """The newest checkpoint whose last file to be written, a JSON one, is whole; others are removed.

    Of several processes each writes its random state, and the first one `MADE_BY` when all have.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for path in found:
        last = [last_file, MADE_BY] if any(path.glob("rng_state_*.pth")) else [last_file]
        try:
            for name in last:
                json.loads((path / name).read_text(encoding="utf-8"))
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


def refuse_other_kind(checkpoint: Path, kind: str | None) -> None:
    """What FSDP and ZeRO save can be read only by as many processes of the same kind.

    Args: kind: of accelerate's config now; None: a single process.
    Raises: StageError that names what the checkpoint was made by.
    """
    made = {"kind": None, "processes": 1}
    if (checkpoint / MADE_BY).is_file():
        made = json.loads((checkpoint / MADE_BY).read_text(encoding="utf-8"))
    now = {"kind": kind, "processes": processes()}
    if made != now and {made["kind"], kind} & set(SHARDED):
        raise StageError(
            f"{checkpoint} was made by {made['processes']} processes ({made['kind'] or 'no accelerate config'}), and "
            f"now there are {now['processes']} ({kind or 'no accelerate config'}), which can't read it. Put "
            "hardware.accelerate back, or start afresh: `smolmath work --clean`."
        )
    if made["processes"] != now["processes"]:
        print(
            f"{checkpoint.name} was made by {made['processes']} processes and {now['processes']} go on from it: what "
            "is sampled from here on differs from an undisturbed run",
            file=sys.stderr,
        )


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

    They fall on the borders of what was generated: within one a resumed run would generate anew, and differ. Several
    processes save and stop at the same step, whichever of them was asked to.
    """

    def __init__(self, minutes: float | None, border: int, stop: StopRequest, kind: str | None) -> None:
        """border: optimiser steps that one generation is trained on. kind: of accelerate's config, if there is one."""
        self.minutes, self.border, self.stop, self.kind = minutes, border, stop, kind
        self.saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.border:
            return
        due = self.minutes is not None and time.monotonic() - self.saved >= 60 * self.minutes
        stop, due = anywhere([self.stop.signal is not None, due], args.device)
        if stop:
            self.stop.signal = self.stop.signal or "SIGTERM"  # of another process
            control.should_save = control.should_training_stop = True
        elif due:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved = time.monotonic()
        if processes() == 1:
            return
        wait_for_all()
        if is_first():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_whole(folder / MADE_BY, json.dumps({"kind": self.kind, "processes": processes()}))
