"""The results beside those of the last commit that had others: what the work since then has changed."""

import re
from dataclasses import dataclass

from smolmath.errors import SmolmathError
from smolmath.running.repository import git
from smolmath.studies.comparing.compare import Comparison, Side, compare
from smolmath.studies.revisions import WORKSPACE, Revision, named_lock, verdict_hashes

LOOKED_AT = 20  # commits that touched dvc.lock; a fifth of a second each


@dataclass(frozen=True)
class Against:
    """`comparison` is None where `problem` says why."""

    commit: str
    subject: str
    comparison: Comparison | None
    problem: str


def against_parent() -> Against | None:
    """The workspace against the nearest ancestor whose verdicts are not the same; None if there is none.

    HEAD itself counts, where the workspace has other results than what was committed. Only DVC's cache is asked: a
    report needs no network.
    """
    now = Revision(WORKSPACE, remote=False)
    try:
        ours = verdict_hashes(now.lock)
        log = git("log", "--first-parent", f"--max-count={LOOKED_AT}", "--format=%H %s", "HEAD", "--", "dvc.lock")
    except SmolmathError:
        return None  # nothing was run, or no Git: the page says so elsewhere
    for line in log.split("\n"):
        commit, _, subject = line.partition(" ")
        if not re.fullmatch("[0-9a-f]{40,64}", commit) or _recorded(commit) in ({}, ours):
            continue
        try:
            found = compare(Side((Revision(commit[:12], remote=False),)), Side((now,)))
        except SmolmathError as error:
            return Against(commit, subject, None, str(error))
        return Against(commit, subject, found, "")
    return None


def _recorded(commit: str) -> dict[str, str]:
    """The hashes of a commit's verdicts; none where it lacks a file that says which, or left a broken one."""
    try:
        lock, params, dvc_yaml = (git("show", f"{commit}:{name}") for name in ("dvc.lock", "params.yaml", "dvc.yaml"))
        return verdict_hashes(named_lock(lock, params, dvc_yaml, commit))
    except SmolmathError:
        return {}
