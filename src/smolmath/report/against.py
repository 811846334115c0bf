"""The results beside those of the last commit that had others: what the work since then has changed."""

import subprocess
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smolmath.comparing.compare import Comparison, Side, compare
from smolmath.comparing.revisions import WORKSPACE, Revision
from smolmath.errors import SmolmathError

LOOKED_AT = 50  # commits that touched dvc.lock


@dataclass(frozen=True)
class Against:
    """`comparison` is None where `problem` says why."""

    commit: str
    subject: str
    comparison: Comparison | None
    problem: str


def against_parent() -> Against | None:
    """The workspace against the nearest ancestor whose verdicts are not the same; None if there is none.

    HEAD itself counts, where the workspace has other results than what was committed.
    """
    now = Revision(WORKSPACE)
    try:
        ours = _verdict_hashes(now.lock)
        commits = _git(
            "log", "--first-parent", f"--max-count={LOOKED_AT}", "--format=%H%x00%s", "HEAD", "--", "dvc.lock"
        )
    except (SmolmathError, subprocess.CalledProcessError, FileNotFoundError):
        return None  # nothing was run, or no Git: the page says so elsewhere
    for line in commits.splitlines():
        commit, _, subject = line.partition("\0")
        if _verdict_hashes(_lock_of(commit)) in ({}, ours):
            continue
        try:
            found = compare(Side(Revision(commit[:12]), None), Side(now, None))
        except SmolmathError as error:
            return Against(commit, subject, None, str(error))
        return Against(commit, subject, found, "")
    return None


def _verdict_hashes(stages: dict[str, Any]) -> dict[str, str]:
    return {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if name.startswith("evaluate@")
        for out in stage["outs"]
        if out["path"].startswith("results/verdicts/")
    }


def _lock_of(commit: str) -> dict[str, Any]:
    try:
        text = _git("show", f"{commit}:dvc.lock")
        return dict(YAML(typ="safe", pure=True).load(text)["stages"])
    except (subprocess.CalledProcessError, YAMLError, TypeError, KeyError):  # removed by the commit, or no lock at all
        return {}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
