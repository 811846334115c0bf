"""The journal: what differs between two identical runs (seconds, versions, hardware) and so may enter no out.

One JSON file per stage and fingerprint, written once, committed, in no stage's deps. The trail from a result to its
inputs is dvc.lock, the journal and Git's history.

An experiment's entries are committed with it. Where it runs in a temporary workspace, they are kept in the main one
too, outside of Git: a run that DVC's run-cache restores there leaves no entry of its own.
"""

import contextlib
import json
import os
import platform
import resource
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from smolmath.running.repository import GitError
from smolmath.running.repository import git as run_git
from smolmath.running.workers import available_cores

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "vllm",
    "datasets",
    "pyarrow",
    "math-verify",
    "reasoning-gym",
    "dvc",
)


FOLDER = Path("journal")
KEPT = Path(".work", "journal")  # in the main workspace
CODE = ("src", "stages", "bases", "dvc.yaml", "params.yaml")  # what a result's commit must hold to make it again


def journal_path(stage: str, fingerprint: str) -> Path:
    """Where this workspace has the entry of a run."""
    return FOLDER / stage / f"{fingerprint}.json"


def kept_path(main: Path, stage: str, fingerprint: str) -> Path:
    """Where the main workspace keeps what an experiment wrote elsewhere."""
    return main / KEPT / f"{stage}-{fingerprint}.json"


def write_journal(
    *,
    main: Path,
    stage: str,
    fingerprint: str,
    outs: dict[str, str],
    git: dict[str, Any] | None,
    seconds: float,
    facts: dict[str, Any],
) -> None:
    """Write one entry, unless there is one of a run that made the same `outs` (path -> hash) of the same inputs.

    Another machine may make other outs of them, and then the entry is that of the run whose outs are here.

    Args: main: the main workspace.
    """
    entry = {
        "stage": stage,
        "fingerprint": fingerprint,
        "outs": outs,
        "git": git,
        "seconds": round(seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
        "machine": machine(),
        "packages": installed(PACKAGES),
        **facts,
    }
    path = journal_path(stage, fingerprint)
    for place in [path] if main == Path.cwd() else [path, kept_path(main, stage, fingerprint)]:
        if known_outs(place) != outs:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, json.dumps(entry, indent=1, ensure_ascii=False) + "\n")
    if os.environ.get("DVC_EXP_BASELINE_REV"):  # DVC commits what is tracked when the experiment ends
        with contextlib.suppress(GitError):
            run_git("add", "--", str(path))


def entry_of(stage: str, fingerprint: str, outs: dict[str, str]) -> Path:
    """The entry of a run that made these outs, if there is one; from what experiments have left it is taken over."""
    path, kept = journal_path(stage, fingerprint), kept_path(Path(), stage, fingerprint)
    if known_outs(path) != outs and known_outs(kept) == outs:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, path)
    return path


def write_whole(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def known_outs(path: Path) -> dict[str, str] | None:
    """The outs of the run that an entry tells of; None without one."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["outs"])
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        return None


def git_state() -> dict[str, Any] | None:
    """The commit that is checked out, and which of the code and params differ from it; None without Git."""
    try:
        return checked_out()
    except GitError:
        return None


def checked_out() -> dict[str, Any]:
    """Likewise. dvc.lock and what stages write are no part of it: during a `dvc repro` they always differ.

    Raises: GitError where there is no commit, or no Git.
    """
    commit = run_git("rev-parse", "HEAD")
    status = run_git("status", "--porcelain", "-z", "--no-renames", "--", *CODE)
    return {"commit": commit.strip(), "changed": [line[3:] for line in status.split("\0") if line]}


def peak_memory_mb() -> int:
    """Largest resident set of this process so far, in MB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes / (1024 * 1024 if sys.platform == "darwin" else 1024))


def machine() -> dict[str, Any]:
    """What a comparison of two results must know of the box; no host names, no paths."""
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "python": platform.python_version(),
    }
    if torch := sys.modules.get("torch"):  # only what the stage has loaded: importing torch here would cost seconds
        facts["torch_threads"] = torch.get_num_threads()
        facts["instruction_set"] = torch.backends.cpu.get_cpu_capability()
        facts["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return facts


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Version of each named package that is installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _cpu_model() -> str:
    """Name and generation: virtual machines call chips of several generations by one name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        first = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
        if "model name" in fields:
            return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"
    return platform.processor() or "unknown"
