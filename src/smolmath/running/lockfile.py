"""dvc.lock: what each stage was made from, and what it made. Read without DVC, which takes a second to import."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smolmath.errors import SmolmathError
from smolmath.running.hashes import fingerprint


class LockError(SmolmathError):
    """A dvc.lock that cannot be read; the message says what to do."""


@dataclass(frozen=True)
class Recorded:
    """One stage's entry. Hashes are DVC's md5; a folder's ends in `.dir`."""

    stage: str  # DVC's address
    cmd: str
    deps: dict[str, str]  # path -> hash
    params: dict[str, Any]  # dotted key -> value
    outs: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """The name of the journal entry of the run that made it."""
        return fingerprint(self.stage, self.deps, self.params)


def read_lock(text: str, name: str) -> dict[str, Recorded]:
    """Stage -> its entry, in the file's order, of the text of `name`'s dvc.lock. Raises: LockError if it is none."""
    try:
        stages = YAML(typ="safe").load(text)["stages"]
        return {stage: _recorded(stage, entry) for stage, entry in stages.items()}
    except (YAMLError, TypeError, KeyError, ValueError, AttributeError):
        raise LockError(
            f"dvc.lock of {name} cannot be read: settle its merge, put it back (git checkout dvc.lock), or run "
            "`dvc repro`."
        ) from None


def workspace_lock() -> dict[str, Recorded]:
    """That of the working directory; nothing without one. Raises: LockError if it cannot be read."""
    path = Path("dvc.lock")
    return read_lock(path.read_text(encoding="utf-8"), "the workspace") if path.is_file() else {}


def named(lock: Mapping[str, Recorded], stages: Container[str]) -> dict[str, Recorded]:
    """The entries of stages that there still are: DVC keeps those of a phase or dataset that params.yaml dropped."""
    return {stage: recorded for stage, recorded in lock.items() if stage in stages}


def producer(lock: Mapping[str, Recorded], path: str) -> Recorded | None:
    """The stage that `path` is an out of."""
    return next((recorded for recorded in lock.values() if path in recorded.outs), None)


def upstream(lock: Mapping[str, Recorded], made: Recorded) -> list[Recorded]:
    """All that `made` depends on and itself, each after what it reads."""
    found: dict[str, Recorded] = {}

    def visit(recorded: Recorded) -> None:
        if recorded.stage in found:
            return
        for other in lock.values():
            if other is not recorded and any(_reads(recorded, out) for out in other.outs):
                visit(other)
        found[recorded.stage] = recorded

    visit(made)
    return list(found.values())


def written_since(lock: Mapping[str, Recorded], recorded: Recorded) -> list[tuple[str, Recorded]]:
    """(dep, the stage that wrote it) of each out that was written again since `recorded` read it."""
    made = ((dep, producer(lock, dep)) for dep in recorded.deps)
    return [(dep, maker) for dep, maker in made if maker and maker.outs[dep] != recorded.deps[dep]]


def outdated(lock: Mapping[str, Recorded], made: Recorded) -> tuple[str, Recorded] | None:
    """The first of `written_since` on the way to a stage: it is of another model or other data than those of now."""
    return next((link for recorded in upstream(lock, made) for link in written_since(lock, recorded)), None)


def _reads(recorded: Recorded, out: str) -> bool:
    """Whether a stage depends on an out, on the folder that it lies in, or on a file in it."""
    return any(
        dep == out or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")
        for dep in recorded.deps
        if not dep.startswith(("src/", "stages/"))
    )


def _recorded(stage: str, entry: Mapping[str, Any]) -> Recorded:
    def hashes(kind: str) -> dict[str, str]:
        return {found["path"]: found["md5"] for found in entry.get(kind) or [] if "md5" in found}

    params = (entry.get("params") or {}).get("params.yaml") or {}
    return Recorded(stage, entry["cmd"], hashes("deps"), params, hashes("outs"))
