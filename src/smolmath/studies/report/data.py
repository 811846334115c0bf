"""Where each dataset's rows came from, which version they are, and where they went."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.studies.results import ReportError, made_again, read_json


@dataclass(frozen=True)
class DatasetRows:
    """Where a dataset's rows went; None for what process or split has not written."""

    dataset: str
    origin: str
    revision: str  # of the hub, or of the raw files' content; empty where they are not here
    processed: dict[str, int] | None  # raw, kept, rejected, not_selected
    rejected: dict[str, int]  # reason -> rows, of process and split together
    sides: dict[str, int] | None  # train, validation, test


def dataset_rows(name: str, entry: Mapping[str, Any]) -> DatasetRows:
    processed = _manifest(Path("data/processed", name), "process")
    split = _manifest(Path("data/split", name), "split")
    rejected = processed["rejected_by_reason"] | split["rejected_by_reason"]  # no reason belongs to both stages
    what = next((entry[key] for key in ("id", "task", "path") if entry.get(key)), "")
    return DatasetRows(
        dataset=name,
        origin=f"{entry.get('source', '')}: {what}",
        revision=_revision(Path("data/raw", name, "manifest.json")),
        processed=processed["rows"],
        rejected=rejected,
        sides=split["rows"],
    )


def _revision(path: Path) -> str:
    """Which version of its source a dataset is: the hub's commit, else a hash of the raw files; or empty."""
    manifest = read_json(path)
    if manifest is None:
        return ""
    if commit := manifest.get("revision"):
        return str(commit)
    files = manifest.get("files")
    if not isinstance(files, list):
        raise ReportError(f"{path}: no list of files. {made_again(path, f'fetch@{path.parent.name}')}")
    hashes = sorted(str(file.get("sha256")) for file in files if isinstance(file, dict))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _manifest(folder: Path, stage: str) -> dict[str, Any]:
    """`rows` and `rejected_by_reason`; None and nothing where the stage has not run."""
    path = folder / "manifest.json"
    manifest = read_json(path)
    if manifest is None:
        return {"rows": None, "rejected_by_reason": {}}
    if not isinstance(manifest.get("rows"), dict) or not isinstance(manifest.get("rejected_by_reason"), dict):
        raise ReportError(f"{path}: no counts of rows. {made_again(path, f'{stage}@{folder.name}')}")
    return manifest
