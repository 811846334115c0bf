"""Symbolic equality, decided by math-verify outside this process.

math-verify guards itself with SIGALRM, which neither works in threads nor stops every hang, so the guard is a process:
judge_worker.py, which forks the children that answer and replaces one that overruns within milliseconds. It is started
by the first question, or by `warm_up`, and takes a second or two to import sympy; plain numbers never need it.

The process is a fresh interpreter, never a fork of this one, which may hold torch, a CUDA context and threads. It ends
with its parent, because its stdin closes.
"""

import atexit
import contextlib
import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import Counter

START_LIMIT_S = 120.0  # importing sympy on a machine that is busy training
TIME_LIMIT_S = 0.4  # CPU time of one question
HANG_LIMIT_S = 60.0  # without a reply; CPU time is limited, but sixty processes may share two cores
LOOK_S = 0.5  # between two looks at whether the other end still runs

log = logging.getLogger(__name__)


def can_be_read(pipe: int, pid: int, limit_s: float = HANG_LIMIT_S) -> bool:
    """Wait until there is something to read, also the end of the file; False if the process at the other end is stuck.

    A busy machine is waited for. A process that was stopped is not, and neither is one that hangs for the limit.
    """
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not selector.select(LOOK_S):
            import psutil  # seldom needed

            try:
                stopped = psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
            except psutil.NoSuchProcess:
                stopped = True
            if stopped or time.monotonic() > deadline:
                return False
    return True


class _Worker:
    """The process at the other end of two pipes."""

    def __init__(self) -> None:
        # The worker must import the checkout that its parent runs, wherever PYTHONPATH or an editable install point.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "smolmath.answers.judge_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            bufsize=0,
        )
        self.ready = False

    def wait_until_ready(self) -> bool:
        if not self.ready:
            self.ready = self._read_line(START_LIMIT_S) is not None
        return self.ready

    def ask(self, request: dict[str, str | int | float]) -> tuple[bool | str, float]:
        """The verdict, or why there is none; and the CPU time that it took, in seconds."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        reply = self._read_line(HANG_LIMIT_S)
        if reply is None:
            return "lost", 0.0
        verdict, seconds = json.loads(reply)
        return verdict, seconds

    def _read_line(self, limit_s: float) -> bytes | None:
        """A line, None if the process is gone or stuck."""
        stdout = self.process.stdout
        assert stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            if not can_be_read(stdout.fileno(), self.process.pid, limit_s):
                return None
            chunk = os.read(stdout.fileno(), 4096)
            if not chunk:
                return None
            line += chunk
        return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.drop()

    def drop(self) -> None:
        """Close our ends of the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


class Judge:
    """Answers one question at a time, from any thread.

    `counts` holds the questions so far, and those without a verdict: "overrun" (the time limit), "died" (the child
    that computed it) and "lost" (the whole process).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self.counts: Counter[str] = Counter()

    def warm_up(self) -> None:
        """Start the process, if it isn't there, and don't wait for it."""
        if self._worker:
            return
        with self._lock:
            self._worker = self._worker or _Worker()

    def equal(self, *, predicted: str, reference: str, places: int = 0) -> bool | None:
        """What `ask` says, within its usual limit."""
        return self.ask(predicted=predicted, reference=reference, places=places)[0]

    def ask(
        self, *, predicted: str, reference: str, places: int = 0, limit_s: float = TIME_LIMIT_S
    ) -> tuple[bool | None, float]:
        """Whether two normalised LaTeX answers are equal, None where that was not decided; and the CPU seconds spent.

        Args:
            predicted: the completion's answer.
            reference: the problem's answer.
            places: decimal places of the reference if it is a decimal, for values that round to it.
            limit_s: CPU time that the question may take.
        """
        with self._lock:
            worker = self._worker = self._worker or _Worker()
            if not worker.wait_until_ready():
                self._worker = None
                worker.kill()
                raise RuntimeError(
                    f"The process that compares symbolic answers did not start within {START_LIMIT_S:.0f} s: "
                    "run `python -m smolmath.answers.judge_worker < /dev/null` to see why."
                )
            self.counts["questions"] += 1
            verdict, seconds = worker.ask(
                {"predicted": predicted, "reference": reference, "places": places, "limit_s": limit_s}
            )
            if isinstance(verdict, bool):
                return verdict, seconds
            self.counts[verdict] += 1
            if verdict == "lost":
                self._worker = None
                worker.kill()
            log.warning(
                "no verdict (%s, %d so far), which counts as not equal: %.80r against %.80r",
                verdict, self.counts[verdict], predicted, reference,
            )  # fmt: skip
            return None, seconds

    def close(self) -> None:
        """End the process; the next question starts a new one."""
        with self._lock:
            if self._worker:
                self._worker.kill()
            self._worker = None

    def forget(self) -> None:
        """After a fork the process belongs to the parent, and its lock may have been held."""
        self._lock = threading.Lock()
        if self._worker:
            self._worker.drop()
            self._worker.process.returncode = 0  # not ours to wait for, nor to warn about
        self._worker = None


JUDGE = Judge()
atexit.register(JUDGE.close)
os.register_at_fork(after_in_child=JUDGE.forget)
