"""DVC's experiment queue: put experiments in, start its workers, see how each stands.

Changes go through the command line, DVC's public interface; the state of the queue is read through its Python API,
since `dvc queue status` prints for people.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from smolmath.errors import SmolmathError

# A name can occur several times, when it was queued again after a failure: what it is now counts.
_LATEST_FIRST = ("Running", "Queued", "Success", "Failed")
_LOCKED = ("Unable to acquire lock", "is busy, it is being blocked by", "is locked by")
ATTEMPTS = 30  # two seconds apart


class QueueError(SmolmathError):
    """DVC refused an experiment; the message has its words."""


def add(name: str, overrides: Sequence[str], targets: Sequence[str]) -> None:
    """Queue an experiment on the workspace as it is. An old one of the same name is replaced."""
    dvc("exp", "run", "--queue", "--force", "--name", name, *overrides, *targets)


def start(jobs: int) -> None:
    """Start workers up to `jobs`; those that have nothing to do end by themselves."""
    dvc("queue", "start", "--jobs", str(jobs))


def stop(name: str) -> None:
    """End a running experiment: its stage saves its state and exits. One that has just ended is left alone."""
    try:
        dvc("queue", "kill", name)
    except QueueError:
        if statuses().get(name) == "Running":
            raise


def statuses() -> dict[str, str]:
    """Name -> Running, Queued, Success or Failed, of every experiment that the queue knows."""
    from dvc.repo import Repo

    with Repo() as repo:
        found: dict[str, str] = {}
        for entry in repo.experiments.celery_queue.status():
            name, status = entry["name"], entry["status"]
            if name and (name not in found or _LATEST_FIRST.index(status) < _LATEST_FIRST.index(found[name])):
                found[name] = status
    return found


def has_workers() -> bool:
    """Whether a worker answers: after a crash or a reboot, what is called running no longer is."""
    from dvc.repo import Repo

    with Repo() as repo:
        return bool(repo.experiments.celery_queue.worker_status())


def dvc(*arguments: str) -> str:
    """Run DVC; waits while another DVC process holds a lock. Raises: QueueError with what it says."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for attempt in range(ATTEMPTS):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        said = (done.stderr.strip() or done.stdout.strip()).removeprefix("ERROR: ")
        if done.returncode == 0:
            return done.stdout
        if not any(words in said for words in _LOCKED) or attempt == ATTEMPTS - 1:
            break
        time.sleep(2)
    raise QueueError(f"dvc {' '.join(arguments)}: {said}")
