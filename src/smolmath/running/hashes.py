"""The hashes that DVC writes into dvc.lock, computed as it does, without the second that importing it takes."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def content_hash(path: Path) -> str:
    """What dvc.lock has under `md5` for this file, or for this folder (`….dir`).

    A folder's is the md5 of the JSON list of its files' paths and hashes (dvc_data/hashfile/tree.py). Files that
    our .dvcignore leaves out are left out; a test holds it against DVC's own.

    Raises: FileNotFoundError.
    """
    if path.is_file():
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "md5").hexdigest()
    if not path.exists():
        raise FileNotFoundError(path)
    return listing_hash(file_hashes(path))


def file_hashes(folder: Path) -> dict[str, str]:
    """Path inside a folder -> hash, of the files that count."""
    return {file.relative_to(folder).as_posix(): content_hash(file) for file in input_files(folder)}


def listing_hash(files: Mapping[str, str]) -> str:
    """A folder's hash from those of its files, by path inside it."""
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def fingerprint(stage: str, deps: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """16 hex digits that stand for everything that a stage depends on: deps by path, params by dotted key.

    Computed from a stage's entry in dvc.lock it is the name of the journal entry that tells how its outs were made.
    """
    text = json.dumps([stage, deps, params], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def input_files(path: Path) -> list[Path]:
    """The files of a dep that count: compiled bytecode and half-written files don't."""
    if path.is_file():
        return [path]
    return sorted(f for f in path.rglob("*") if f.is_file() and not any(map(_is_no_input, f.relative_to(path).parts)))


def _is_no_input(name: str) -> bool:
    return name == "__pycache__" or (name.startswith(".") and name.endswith(".part"))
