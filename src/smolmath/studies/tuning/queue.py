"""DVC's experiment queue: put experiments in, start its workers, see how each stands.

Changes go through the command line, DVC's public interface; the state of the queue is read through its Python API,
since `dvc queue status` prints for people.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from smolmath.errors import SmolmathError

_LOCKED = ("Unable to acquire lock", "is busy, it is being blocked by")
ATTEMPTS = 30  # two seconds apart


class QueueError(SmolmathError):
    """DVC refused an experiment; the message has its words."""


@dataclass(frozen=True)
class Standing:
    """How an experiment stands. DVC calls one running whose machine went down: `alive` says whether its process is
    there, or is about to be."""

    status: str  # Running, Queued, Success or Failed
    alive: bool = True


def add(name: str, overrides: Sequence[str], targets: Sequence[str]) -> None:
    """Queue an experiment on the workspace as it is."""
    # Without --force, which would run every stage anew, and not only replace an experiment of this name.
    dvc("exp", "run", "--queue", "--name", name, *overrides, *targets)


def add_again(name: str, overrides: Sequence[str], targets: Sequence[str]) -> None:
    """Queue an experiment in place of one of this name that died or failed. A training goes on from its checkpoint."""
    for forget in (("queue", "kill", name), ("queue", "remove", name), ("exp", "remove", name)):
        with contextlib.suppress(QueueError):  # each where there is something
            dvc(*forget)
    add(name, overrides, targets)


def start(jobs: int) -> None:
    """Start workers up to `jobs`; those that have nothing to do end by themselves."""
    if workers() < jobs:
        dvc("queue", "start", "--jobs", str(jobs))


def stop(name: str) -> bool:
    """End a running experiment: its stage saves its state and exits. False if it can't be, since it just begins or
    ends."""
    try:
        dvc("queue", "kill", name)
    except QueueError:
        return False
    return True


def standings() -> dict[str, Standing]:
    """Name -> how it stands, of every experiment that the queue knows; of several with one name the latest."""
    with _queue() as queue:
        entries = sorted(queue.status(), key=lambda entry: str(entry["timestamp"]))
        return {
            entry["name"]: Standing(entry["status"], entry["status"] != "Running" or _is_alive(queue, entry["rev"]))
            for entry in entries
            if entry["name"]
        }


def workers() -> int:
    """Worker processes of this repository's queue."""
    with _queue() as queue:
        folder = queue.wdir
    name = f"dvc-exp-{hashlib.sha256(folder.encode()).hexdigest()[:6]}-"  # as dvc names them (queue/celery.py)
    return sum(
        any(word.startswith(name) for word in p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])
    )


@contextlib.contextmanager
def _queue() -> Iterator[Any]:
    """DVC's. Raises: QueueError where its config says that there is no Git (`core.no_scm`), as `make setup` does."""
    from dvc.repo import Repo
    from dvc.scm import NoSCMError

    with Repo() as repo:
        try:
            experiments = repo.experiments
        except NoSCMError as error:
            raise QueueError(str(error)) from None
        yield experiments.celery_queue


def _is_alive(queue: Any, rev: str) -> bool:
    process = queue.proc.get(rev)
    if process is None:  # its workspace is being set up
        return workers() > 0
    try:
        found = psutil.Process(process.pid)
        return found.status() != psutil.STATUS_ZOMBIE and any("dvc" in word for word in found.cmdline())
    except psutil.Error:
        return False


def dvc(*arguments: str) -> str:
    """Run DVC; waits while another DVC process holds a lock. Raises: QueueError with what it says."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for attempt in range(ATTEMPTS):
        # Files, no pipes: `queue start` leaves workers behind that hold both ends' copies, and a pipe is read until
        # the last of them has ended.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(
                [sys.executable, "-m", "dvc", *arguments], env=environment, stdout=out, stderr=err, check=False
            )
            out.seek(0)
            err.seek(0)
            printed, warned = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        said = (warned.strip() or printed.strip()).removeprefix("ERROR: ")
        if done.returncode == 0:
            return printed
        if not any(words in said for words in _LOCKED) or attempt == ATTEMPTS - 1:
            break
        time.sleep(2)
    raise QueueError(f"dvc {' '.join(arguments)}: {said}")
