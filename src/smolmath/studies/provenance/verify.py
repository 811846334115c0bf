"""`smolmath verify`: are results what dvc.lock says they are, made from what it says?

Of each result and of all that it depends on: its bytes hash to what is recorded; what a stage read is what the stage
before it wrote; the code and files that are recorded are the workspace's, or those of the commit that the run started
from; the journal knows the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any, Literal

from smolmath.params.core import lookup_or_none
from smolmath.running.graph import load_stages
from smolmath.running.hashes import content_hash, file_hashes, listing_hash
from smolmath.running.lockfile import Recorded, named, producer, upstream, workspace_lock, written_since
from smolmath.studies.provenance.trail import (
    TrailError,
    cached_listing,
    code_at,
    journal_entry,
    listing,
)

SHOWN = 3  # files of a folder that are named


@dataclass(frozen=True)
class Finding:
    """`wrong`: it is not what it claims; `missing`: it cannot be said; `note`: true, but not of today's code."""

    stage: str
    what: str
    status: Literal["ok", "wrong", "missing", "note"]
    detail: str = ""


def verify(paths: Sequence[str], params: Mapping[str, Any]) -> list[Finding]:
    """Look at the outs that are asked for, or at every one of params.yaml's, and at all that they depend on.

    What is not in the workspace is `missing` where it was asked for, and no finding where it only lies on the way.

    Raises: TrailError for a path that no stage is recorded as having made; LockError.
    """
    recorded_of_all = workspace_lock()
    if not recorded_of_all:
        raise TrailError("there is no dvc.lock, so nothing is claimed. Run `dvc repro`.")
    lock = named(recorded_of_all, load_stages(params))
    asked = [Path(path).as_posix() for path in paths]
    if any(producer(lock, path) is None for path in asked):  # of a phase that is gone, perhaps
        lock = recorded_of_all
    stages: dict[str, Recorded] = {}
    for name in asked or [out for made in lock.values() for out in made.outs]:
        made = producer(lock, name)
        if made is None:
            raise TrailError(f"{name}: no stage is recorded as having made it. `dvc stage list` shows what there is.")
        stages |= {recorded.stage: recorded for recorded in upstream(lock, made)}
    findings = []
    for recorded in stages.values():
        for out, recorded_hash in recorded.outs.items():
            findings += _out(recorded, out, recorded_hash, asked=out in asked)
        findings += _chain(lock, recorded)
        findings += _inputs(lock, recorded, params)
    return findings


def _out(recorded: Recorded, out: str, claimed: str, *, asked: bool) -> list[Finding]:
    try:
        found = content_hash(Path(out))
    except FileNotFoundError:
        detail = "not here; dvc pull, where a remote has it"
        return [Finding(recorded.stage, out, "missing", detail)] if asked else []
    if found == claimed:
        return [Finding(recorded.stage, out, "ok")]
    return [
        Finding(recorded.stage, out, "wrong", f"dvc.lock records {claimed}, this is {found}{_which(out, claimed)}")
    ]


def _which(out: str, claimed: str) -> str:
    """Which files of a folder differ, where DVC's cache has its listing."""
    listed = cached_listing(claimed) if Path(out).is_dir() else None
    if listed is None:
        return ""
    here = file_hashes(Path(out))
    differing = sorted(name for name in here.keys() | listed if here.get(name) != listed.get(name))
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return f" ({', '.join(differing[:SHOWN])}{more})"


def _chain(lock: Mapping[str, Recorded], recorded: Recorded) -> list[Finding]:
    """Whether what the stage read is what is recorded of the stages that wrote it."""
    findings = []
    for dep, made in written_since(lock, recorded):
        detail = f"it read {recorded.deps[dep]}, and {made.stage} has written {made.outs[dep]} since: run `dvc repro`"
        findings.append(Finding(recorded.stage, f"read {dep}", "wrong", detail))
    for dep, claimed in recorded.deps.items():
        if producer(lock, dep) is None and _holds_outs(lock, dep):
            files = listing(lock, dep)
            here = content_hash(Path(dep)) if Path(dep).exists() else None
            known = {here, *([] if files is None else [listing_hash(files)])} - {None}
            if known and claimed not in known:
                detail = "what lies in it was written again since: run `dvc repro`"
                findings.append(Finding(recorded.stage, f"read {dep}", "wrong", detail))
    return findings


def _holds_outs(lock: Mapping[str, Recorded], dep: str) -> bool:
    return any(out.startswith(f"{dep}/") for made in lock.values() for out in made.outs)


def _inputs(lock: Mapping[str, Recorded], recorded: Recorded, params: Mapping[str, Any]) -> list[Finding]:
    """Whether the code and files that it read are to be had, whether today's are others, if the journal knows it."""
    entry = journal_entry(recorded)
    findings = []
    if entry is None:
        ours = "python stages/" in recorded.cmd  # a stage of one's own may keep no journal
        detail = f"no entry in journal/{recorded.stage} is of this run: versions and machine are unknown"
        findings.append(Finding(recorded.stage, "journal", "missing" if ours else "note", detail))
    older: list[str] = []
    lost: list[str] = []
    commit = ((entry or {}).get("git") or {}).get("commit")
    for dep, claimed in recorded.deps.items():
        if dep == "params.yaml" or producer(lock, dep) or _holds_outs(lock, dep):
            continue
        if Path(dep).exists() and content_hash(Path(dep)) == claimed:
            continue
        (older if commit and _hash_at(commit, dep) == claimed else lost).append(dep)
    changed = [key for key, value in recorded.params.items() if lookup_or_none(params, key) != value]
    if lost:
        detail = f"{', '.join(lost)} as it read it is neither in the workspace nor in commit {(commit or 'none')[:12]}"
        findings.append(Finding(recorded.stage, "inputs", "missing", detail))
    if older or changed:
        detail = ", ".join([*older, *(f"params.yaml: {key}" for key in changed)])
        findings.append(Finding(recorded.stage, "changed since it ran", "note", detail))
    return findings


def _hash_at(commit: str, path: str) -> str | None:
    """The hash that DVC would give `path` as a commit has it."""
    files = code_at(commit, path)
    if files is None:
        return None
    hashes = {name: md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    return hashes[""] if list(hashes) == [""] else listing_hash(hashes)
