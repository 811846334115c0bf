"""Files to a repository on the Hugging Face hub, in one commit, by the hub's own client.

The token is the client's business (HF_TOKEN, or what `hf auth login` has saved): it is never read here.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import validate_repo_id

from smolmath.using.publishing.files import ADAPTER, MANIFEST, Files, PublishError, listed_in


@dataclass(frozen=True)
class Pushed:
    url: str  # of the repository, or of the branch in it
    commit: str
    changed: bool  # False: the hub had these very files
    removed: list[str]  # files of an earlier push that are no part of this one


def check_repo_id(repo_id: str) -> None:
    """Raises: PublishError unless it is USER/NAME as the hub allows it."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishError(f"{repo_id}: {str(error).splitlines()[0]}") from None
    if "/" not in repo_id:
        raise PublishError(f"{repo_id}: name its owner too, you or an organisation: USER/{repo_id}.")


def check_base(base: str) -> None:
    """Raises: PublishError unless others can load what an adapter is put on."""
    if Path(base).is_dir():
        raise PublishError(
            f"--base {base} is a folder of this machine, which nobody else has: push it, and name its id."
        )
    check_repo_id(base)


def push(
    repo_id: str, files: Files, *, private: bool, branch: str | None, message: str, say: Callable[[str], None]
) -> Pushed:
    """One commit with `files`, in which what an earlier push has left and this one lacks is removed.

    Else a single `adapter_config.json` of before would make transformers put an adapter on the new weights. What an
    earlier push has written is listed in the repository; all else is left alone. The repository is made if it isn't
    there.

    Args: private: of a repository that is made; one that is there must be so already. branch: instead of main.
    Raises: PublishError if the hub can't be reached or refuses; then no commit was made.
    """
    check_repo_id(repo_id)
    api = HfApi()
    huggingface_hub.logging.set_verbosity_error()  # what it warns of is said below
    made: list[str] = []
    with _explained(repo_id, made, say):
        is_new = not api.repo_exists(repo_id)
        url = str(api.create_repo(repo_id, private=private or None, exist_ok=True))
        if is_new:
            made.append(f"the empty repository {repo_id}")
        if private and not api.model_info(repo_id).private:
            raise PublishError(
                f"{repo_id} is there already, and public. Nothing was sent. Make it private on the hub, name another "
                "repository, or leave out --private."
            )
        if branch and branch not in {one.name for one in api.list_repo_refs(repo_id).branches}:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
            made.append(f"the branch {branch}")
        before = api.model_info(repo_id, revision=branch)
        there = {sibling.rfilename for sibling in before.siblings or []}
        ours = _listed(repo_id, str(before.sha)) if MANIFEST in there else set()
        left = sorted((there & ours) - files.keys())
        if stale := sorted((there & {*ADAPTER}) - ours - files.keys()):
            say(
                f"warning: {', '.join(stale)}: there, and of no push that lists its files. transformers puts the "
                "adapter on these weights: remove it on the hub, if it is none of theirs."
            )
        additions = [
            CommitOperationAdd(name, it if isinstance(it, bytes) else str(it)) for name, it in sorted(files.items())
        ]
        done = api.create_commit(
            repo_id,
            [*additions, *(CommitOperationDelete(name) for name in left)],
            commit_message=message,
            revision=branch,
        )
    where = f"{url}/tree/{branch}" if branch else url
    return Pushed(where, str(done.oid), changed=done.oid != before.sha, removed=left)


def _listed(repo_id: str, sha: str) -> set[str]:
    with TemporaryDirectory() as folder:
        found = huggingface_hub.hf_hub_download(repo_id, MANIFEST, revision=sha, local_dir=folder)
        return listed_in(Path(found).read_bytes())


@contextmanager
def _explained(repo_id: str, made: list[str], say: Callable[[str], None]) -> Iterator[None]:
    """The hub's errors as what a person can do about them; its warnings as lines. Args: made: before the error."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for one in caught:
            if issubclass(one.category, UserWarning):  # the hub's on the card; not the client's own deprecations
                say(f"warning: {one.message}")
    except OfflineModeIsEnabled:
        raise PublishError(
            "HF_HUB_OFFLINE is set, so nothing was sent. Unset it to push; --dry-run needs no hub, and "
            "smolmath export writes the same files here."
        ) from None
    except LocalTokenNotFoundError:
        raise PublishError(f"{_WHO} {_nothing(repo_id, made)}.") from None
    except HfHubHTTPError as error:
        raise PublishError(_refused(repo_id, error, _nothing(repo_id, made))) from None
    except RuntimeError as error:  # the client's, around what stopped an upload
        if isinstance(error.__cause__, HfHubHTTPError):
            raise PublishError(_refused(repo_id, error.__cause__, _nothing(repo_id, made))) from None
        raise PublishError(
            f"the upload to {repo_id} broke off ({_line(error.__cause__ or error)}). {_nothing(repo_id, made)}."
        ) from None
    except (httpx.HTTPError, ConnectionError, TimeoutError) as error:
        raise PublishError(
            f"the Hugging Face hub cannot be reached ({_line(error)}). {_nothing(repo_id, made)}; run the same "
            "command again: what it has of large files already is not sent twice."
        ) from None
    except ValueError as error:
        if isinstance(error, PublishError):
            raise
        words = " ".join(str(error).split())
        raise PublishError(f"the hub refuses what was sent: {words} {_nothing(repo_id, made)}.") from None


def _nothing(repo_id: str, made: list[str]) -> str:
    """What an error leaves on the hub."""
    what = f"the push has only made {' and '.join(made)}" if made else f"{repo_id} is as it was"
    return f"Nothing was published: {what}"


_WHO = "the hub does not know who you are: log in with `hf auth login`, or set HF_TOKEN, with a token that may write."


def _refused(repo_id: str, error: HfHubHTTPError, nothing: str) -> str:
    status = error.response.status_code
    if status == 401:
        return f"{_WHO} {nothing} (401)."
    if status == 403:
        return (
            f"the hub does not let you write to {repo_id} (403: {error.server_message or 'forbidden'}). {nothing}. "
            "Use a token with write access to it (https://huggingface.co/settings/tokens; `hf auth whoami` says whose "
            "is in use), or name a repository of your own."
        )
    return f"the hub refuses ({status}: {error.server_message or _line(error)}). {nothing}."


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
