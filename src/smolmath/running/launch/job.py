"""What the processes of one stage run share: the file that the first process writes and every other holds itself to.

A process that sees other code, other inputs or other params than the first one would train something else and say
nothing; it is refused before it loads a model.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smolmath.running.journal import PACKAGES, installed, write_whole
from smolmath.running.launch.config import LaunchError

FILE = "job.json"  # in the folder of the stage's states, where the processes of every machine find it


@dataclass(frozen=True)
class Job:
    """One run of a stage in several processes."""

    name: str  # of the stage
    arguments: list[str]  # of the script, the script first
    deps: dict[str, str]  # hash of each
    params: dict[str, Any]  # those that the stage depends on
    hardware: dict[str, Any]
    packages: dict[str, str]
    state: str  # folder of the run
    machines: int

    def write(self, path: Path) -> None:
        write_whole(path, json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Job":
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def packages() -> dict[str, str]:
    return installed((*PACKAGES, "accelerate"))


def refuse_difference(job: Job, here: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """Compare what this process sees with what the first one saw.

    Args: here: deps, params, hardware and packages as they are here. where: this process, for the message.
    Raises: LaunchError that names what differs.
    """
    named = {"deps": "", "params": "params.yaml: ", "hardware": "params.yaml: hardware.", "packages": "package "}
    for group, prefix in named.items():
        first, mine = getattr(job, group), here[group]
        # As JSON reads them: a tuple of the params is a list there.
        mine = json.loads(json.dumps(mine))
        for key in sorted(first | mine):
            if first.get(key) != mine.get(key):
                values = "" if group == "deps" else f": {mine.get(key)!r} here, {first.get(key)!r} in process 0"
                raise LaunchError(
                    f"{job.name}: {where} has another {prefix}{key} than process 0{values}. All processes must see "
                    "the same checkout, inputs and params: a folder that every machine mounts."
                )
