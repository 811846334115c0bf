"""`smolmath work`: the states of unfinished runs under .work, what each is of, and which may go.

A state belongs to the inputs that its fingerprint hashes. One of other inputs is kept, since going back to them
finds it again; it is removed only when a person says so.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from smolmath.errors import SmolmathError
from smolmath.running.graph import load_stages
from smolmath.running.hashes import fingerprint
from smolmath.running.runs import alive, inputs, lock_of, main_workspace

SYNTHESIS = "synthesize"  # a command with states of its own, which depend on its arguments


class WorkError(SmolmathError):
    """A state that cannot be removed, or that there is none of."""


@dataclass(frozen=True)
class State:
    """One state directory."""

    stage: str  # DVC's address
    fingerprint: str
    path: Path
    step: int | None  # of the newest checkpoint, of a training
    megabytes: float
    changed: datetime  # when anything in it was last written
    pid: int | None  # of the process that uses it
    current: bool | None  # of today's inputs; None: they can't be read (a stage has not run), or it is of no stage

    @property
    def status(self) -> str:
        if self.pid is not None:
            return f"in use by process {self.pid}"
        if self.stage == SYNTHESIS:
            return "the same synthesis goes on from it"
        if self.current is None:
            return "unknown: an input is missing"
        return "`dvc repro` goes on from it" if self.current else "of other inputs"


def states(params: Mapping[str, Any]) -> list[State]:
    """Every state directory, by stage and age."""
    folder = main_workspace() / ".work"
    stages = load_stages(params)
    found = []
    for path in sorted(folder.glob("*/*")):
        if not path.is_dir():
            continue
        files = [file for file in path.rglob("*") if file.is_file()]
        if not files and _holder(path) is None:
            continue  # a stage that keeps nothing and was killed
        current: bool | None = None if path.parent.name == SYNTHESIS else False
        if stage := stages.get(path.parent.name):
            try:
                current = fingerprint(stage.name, *inputs(stage, params)) == path.name
            except SmolmathError:
                current = None
        steps = [int(checkpoint.name.split("-")[1]) for checkpoint in path.glob("checkpoints/checkpoint-*")]
        found.append(
            State(
                stage=path.parent.name,
                fingerprint=path.name,
                path=path,
                step=max(steps, default=None),
                megabytes=sum(file.stat().st_size for file in files) / 1e6,
                changed=datetime.fromtimestamp(max((f.stat().st_mtime for f in files), default=path.stat().st_mtime)),
                pid=_holder(path),
                current=current,
            )
        )
    return sorted(found, key=lambda state: (state.stage, state.changed))


def clean(found: list[State], *, fingerprints: list[str]) -> list[State]:
    """Remove the named states, or all that are of other inputs than today's; those that were removed.

    Raises: WorkError for a fingerprint that no state has, or one that is in use.
    """
    known = {state.fingerprint: state for state in found}
    if unknown := [name for name in fingerprints if name not in known]:
        raise WorkError(f"no state has the fingerprint {', '.join(unknown)}. `smolmath work` lists them.")
    chosen = [known[name] for name in fingerprints] or [state for state in found if state.current is False]
    removed = []
    for state in chosen:
        try:
            with FileLock(lock_of(state.path), timeout=0):
                shutil.rmtree(state.path)
            removed.append(state)
        except Timeout:
            if fingerprints:
                raise WorkError(f"{state.stage} {state.fingerprint} is in use by process {state.pid}.") from None
    return removed


def newest_samples(state: State) -> Path | None:
    """The sampled completions that a running or killed training wrote last."""
    return max(state.path.glob("samples/*.parquet"), default=None)


def _holder(path: Path) -> int | None:
    """The process that holds a state directory, while it runs."""
    try:
        pid = int(path.with_suffix(".pid").read_text())
        return pid if alive(psutil.Process(pid)) else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
