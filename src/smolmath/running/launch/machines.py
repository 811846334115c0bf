"""Several machines: how those that wait (`smolmath join`) learn of a stage that machine 0 starts, and of its end.

They share a folder, which training on several machines needs anyway: machine 0 puts a file there for each launch, and
every machine counts up in a file of its own while it is there. Who stops counting is gone. No ssh, no server, and the
same on a Slurm cluster and on one of rented machines.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smolmath.errors import SmolmathError
from smolmath.running.journal import write_whole
from smolmath.running.launch.config import LaunchError
from smolmath.running.launch.job import Job
from smolmath.running.launch.machine import Ended, run_machine

BEAT_S = 2.0
GONE_S = 30.0  # without a beat: shared folders may show a change seconds late
LOOK_S = 1.0


def launches(workspace: Path) -> Path:
    return workspace / ".work" / "launches"


class Launch:
    """One launch of a job on several machines; `path` is its file, and what belongs to it stands beside that."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def beat_file(self, machine: int) -> Path:
        return self.path.with_suffix(f".beat-{machine}")

    def ended_file(self, machine: int) -> Path:
        return self.path.with_suffix(f".ended-{machine}")

    @property
    def job_file(self) -> Path:
        return Path(self.path.read_text(encoding="utf-8"))

    def remove(self) -> None:
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            path.unlink(missing_ok=True)


class Pulse:
    """Whether another machine still counts, by this machine's clock alone: those of two machines differ."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen, self.at = path, "", time.monotonic()

    @property
    def begun(self) -> bool:
        return self.path.is_file()

    def gone(self) -> bool:
        with suppress(OSError):
            now = self.path.read_text(encoding="utf-8")
            if now != self.seen:
                self.seen, self.at = now, time.monotonic()
        return time.monotonic() - self.at > GONE_S


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Count up in the file while the body runs."""
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while True:
            with suppress(OSError):  # a full or slow disk: the next one counts
                write_whole(path, str(count := count + 1))
            if ended.wait(BEAT_S):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)


def run_on_machines(job: Job, path: Path, folder: Path, threads: int | None) -> Ended | None:
    """Run a job as machine 0, with the others that have joined; None if all ended well.

    Args: path: the job's file. folder: `launches` of the workspace.
    Raises: LaunchError that names a machine that is gone, or whose processes ended badly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = path.parent.name
    for old in folder.glob(f"{state}-*"):  # of a run that was killed: this one holds the state now
        old.unlink(missing_ok=True)
    launch = Launch(folder / f"{state}-{os.getpid()}.launch")
    others = {machine: Pulse(launch.beat_file(machine)) for machine in range(1, job.machines)}

    def check() -> None:
        for machine, pulse in others.items():
            ended = launch.ended_file(machine)
            if ended.is_file() and (message := ended.read_text(encoding="utf-8")):
                raise LaunchError(f"{job.name}: on machine {machine} {message}")
            if not ended.is_file() and pulse.gone():
                raise LaunchError(
                    f"{job.name}: machine {machine} of {job.machines} is gone: it has not been heard of for "
                    f"{GONE_S:.0f} s. All its processes are ended. `dvc repro` goes on from the last whole checkpoint."
                )

    with beating(launch.beat_file(0)):
        write_whole(launch.path, str(path))
        try:
            _wait_for(job, others)
            ended = run_machine(job, path, 0, threads, check=check)
            # Where all went well or one was lost, the others have the last word.
            while (ended is None or ended.lost) and not all(
                launch.ended_file(machine).is_file() for machine in others
            ):
                check()
                time.sleep(LOOK_S)
            check()
            return ended
        finally:
            launch.remove()


def _wait_for(job: Job, others: dict[int, Pulse]) -> None:
    named: list[int] = []
    while missing := [machine for machine, pulse in others.items() if not pulse.begun]:
        if missing != named:
            names = ", ".join(map(str, missing))
            print(f"{job.name}: waiting for machine {names}: run `smolmath join --machine NUMBER` there", flush=True)
            named = missing
        time.sleep(LOOK_S)
    for pulse in others.values():
        pulse.at = time.monotonic()


def join_launches(
    folder: Path, machine: int, over: Path | None, run: Callable[[Job, Path, Callable[[], None]], Ended | None]
) -> None:
    """Take part as `machine` in every launch that machine 0 begins, until the file `over` is there; None: for ever.

    Args: run: runs this machine's processes of a job, its file given; it is to call its last argument now and then.
    """
    done: set[str] = set()
    while over is None or not over.is_file():
        for path in sorted(folder.glob("*.launch")):
            launch = Launch(path)
            pulse = Pulse(launch.beat_file(0))
            if path.name in done or not pulse.begun:
                continue
            with suppress(FileNotFoundError):  # it has ended in the meantime
                job = Job.read(launch.job_file)
                if machine < job.machines:
                    _take_part(launch, job, machine, pulse, run)
                    done.add(path.name)
        time.sleep(LOOK_S)


def _take_part(
    launch: Launch,
    job: Job,
    machine: int,
    pulse: Pulse,
    run: Callable[[Job, Path, Callable[[], None]], Ended | None],
) -> None:
    def check() -> None:
        if not launch.path.is_file() or pulse.gone():
            raise LaunchError(f"{job.name}: machine 0 has ended it")

    print(f"{job.name}: takes part as machine {machine} of {job.machines}", flush=True)
    with beating(launch.beat_file(machine)):
        try:
            ended = run(job, launch.job_file, check)
            message = ""
            if ended is not None and not ended.lost:
                message = f"process {ended.rank} {ended.how}. {ended.error}".strip()
        except SmolmathError as error:
            message = str(error)
        if launch.path.is_file():
            write_whole(launch.ended_file(machine), message)
    print(message or f"{job.name}: done", flush=True)
