"""`smolmath join`: this machine takes part in the trainings that machine 0 of several begins."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smolmath.commands import fail
from smolmath.params.core import load_section, read_params
from smolmath.running.devices import claimed_gpus
from smolmath.running.params import HardwareParams

if TYPE_CHECKING:
    from smolmath.running.launch.job import Job
    from smolmath.running.launch.machine import Ended


def join(
    machine: Annotated[
        int | None, typer.Option(min=1, help="This machine's number; by itself under Slurm and SkyPilot.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="A name of its own for each job; --over ends by it.")] = None,
    over: Annotated[bool, typer.Option("--over", help="End what waits in that session, on all machines.")] = False,
) -> None:
    """Wait for the trainings of `dvc repro` on machine 0, and take part in them.

    Run in the same folder, which all machines share: docs/cluster.md.
    """
    from smolmath.running.launch.machine import run_machine
    from smolmath.running.launch.machines import join_launches, launches
    from smolmath.running.runs import main_workspace

    folder = launches(main_workspace())
    folder.mkdir(parents=True, exist_ok=True)
    ending = None if session is None else folder / f"{session}.over"
    if over:
        if ending is None:
            fail("--over: say which --session is over.")
        ending.touch()
        return
    number = machine if machine is not None else _number()
    hardware = load_section(read_params(), "hardware", HardwareParams)

    def run(job: "Job", path: Path, check: Callable[[], None]) -> "Ended | None":
        with claimed_gpus(hardware, job.per_machine):
            return run_machine(job, path, number, hardware.threads, check=check)

    print(f"machine {number} waits for trainings in {folder.parent.parent}", flush=True)
    join_launches(folder, number, ending, run)


def _number() -> int:
    for name in ("SLURM_NODEID", "SKYPILOT_NODE_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    fail("--machine: say which machine this is, from 1 up (machine 0 runs dvc repro).")
