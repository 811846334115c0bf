"""dvc.lock: what each stage was made from, and what it made. Read without DVC, which takes a second to import."""

from collections.abc import Mapping
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


def _recorded(stage: str, entry: Mapping[str, Any]) -> Recorded:
    def hashes(kind: str) -> dict[str, str]:
        return {found["path"]: found["md5"] for found in entry.get(kind) or [] if "md5" in found}

    params = (entry.get("params") or {}).get("params.yaml") or {}
    return Recorded(stage, entry["cmd"], hashes("deps"), params, hashes("outs"))
