"""Source `hub`: a dataset on the Hugging Face hub, downloaded as it lies there (parquet, jsonl or csv)."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import httpx
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.exceptions import DataFilesNotFoundError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from smolmath.errors import StageError
from smolmath.params.datasets import HubDataset

_COMMIT = re.compile("[0-9a-f]{40}")


def fetch(params: HubDataset, out: Path, state: Path) -> dict[str, Any]:
    """Download the files of the wanted splits at one commit.

    Files arrive in `state` and stay there until the stage has ended well: after a kill only those that were not whole
    are asked for again.
    Raises: StageError if the hub or dataset can't be had.
    """
    with _explained(params.id, params.revision):
        commit, data_files = _data_files(params.id, params.config, params.revision)
        if params.revision != commit:
            print(
                f"warning: {params.id} is fetched at {commit}, but revision {params.revision!r} can move. "
                f"Pin it: revision: {commit}",
                file=sys.stderr,
            )
        files = []
        for side, split in sorted(params.splits.items()):
            if split not in data_files:
                raise StageError(f"{params.id} has no split {split!r}. It has: {', '.join(map(str, data_files))}.")
            files += [{"path": name, "side": side} for name in data_files[split]]
        for file in files:
            huggingface_hub.hf_hub_download(
                params.id, file["path"], repo_type="dataset", revision=commit, local_dir=state / "download"
            )
    for file in files:
        (out / file["path"]).parent.mkdir(parents=True, exist_ok=True)
        _place(state / "download" / file["path"], out / file["path"])
    return {"id": params.id, "config": params.config, "revision": commit, "files": files}


def _place(source: Path, target: Path) -> None:
    """A hard link costs no second copy of what may be gigabytes; where the file system has none, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def head(dataset: str, config: str | None, rows: int, folder: Path) -> tuple[Path, int]:
    """The first `rows` rows of a dataset's first data file, written into `folder`; and how many data files there are.

    Of a parquet file only what holds those rows is read. Raises: StageError if the hub or dataset can't be had.
    """
    with _explained(dataset):
        commit, data_files = _data_files(dataset, config, None)
        names = [name for split in data_files.values() for name in split]
        if not names[0].endswith(".parquet"):
            local = huggingface_hub.hf_hub_download(
                dataset, names[0], repo_type="dataset", revision=commit, local_dir=folder
            )
            return Path(local), len(names)
        with huggingface_hub.HfFileSystem().open(f"datasets/{dataset}@{commit}/{names[0]}") as remote:
            batch = next(pq.ParquetFile(remote).iter_batches(rows))
        pq.write_table(pa.Table.from_batches([batch]), folder / "head.parquet")
        return folder / "head.parquet", len(names)


def _data_files(dataset: str, config: str | None, revision: str | None) -> tuple[str, dict[str, list[str]]]:
    """(commit, split -> paths of its files in the repository)."""
    commit = str(huggingface_hub.HfApi().dataset_info(dataset, revision=revision).sha)
    if revision and _COMMIT.fullmatch(revision) and revision != commit:
        raise StageError(
            f"{dataset} is pinned to {revision}, and the hub gives {commit} for it: its history was changed. Look at "
            "what else was, then pin the new commit; or use source: files with an old copy."
        )
    try:
        builder = datasets.load_dataset_builder(dataset, config, revision=commit)
    # A config that is missing or unknown (the message lists those there are), or a repository without data.
    # RuntimeError: a dataset that is a script, which `datasets` no longer runs.
    except (ValueError, DataFilesNotFoundError, RuntimeError) as error:
        raise StageError(f"{dataset}, config {config!r}: {error}") from None
    found = builder.config.data_files or {}
    # hf://datasets/<id>@<commit>/<path>
    return commit, {str(split): [str(url).split(f"@{commit}/")[-1] for url in urls] for split, urls in found.items()}


@contextmanager
def _explained(dataset: str, revision: str | None = None) -> Iterator[None]:
    """The hub's errors as what a person can do about them."""
    try:
        yield
    except GatedRepoError:
        raise StageError(
            f"{dataset} is gated: whoever wants it must have agreed to its terms. Do so on its page, log in with "
            "`hf auth login`, or use source: files with a local copy."
        ) from None
    except RepositoryNotFoundError:
        raise StageError(
            f"{dataset} is no dataset on the hub, or a private one. Correct it, "
            "log in with `hf auth login`, or use source: files with a local copy."
        ) from None
    except RevisionNotFoundError:
        raise StageError(f"{dataset} has no revision {revision!r}. Name a branch, a tag or a commit.") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise  # this machine's disk
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise StageError(
                f"the Hugging Face hub refuses the dataset {dataset} ({reason}). Log in with `hf auth login`, or use "
                "source: files with a local copy."
            ) from None
        raise StageError(
            f"the Hugging Face hub cannot be reached for the dataset {dataset} ({reason}). Check the network, or "
            "copy the files here and use source: files with their path."
        ) from None
