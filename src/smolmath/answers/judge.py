"""Symbolic equality, decided by math-verify in a process that can be killed.

math-verify guards itself with SIGALRM, which neither works in threads nor stops every hang, so the guard is a process:
a warm worker answers, a warm spare stands by, and a worker that overruns is killed. Nothing starts before the first
question, and the first one waits for the import (a second or two); plain numbers never ask.

Workers are fresh interpreters, never forks: the parent may hold torch, a CUDA context and threads. They end with the
parent, because their stdin closes.
"""

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time

# CPU time of one question, kept by the worker's own timer: a busy machine gives the same verdicts as an idle one.
TIME_LIMIT_S = 0.5
WALL_LIMIT_S = 0.9  # time the parent waits for it at most
START_LIMIT_S = 120.0  # importing sympy on a machine that is busy training


class _Worker:
    """One worker process and the bytes that have come from it."""

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

    def ask(self, request: dict[str, str | int | float]) -> bool | None:
        """The verdict, or None if the worker died or overran; it is then of no more use."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        except OSError:
            return None
        reply = self._read_line(WALL_LIMIT_S)
        return None if reply is None else bool(json.loads(reply)["equal"])

    def _read_line(self, limit_s: float) -> bytes | None:
        stdout = self.process.stdout
        assert stdout is not None
        deadline, line = time.monotonic() + limit_s, b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
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
    """Answers one question at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._spare: _Worker | None = None

    def equal(self, *, predicted: str, reference: str, places: int = 0) -> bool | None:
        """Whether two normalised LaTeX answers are equal; None where that was not decided in time.

        Args:
            predicted: the completion's answer.
            reference: the problem's answer.
            places: decimal places of the reference if it is a decimal, for values that round to it.
        """
        request: dict[str, str | int | float] = {
            "predicted": predicted, "reference": reference, "places": places, "limit_s": TIME_LIMIT_S,
        }  # fmt: skip
        with self._lock:
            worker = self._worker or self._spare or _Worker()
            self._spare = None if worker is self._spare else self._spare
            self._worker = worker
            if not worker.wait_until_ready():
                self._worker = None
                worker.kill()
                raise RuntimeError(
                    f"The process that compares symbolic answers did not start within {START_LIMIT_S:.0f} s: "
                    "run `python -m smolmath.answers.judge_worker < /dev/null` to see why."
                )
            if self._spare is None:
                self._spare = _Worker()
            verdict = worker.ask(request)
            if verdict is None:
                self._worker = None
                worker.kill()
            return verdict

    def close(self) -> None:
        """End the processes; the next question starts new ones."""
        with self._lock:
            for worker in (self._worker, self._spare):
                if worker:
                    worker.kill()
            self._worker = self._spare = None

    def forget(self) -> None:
        """After a fork the processes belong to the parent, and its lock may have been held."""
        self._lock = threading.Lock()
        for worker in (self._worker, self._spare):
            if worker:
                worker.drop()
                worker.process.returncode = 0  # not ours to wait for, nor to warn about
        self._worker = self._spare = None


JUDGE = Judge()
atexit.register(JUDGE.close)
os.register_at_fork(after_in_child=JUDGE.forget)
