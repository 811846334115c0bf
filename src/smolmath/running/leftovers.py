"""What a history leaves behind: results, entries of dvc.lock and journal that params.yaml no longer names.

DVC removes none of them when a phase or a dataset goes. Two stages read a folder that holds the outs of others
(data/processed; metrics/eval and results/verdicts): what is left over there would change their hashes, here and not in
a clone, so a stage removes it before it hashes its inputs.
"""

import contextlib
import shutil
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smolmath.running.graph import Stage, load_stages, out_patterns
from smolmath.running.lockfile import LockError, Recorded, named, read_lock, workspace_lock
from smolmath.running.repository import GitError, git


@dataclass(frozen=True)
class Leftovers:
    """What `prune` removes. DVC's cache keeps the outs, Git what was committed."""

    stages: list[str]  # whose entries in dvc.lock go
    outs: list[Path]
    journal: list[Path]

    def __bool__(self) -> bool:
        return bool(self.stages or self.outs or self.journal)

    def __str__(self) -> str:
        counted = f"{len(self.stages)} stages of dvc.lock, {len(self.journal)} entries of the journal"
        return ", ".join([counted, *map(str, self.outs)])


def leftovers(params: Mapping[str, Any]) -> Leftovers:
    """Raises: LockError, ParamsError for files that cannot be read."""
    stages, lock = load_stages(params), workspace_lock()
    wanted = {out for stage in stages.values() for out in stage.outs}
    current = named(lock, stages)
    gone = [stage for stage in lock if stage not in current]
    outs = {Path(out) for stage in gone for out in lock[stage].outs if out not in wanted and Path(out).exists()}
    outs |= {*_strays(stages, {"metrics", *(dep for stage in stages.values() for dep in stage.deps)})}
    return Leftovers(gone, sorted(outs), _journal_of_nothing(stages, current))


def prune(params: Mapping[str, Any]) -> Leftovers:
    """Remove the leftovers; returns what went."""
    found = leftovers(params)
    for path in (*found.outs, *found.journal):
        _remove_with_folder(path)
    if found.stages:
        yaml = YAML()
        yaml.width = 4096
        lock = yaml.load(Path("dvc.lock").read_text(encoding="utf-8"))
        for name in found.stages:
            del lock["stages"][name]
        with Path("dvc.lock").open("w", encoding="utf-8") as file:
            yaml.dump(lock, file)
    return found


def remove_strays(params: Mapping[str, Any], stage: Stage) -> None:
    """Remove from the folders that a stage reads what other params had their stages write there."""
    if strays := _strays(load_stages(params), stage.deps):
        print(f"{stage.name}: removed what no stage writes under this params.yaml: {', '.join(map(str, strays))}")
    for path in strays:
        _remove_with_folder(path)


def remove(path: Path) -> None:
    """Remove a file, a folder or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_with_folder(path: Path) -> None:
    remove(path)
    with contextlib.suppress(OSError):  # that of a model that had several, once it is empty
        path.parent.rmdir()


def _strays(stages: Mapping[str, Stage], folders: Iterable[str]) -> list[Path]:
    """What lies in these folders as an out of dvc.yaml's stages under other params, and is none under these."""
    wanted = {out for stage in stages.values() for out in stage.outs}
    found = {path for pattern in out_patterns() for path in Path().glob(pattern) if path.as_posix() not in wanted}
    inside = [Path(folder) for folder in folders]
    return sorted(p for p in found if p.name[0] != "." and any(p.is_relative_to(folder) for folder in inside))


def _journal_of_nothing(stages: Container[str], current: Mapping[str, Recorded]) -> list[Path]:
    """Entries of stages that are gone, and of runs that neither dvc.lock nor an experiment records."""
    known = {(made.stage, made.fingerprint) for lock in (current, *_of_experiments()) for made in lock.values()}
    found = sorted(Path("journal").glob("*/*.json"))
    return [path for path in found if path.parent.name not in stages or (path.parent.name, path.stem) not in known]


def _of_experiments() -> list[dict[str, Recorded]]:
    """dvc.lock of each experiment that has one."""
    found = []
    with contextlib.suppress(GitError):
        for name in git("for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split():
            with contextlib.suppress(GitError, LockError):
                found.append(read_lock(git("show", f"{name}:dvc.lock"), name))
    return found
