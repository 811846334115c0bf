"""Source `hub`: a dataset on the Hugging Face hub, downloaded as it lies there (parquet, jsonl or csv)."""

import shutil
import sys
from pathlib import Path
from typing import Any

import datasets
import httpx
import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from smolmath.params.datasets import HubDataset
from smolmath.runs import StageError


def fetch(params: HubDataset, out: Path) -> dict[str, Any]:
    """Download the files of the wanted splits at one commit. Raises: StageError if the hub or dataset can't be had."""
    try:
        info = huggingface_hub.HfApi().dataset_info(params.id, revision=params.revision)
        if params.revision != info.sha:
            print(
                f"warning: {params.id} is fetched at {info.sha}, but revision {params.revision!r} can move. "
                f"Pin it: revision: {info.sha}",
                file=sys.stderr,
            )
        try:
            builder = datasets.load_dataset_builder(params.id, params.config, revision=info.sha)
        except ValueError as error:  # a config that is missing or unknown; the message lists those there are
            raise StageError(f"{params.id}, config {params.config!r}: {error}") from None
        data_files = builder.config.data_files or {}
        files = []
        for side, split in sorted(params.splits.items()):
            if split not in data_files:
                raise StageError(f"{params.id} has no split {split!r}. It has: {', '.join(map(str, data_files))}.")
            for url in data_files[split]:
                files.append(_download(params.id, info.sha, url, out, side))
    except RepositoryNotFoundError:
        raise StageError(
            f"{params.id} is no dataset on the hub, or a private one. Correct it, "
            "log in with `hf auth login`, or use source: files with a local copy."
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StageError(
            f"the Hugging Face hub cannot be reached for the dataset {params.id} ({reason}). Check the network, or "
            "copy the files here and use source: files with their path."
        ) from None
    return {"id": params.id, "config": params.config, "revision": info.sha, "files": files}


def _download(repo: str, commit: str, url: str, out: Path, side: str) -> dict[str, Any]:
    name = str(url).split(f"@{commit}/")[-1]  # hf://datasets/<id>@<commit>/<path>
    local = huggingface_hub.hf_hub_download(repo, name, repo_type="dataset", revision=commit)
    target = out / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(local, target)
    return {"path": name, "side": side}
