"""Source `files`: tables on this machine; a file or folder whose name says train, validation or test is that side."""

import re
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from smolmath.data.tables import is_data_file
from smolmath.errors import StageError
from smolmath.params.datasets import FilesDataset
from smolmath.records import SIDES, Side

_SIDE_WORDS: dict[str, Side] = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "devset", "valset", "validationset"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation", "evalset"), "test"),
}
# gsm8kTest, MATH_test-00000, testSet2
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# What `datasets` and others write beside the rows.
_NO_ROWS = {
    "config.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json", "manifest.json", "metadata.json",
    "package.json", "state.json",
}  # fmt: skip


def data_files(folder: Path) -> list[str]:
    """The data files that lie in a folder, sorted; those of its subfolders, where it holds none itself."""
    lie_here = sorted(p.name for p in folder.iterdir() if p.is_file() and _holds_rows(p))
    below = (p for p in folder.rglob("*") if p.is_file() and _holds_rows(p))
    return lie_here or sorted(name for p in below if not _is_hidden(name := p.relative_to(folder).as_posix()))


def _holds_rows(path: Path) -> bool:
    return is_data_file(path.name) and path.name not in _NO_ROWS and not path.name.startswith(".")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts)


def side_in(name: str) -> Side | None:
    """The side that the name of a file says, or of the folder next above that says one.

    Raises: StageError if one name says two.
    """
    for part in reversed(Path(name).parts):
        said = {_SIDE_WORDS[word] for found in _WORD.findall(part) if (word := found.lower()) in _SIDE_WORDS}
        if len(said) > 1:
            one, other = sorted(said)
            raise StageError(
                f"{name}: its name says {one} and {other}. Say which it is by `sides`, e.g. sides: {{{one}: {name!r}}}"
            )
        if said:
            return said.pop()
    return None


def fetch(params: FilesDataset, out: Path, state: Path) -> dict[str, Any]:
    """Copy the named files into `out`; without `sides` those of a folder, each on the side that its name says.

    Raises: StageError if a side's glob matches nothing, or two sides one file.
    """
    root = Path(params.path)
    if not root.exists():
        raise StageError(f"{root} does not exist: name an existing file or folder in `path`.")
    folder = root.parent if root.is_file() else root
    chosen = _by_sides(root, params.sides) if params.sides else _by_names(root)
    said = [f"{side} {len(names)}" for side in SIDES if (names := [n for n, s in chosen.items() if s == side])]
    if rest := [name for name, side in chosen.items() if side is None]:
        said.append(f"no side {len(rest)} ({_some(rest)}): cut by hash, see `split`; `sides` says otherwise")
    print(f"{root}: files by side: {', '.join(said)}")
    return {"files": [_copy(folder / name, name, out, side) for name, side in sorted(chosen.items())]}


def _by_names(root: Path) -> dict[str, Side | None]:
    if root.is_file():
        return {root.name: side_in(root.name)}
    names = data_files(root)
    if not names:
        raise StageError(f"{root}: no data file lies in it. The folder holds: {_content(root)}.")
    if left_out := sorted({p.name for p in root.iterdir()} - {Path(name).parts[0] for name in names}):
        print(f"{root}: left out as no data files: {_some(left_out)}. `sides` chooses otherwise.")
    whole = side_in(root.name) if root.name.lower() in _SIDE_WORDS else None
    return {name: side_in(name) or whole for name in names}


def _by_sides(root: Path, sides: dict[str, str]) -> dict[str, Side | None]:
    chosen: dict[str, Side | None] = {}
    for side, pattern in sides.items():
        if root.is_file():
            matched = [root.name] if fnmatch(root.name, pattern) else []
        else:
            matched = _matched(root, side, pattern)
        if not matched:
            there = root.name if root.is_file() else _content(root)
            raise StageError(f"{root}: no file matches {pattern!r} (side {side}). There is: {there}.")
        for name in matched:
            if name == "manifest.json":
                raise StageError(
                    f"{root / name}: smolmath writes a file of this name itself. Rename it, or narrow {pattern!r}."
                )
            if name in chosen:
                raise StageError(f"{root / name} is on two sides, {chosen[name]} and {side}: make the globs disjoint.")
            chosen[name] = side  # type: ignore[assignment]  # params know no other
    return chosen


def _matched(root: Path, side: str, pattern: str) -> list[str]:
    parts = Path(pattern).parts
    if not parts or Path(pattern).is_absolute() or ".." in parts:
        raise StageError(f"{root}: {pattern!r} (side {side}) is no pattern of files inside that folder.")
    # Anywhere else, Python 3.13 finds files with it that earlier versions don't.
    if parts[-1] == "**" or any("**" in part != "**" for part in parts):
        raise StageError(
            f"{root}: {pattern!r} (side {side}) is no pattern: ** stands for whole folders, as in '**/*.jsonl'."
        )
    return sorted(p.relative_to(root).as_posix() for p in root.glob(pattern) if p.is_file())


def _content(root: Path) -> str:
    return _some(sorted(p.name for p in root.iterdir())) or "nothing"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _copy(source: Path, name: str, out: Path, side: Side | None) -> dict[str, Any]:
    target = out / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return {"path": name, "side": side}
