"""`stage_run` for a stage that several processes work on, where `hardware.accelerate` says so.

The process that DVC starts holds the state directory and the GPUs, starts the others (the same script again), and
publishes when they have ended well. Process 0 of them writes the outs; what it has for the journal is in a file.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smolmath.errors import StageError
from smolmath.params.core import read_params
from smolmath.running.devices import visible_gpus
from smolmath.running.journal import machine, peak_memory_mb
from smolmath.running.launch.config import LaunchError, checked_config, environment
from smolmath.running.launch.job import VARIABLE, Job, packages, refuse_difference
from smolmath.running.launch.machine import Ended, run_machine
from smolmath.running.launch.machines import launches, run_on_machines
from smolmath.running.params import HardwareParams
from smolmath.running.runs import StageRun, ending_well, find_stage, main_workspace, refuse_foreign_checkout, stage_run
from smolmath.running.workers import end_with

FACTS = "facts.json"


class PartRun(StageRun):
    """The stage's run as one of its processes sees it: the process that started it locks, cleans up and publishes."""

    def out(self, path: str | Path) -> Path:
        return self.part(path)


@contextmanager
def stage_in_processes(name: str) -> Iterator[StageRun | None]:
    """As `stage_run`, with all GPUs that the stage may use. Yields None where other processes did the work."""
    if path := os.environ.get(VARIABLE):
        with ending_well(name), _part(name, Path(path)) as part:
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
    """Raises: StageError if one of them ends badly."""
    config = checked_config(hardware)
    per_machine = config.per_machine or len(visible_gpus())
    for out in run.stage.outs:
        run.out(out)
    job = Job(
        name=run.stage.name,
        arguments=sys.argv,
        folder=str(Path.cwd()),
        environment={name: os.environ[name] for name in ("PYTHONPATH", "DVC_ROOT") if name in os.environ},
        deps=run.deps,
        params=run.values,
        hardware=hardware.model_dump(),
        packages=packages(),
        machines=config.machines,
        per_machine=per_machine,
        address=config.address or ("127.0.0.1" if config.machines == 1 else socket.gethostname()),
        port=config.port or _free_port(),
    )
    path = (run.state / "job.json").resolve()
    job.write(path)
    facts = path.with_name(FACTS)
    facts.unlink(missing_ok=True)
    if job.machines == 1:
        ended = run_machine(job, path, 0, hardware.threads)
    else:
        ended = run_on_machines(job, path, launches(main_workspace()), hardware.threads)
    if ended is not None:
        raise StageError(_in_words(job, run.state, ended))
    run.facts |= json.loads(facts.read_text(encoding="utf-8"))


def _in_words(job: Job, state: Path, ended: Ended) -> str:
    which = f"{job.name}: process {ended.rank} of {job.processes} {ended.how}"
    if ended.status > 0:
        return f"{which}, and the others were ended with it. {ended.error or 'What it said stands above.'}"
    return (
        f"{which}, and the others were ended with it. When memory is short the system ends the largest process: lower "
        f"hardware.micro_batch then. `dvc repro` goes on from the last whole checkpoint in {state}."
    )


@contextmanager
def _part(name: str, path: Path) -> Iterator[PartRun]:
    """One of the processes: the run that it takes part in."""
    rank = int(os.environ["RANK"])
    end_with(os.getppid())
    refuse_foreign_checkout()
    if not path.is_file():
        raise LaunchError(f"{name}: process {rank} does not see {path}. All machines must mount that folder.")
    job = Job.read(path)
    params = read_params()
    run = PartRun(find_stage(name, params), params)
    hardware = run.section("hardware", HardwareParams)
    here = {"deps": run.deps, "params": run.values, "hardware": hardware.model_dump(), "packages": packages()}
    refuse_difference(job, here, f"process {rank}")
    config = checked_config(hardware)
    os.environ.update(environment(config, job.processes))
    yield run
    if rank == 0:
        # The journal's memory and machine are those of the process that trained.
        facts = run.facts | {"processes": job.processes, "accelerate": config.kind}
        facts |= {"peak_memory_mb": peak_memory_mb(), "machine": machine()}
        path.with_name(FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("", 0))
        return int(listening.getsockname()[1])
