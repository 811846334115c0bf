"""Source `files`: parquet, jsonl or csv on this machine."""

import re
import shutil
from pathlib import Path
from typing import Any

from smolmath.errors import StageError
from smolmath.params.datasets import FilesDataset
from smolmath.records import SIDES

DATA = (".parquet", ".jsonl", ".csv")  # not .json, which is as often something else
_SIDE_WORDS = {"train": "train|training", "validation": "validation|valid|val|dev", "test": "test|testing|eval"}


def data_files(folder: Path) -> list[str]:
    """Names of the data files that lie in a folder, sorted."""
    names = (p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return sorted(name for name in names if name.removesuffix(".gz").endswith(DATA))


def _refuse_hidden_sides(root: Path, names: list[str]) -> None:
    """Files that are called after sides and would be mixed and cut anew: what a source tests on must stay apart."""
    called = {side: re.compile(rf"(?<![a-z])(?:{_SIDE_WORDS[side]})(?![a-z])", re.IGNORECASE) for side in SIDES}
    sides = {side: found for side in SIDES if (found := [name for name in names if called[side].search(name)])}
    if len(sides) > 1:
        suggestion = ", ".join(f'{side}: "{found[0]}"' for side, found in sides.items())
        raise StageError(
            f"{root} has files that are called after sides ({', '.join(f[0] for f in sides.values())}), and `sides` "
            f"does not say which is which. Add sides, as globs: {{{suggestion}}}"
        )


def fetch(params: FilesDataset, out: Path, state: Path) -> dict[str, Any]:
    """Copy the named files into `out`; of a folder without `sides` every .parquet, .jsonl and .csv that lies in it.

    Raises: StageError if a side's glob matches nothing, or two sides one file.
    """
    root = Path(params.path)
    if not root.exists():
        raise StageError(f"{root} does not exist: name an existing file or folder in `path`.")
    if root.is_file():
        if params.sides:
            raise StageError(f"{root} is one file, and `sides` name files of a folder: name the folder in `path`.")
        return {"files": [_copy(root, root.name, out, None)]}
    chosen: dict[str, str | None] = {}
    for side, pattern in (params.sides or {"": "*"}).items():
        parts = Path(pattern).parts
        if not parts or Path(pattern).is_absolute() or ".." in parts:
            raise StageError(f"{root}: {pattern!r} (side {side}) is no pattern of files inside that folder.")
        # Anywhere else, Python 3.13 finds files with it that earlier versions don't.
        if parts[-1] == "**" or any("**" in part != "**" for part in parts):
            raise StageError(
                f"{root}: {pattern!r} (side {side}) is no pattern: ** stands for whole folders, as in '**/*.jsonl'."
            )
        matched = sorted(p.relative_to(root).as_posix() for p in root.glob(pattern) if p.is_file())
        if not side:
            matched = data_files(root)
            _refuse_hidden_sides(root, matched)
            if left_out := sorted({p.name for p in root.iterdir()} - {*matched}):
                print(f"{root}: left out as no data files: {', '.join(left_out[:20])}. `sides` chooses otherwise.")
        if not matched:
            there = ", ".join(sorted(p.name for p in root.iterdir())[:20]) or "nothing"
            raise StageError(f"{root}: no file matches {pattern!r} (side {side or 'all'}). The folder holds: {there}.")
        for name in matched:
            if name == "manifest.json":
                raise StageError(
                    f"{root / name}: smolmath writes a file of this name itself. Rename it, or narrow {pattern!r}."
                )
            if name in chosen:
                raise StageError(f"{root / name} is on two sides, {chosen[name]} and {side}: make the globs disjoint.")
            chosen[name] = side or None
    return {"files": [_copy(root / name, name, out, side) for name, side in sorted(chosen.items())]}


def _copy(source: Path, name: str, out: Path, side: str | None) -> dict[str, Any]:
    target = out / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return {"path": name, "side": side}
