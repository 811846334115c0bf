"""A training in several processes: the stage's script runs again in each, started by torch's elastic launcher.

The process that DVC started holds lock and GPUs, launches, and publishes when all have ended well. Process 0 writes
the outs; what it has for the journal is in a file. Other machines take part by torchrun, which runs this module:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 --rdzv-id smolmath \\
        --module smolmath.running.launch.stage
"""

import json
import os
import runpy
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smolmath.params.core import read_params
from smolmath.running.devices import visible_gpus
from smolmath.running.journal import machine, peak_memory_mb
from smolmath.running.launch.config import LaunchError, checked_config, environment
from smolmath.running.launch.elastic import part_of_processes, run_processes
from smolmath.running.launch.job import FILE, Job, packages, refuse_difference
from smolmath.running.params import HardwareParams
from smolmath.running.runs import (
    StageRun,
    ending_well,
    find_stage,
    main_workspace,
    refuse_foreign_checkout,
    stage_run,
)
from smolmath.running.workers import end_with, threads_of_each

FACTS = "facts.json"
MACHINES = "smolmath"  # how machines that meet call what they meet for: --rdzv-id
PORT = 29500


class PartRun(StageRun):
    """The stage's run as one of its processes sees it: the process that started it locks, cleans up and publishes."""

    def out(self, path: str | Path) -> Path:
        return self.part(path)


@contextmanager
def stage_in_processes(name: str) -> Iterator[StageRun | None]:
    """As `stage_run`, with all GPUs that the stage may use. Yields None where other processes did the work."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        with ending_well(name), part_of_processes(), _part(name) as part:
            yield part
        return
    with stage_run(name, gpus=_gpus) as run:
        hardware = run.section("hardware", HardwareParams)
        if hardware.accelerate is None:
            yield run
        else:
            _run_processes(run, hardware)
            yield None


def _gpus(hardware: HardwareParams) -> int | None:
    return 1 if hardware.accelerate is None else checked_config(hardware).per_machine


def _run_processes(run: StageRun, hardware: HardwareParams) -> None:
    """Raises: StageError if one of them ends badly; LaunchError if they don't meet."""
    config = checked_config(hardware)
    for out in run.stage.outs:
        run.out(out)
    Job(
        name=run.stage.name,
        arguments=sys.argv,
        deps=run.deps,
        params=run.values,
        hardware=hardware.model_dump(),
        packages=packages(),
        state=str(run.state),
        machines=config.machines,
    ).write(run.state.parent / FILE)
    facts = run.state / FACTS
    facts.unlink(missing_ok=True)
    several = config.machines > 1
    count = config.per_machine or len(visible_gpus())
    run_processes(
        [sys.executable, *sys.argv],
        name=MACHINES if several else run.stage.name,
        count=count,
        logs=run.state / "processes",
        threads=threads_of_each(hardware.threads, count),
        machines=config.machines,
        address=f"{config.address or socket.gethostname()}:{config.port or PORT}" if several else None,
        wait_minutes=hardware.wait_minutes,
    )
    run.facts |= json.loads(facts.read_text(encoding="utf-8"))


@contextmanager
def _part(name: str) -> Iterator[PartRun]:
    """One of the processes: the run that it takes part in."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    end_with(os.getppid())
    refuse_foreign_checkout()
    path = main_workspace() / ".work" / name / FILE
    if not path.is_file():
        raise LaunchError(f"{name}: process {rank} does not see {path}. All machines must mount that folder.")
    job = Job.read(path)
    params = read_params()
    run = PartRun(find_stage(name, params), params)
    hardware = run.section("hardware", HardwareParams)
    here = {"deps": run.deps, "params": run.values, "hardware": hardware.model_dump(), "packages": packages()}
    refuse_difference(job, here, f"process {rank}")
    config = checked_config(hardware)
    os.environ.update(environment(config, processes))
    yield run
    if rank == 0:
        # The journal's memory and machine are those of the process that trained.
        facts = run.facts | {"processes": processes, "accelerate": config.kind}
        facts |= {"peak_memory_mb": peak_memory_mb(), "machine": machine()}
        (run.state / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def take_part() -> None:
    """On another machine than the first: run the script of the training that began last."""
    files = sorted(main_workspace().glob(f".work/*/{FILE}"), key=lambda path: path.stat().st_mtime)
    begun = [job for job in map(Job.read, files) if job.machines > 1 and Path(job.state).is_dir()]
    if not begun:
        raise LaunchError(f"no training for several machines has begun in {main_workspace()}.")
    job = begun[-1]
    print(f"{job.name}: takes part as process {os.environ['RANK']} of {os.environ['WORLD_SIZE']}", flush=True)
    sys.argv = job.arguments
    runpy.run_path(job.arguments[0], run_name="__main__")


if __name__ == "__main__":
    with ending_well("torchrun"):
        take_part()
