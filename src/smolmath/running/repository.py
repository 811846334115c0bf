"""The project's repository as Git and DVC know it. Either may know nothing: a ZIP download, a machine without Git."""

import subprocess
from typing import Any

from smolmath.errors import SmolmathError


class GitError(SmolmathError):
    """Git has no answer; the message is its own, or that it is not installed."""


def git(*arguments: str) -> str:
    """What Git prints. Raises: GitError."""
    return git_bytes(*arguments).decode(errors="replace")


def git_bytes(*arguments: str) -> bytes:
    """Likewise, of a file as it was committed."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(lines[0] if lines else str(error)) from None


def dvc_repo() -> Any:
    """DVC's repository, also where there is no Git one, in which DVC by itself reads not even its own cache.

    Raises: DVC's NotDvcRepoError.
    """
    from dvc.repo import Repo
    from dvc.scm import SCM, SCMError

    try:
        SCM(Repo.find_root()).close()  # a Repo that finds no Git leaves a database open behind it
    except SCMError:
        return Repo(config={"core": {"no_scm": True}})
    return Repo()


def knows_git(repo: Any) -> bool:
    """Whether DVC has commits to look at, and to make."""
    from scmrepo.noscm import NoSCM

    return not isinstance(repo.scm, NoSCM)
