"""The processes of one machine: started, watched, and ended together.

Each is the stage's own script again, with torch's variables for where the others are, in a session of its own: a
terminal's Ctrl-C reaches the parent, which hands it on once. The first that ends badly ends all, since the rest would
wait for it, half an hour long.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from smolmath.running.launch.config import LostProcessError
from smolmath.running.launch.job import VARIABLE, Job
from smolmath.running.workers import available_cores

POLL_S = 0.1
CHECK_S = 1.0
GRACE_S = 5.0  # for the others to end by themselves, and say why, once one has ended badly


@dataclass(frozen=True)
class Ended:
    """The process that ended first, and badly."""

    rank: int
    status: int  # as Popen gives it: negative for a signal
    log: Path | None  # of its output; None: it wrote to this terminal

    @property
    def lost(self) -> bool:
        """Whether it ended only because another one had."""
        return self.status == LostProcessError.status

    @property
    def how(self) -> str:
        return f"was ended by {signal.Signals(-self.status).name}" if self.status < 0 else "ended with an error"

    @property
    def error(self) -> str:
        """Its error line and what follows, else the last line it wrote; empty for one that wrote to the terminal."""
        if self.log is None or not self.log.is_file():
            return ""
        text = "\n" + self.log.read_text(encoding="utf-8", errors="replace").strip()
        start = text.rfind("\nerror: ")
        return text[start if start >= 0 else text.rfind("\n") :].strip()


def run_machine(
    job: Job, path: Path, machine: int, threads: int | None, *, check: Callable[[], None] = lambda: None
) -> Ended | None:
    """Run this machine's processes of a job to their end; None if all ended well.

    Args: path: the job's file, beside which the processes log. machine: this one's number. threads: of all processes
    together on the CPU. check: called every second; where it raises, the processes are ended.
    """
    first = machine * job.per_machine
    logs = [path.with_name(f"process-{first + local}.log") for local in range(job.per_machine)]
    processes = []
    try:
        for local, log in enumerate(logs):
            shown = first + local == 0  # what process 0 says is what a single process would say
            with log.open("w", encoding="utf-8") as file:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *job.arguments],
                        cwd=job.folder,
                        env=os.environ | job.environment | _variables(job, path, first + local, local, threads),
                        stdout=None if shown else file,
                        stderr=None if shown else subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        with _handing_on(processes):
            bad = _watch(processes, check)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
    if bad is None:
        return None
    return Ended(first + bad, processes[bad].returncode, None if first + bad == 0 else logs[bad])


def _variables(job: Job, path: Path, rank: int, local: int, threads: int | None) -> dict[str, str]:
    each = max(1, (threads or available_cores()) // job.per_machine)
    return {
        VARIABLE: str(path),
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(job.processes),
        "LOCAL_WORLD_SIZE": str(job.per_machine),
        "MASTER_ADDR": job.address,
        "MASTER_PORT": str(job.port),
        "OMP_NUM_THREADS": str(each),
    }


def _watch(processes: Sequence[subprocess.Popen[bytes]], check: Callable[[], None]) -> int | None:
    """Index of the first process that ended badly; None when all have ended well."""
    checked = time.monotonic()
    while True:
        codes = [process.poll() for process in processes]
        if all(code == 0 for code in codes):
            return None
        if any(codes):
            deadline = time.monotonic() + GRACE_S
            while time.monotonic() < deadline and any(process.poll() is None for process in processes):
                time.sleep(POLL_S)
            bad = {index: code for index, process in enumerate(processes) if (code := process.poll())}
            # Rather one that was killed, and last of all one that has only lost another.
            return min(bad, key=lambda index: (bad[index] > 0, bad[index] == LostProcessError.status))
        if time.monotonic() - checked > CHECK_S:
            check()
            checked = time.monotonic()
        time.sleep(POLL_S)


@contextmanager
def _handing_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """SIGTERM and Ctrl-C, for the processes: they save at the end of the step, and at the second one they end."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
