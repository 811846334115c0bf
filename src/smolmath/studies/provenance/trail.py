"""The trail of a result: from a model or a metrics file back to commit, params, code, data, packages and machine.

Everything is read from what the project keeps: dvc.lock (hashes and params), the journal entry that dvc.lock's record
names (Git, versions, hardware, seconds, settings), and the manifests of the raw data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.errors import SmolmathError
from smolmath.running.hashes import content_hash, file_hashes, listing_hash
from smolmath.running.journal import entry_of
from smolmath.running.lockfile import Recorded, producer, upstream, workspace_lock
from smolmath.running.repository import GitError, dvc_repo, git, git_bytes


class TrailError(SmolmathError):
    """Nothing is recorded of what was asked for."""


@dataclass(frozen=True)
class Run:
    """One stage's record with the journal entry of the run that made it; None where the journal has none."""

    recorded: Recorded
    journal: dict[str, Any] | None


@dataclass(frozen=True)
class Trail:
    """How the out at `path` was made: the stage that wrote it last, and before it all that it depends on, in order."""

    path: str
    md5: str
    runs: list[Run]
    sources: dict[str, dict[str, Any]]  # dataset -> manifest of its raw rows; empty where they aren't here
    recorded_in: str | None  # the first commit whose dvc.lock has this result; None: not committed

    @property
    def last(self) -> Run:
        return self.runs[-1]

    @property
    def seconds(self) -> float:
        return float(sum(run.journal["seconds"] for run in self.runs if run.journal))


def trail(path: str) -> Trail:
    """The trail of an out of the workspace's dvc.lock: a model's folder, a metrics file, a table or a folder of data.

    Raises: TrailError if no stage is recorded as having made it; LockError if dvc.lock cannot be read.
    """
    lock = workspace_lock()
    name = Path(path).as_posix()
    made = producer(lock, name)
    if made is None:
        outs = [out for recorded in lock.values() for out in recorded.outs]
        words = f"dvc.lock records: {', '.join(outs)}." if outs else "There is no dvc.lock: run `dvc repro`."
        raise TrailError(f"{path}: no stage is recorded as having made it. {words}")
    runs = [Run(recorded, journal_entry(recorded)) for recorded in upstream(lock, made)]
    return Trail(
        path=name,
        md5=made.outs[name],
        runs=runs,
        sources={
            run.recorded.stage.split("@")[1]: _manifest(run.recorded)
            for run in runs
            if run.recorded.stage.startswith("fetch@")
        },
        recorded_in=first_commit_with(made.outs[name]),
    )


def is_place_of_results(lock: Mapping[str, Recorded], path: str) -> bool:
    """Whether the pipeline writes where `path` lies: models, metrics, results, data."""
    top = Path(path).parts[:1]
    return len(Path(path).parts) > 1 and any(Path(out).parts[:1] == top for made in lock.values() for out in made.outs)


def journal_entry(recorded: Recorded) -> dict[str, Any] | None:
    """The entry of the run that dvc.lock records: of these inputs, with these outs; None if there is none.

    Raises: TrailError if it is there and cannot be read.
    """
    path = entry_of(recorded.stage, recorded.fingerprint, recorded.outs)
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TrailError(f"{path}: no readable JSON ({error}). Put it back: git checkout {path}") from None
    return entry if isinstance(entry, dict) and entry.get("outs") == recorded.outs else None


def first_commit_with(md5: str) -> str | None:
    """The first commit of this branch whose dvc.lock has a hash; None if there is none, or no Git."""
    try:
        found = git("log", "--format=%H", f"-S{md5}", "--", "dvc.lock").split()
    except GitError:
        return None
    return found[-1] if found else None


def code_at(commit: str, path: str) -> dict[str, bytes] | None:
    """The files of a commit at `path`, by path inside it (of a file: ""); None if it holds none, or isn't here."""
    try:
        names = [name for name in git("ls-tree", "-r", "-z", "--name-only", commit, "--", path).split("\0") if name]
        return {name.removeprefix(path).lstrip("/"): git_bytes("show", f"{commit}:{name}") for name in names} or None
    except GitError:
        return None


def facts_of(runs: Sequence[Run], section: str) -> dict[str, list[str]]:
    """What the journal says under `packages` or `machine`, by name: one value where all runs agree."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in ((run.journal or {}).get(section) or {}).items():
            if value is not None:
                found.setdefault(name, {})[str(value)] = None
    return {name: list(values) for name, values in found.items()}


def listing(lock: Mapping[str, Recorded], folder: str) -> dict[str, str] | None:
    """Path -> hash of the files that lay in a folder of outs when they were recorded; None where nobody can say.

    Of an out that is a folder itself, DVC's cache has the listing, or the workspace if it is the recorded one.
    """
    files: dict[str, str] = {}
    for made in lock.values():
        for out, recorded in made.outs.items():
            if out != folder and not out.startswith(f"{folder}/"):
                continue
            if not recorded.endswith(".dir"):
                files[out] = recorded
                continue
            listed = _recorded_listing(out, recorded)
            if listed is None:
                return None
            files |= {f"{out}/{name}": md5 for name, md5 in listed.items()}
    return {name.removeprefix(f"{folder}/"): md5 for name, md5 in files.items()}


def cached_listing(folder_hash: str) -> dict[str, str] | None:
    """Path -> hash of a folder's files, from DVC's cache; None where it is not there, or the hash is a file's."""
    path = _cached(folder_hash)
    if path is None or not folder_hash.endswith(".dir"):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8"))}


def _recorded_listing(folder: str, recorded: str) -> dict[str, str] | None:
    """From DVC's cache, or from the workspace if what lies there is what was recorded."""
    if listed := cached_listing(recorded):
        return listed
    here = file_hashes(Path(folder)) if Path(folder).is_dir() else {}
    return here if listing_hash(here) == recorded else None


def _cached(md5: str) -> Path | None:
    """Where DVC's cache has it whole; None where it has not, or holds something else under that name."""
    from dvc.exceptions import NotDvcRepoError

    try:
        with dvc_repo() as repo:
            path = Path(repo.cache.local.oid_to_path(md5))
    except NotDvcRepoError:
        return None
    return path if path.is_file() and content_hash(path) == md5.removesuffix(".dir") else None


def _manifest(fetched: Recorded) -> dict[str, Any]:
    """manifest.json of the raw rows as recorded, which need not be those that lie in the workspace now."""
    ((folder, recorded),) = fetched.outs.items()
    md5 = (_recorded_listing(folder, recorded) or {}).get("manifest.json")
    if md5 is None:
        return {}
    here = Path(folder, "manifest.json")
    path = here if here.is_file() and content_hash(here) == md5 else _cached(md5)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path else {}
