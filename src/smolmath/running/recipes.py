"""Recipes: complete params files under recipes/, put in place of params.yaml, and what a switch leaves behind."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smolmath.params.core import ParamsError, flat, listing, nearest, read_params
from smolmath.running.graph import load_stages
from smolmath.running.runs import remove

FOLDER = Path("recipes")


def recipes() -> dict[str, str]:
    """Name -> what it is for: the comment that opens the file."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found[path.stem] = lines[0].removeprefix("#").strip() if lines and lines[0].startswith("#") else ""
    return found


def recipe_path(name: str) -> Path:
    """Raises: ParamsError naming the nearest recipe."""
    known = recipes()
    if name not in known:
        raise ParamsError(f"there is no recipe {name!r}.{nearest(name, known)} There are: {listing(known)}.")
    return FOLDER / f"{name}.yaml"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(dotted key, old value, new value) of every key that differs; `—` where one side has none."""
    before, after = flat(old), flat(new)
    return [
        (key, before.get(key, "—"), after.get(key, "—"))
        for key in [*before, *(k for k in after if k not in before)]
        if before.get(key) != after.get(key)
    ]


def leftovers(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Stages that dvc.lock records and `params` no longer names -> their outs."""
    lock = Path("dvc.lock")
    if not lock.is_file():
        return {}
    recorded = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))["stages"]
    current = load_stages(params)
    wanted = {out for stage in current.values() for out in stage.outs}
    return {
        name: [out["path"] for out in entry.get("outs", []) if out["path"] not in wanted]
        for name, entry in recorded.items()
        if name not in current
    }


def use_recipe(name: str) -> list[tuple[str, str, str]]:
    """Put a recipe in place of params.yaml; returns what changed."""
    path = recipe_path(name)
    new = read_params(path)
    old = read_params() if Path("params.yaml").is_file() else {}
    part = Path(".params.yaml.part")
    shutil.copyfile(path, part)
    os.replace(part, "params.yaml")
    return differences(old, new)


def prune(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Remove the leftovers' outs and their entries in dvc.lock; the DVC cache keeps the data. Returns what went."""
    gone = leftovers(params)
    if not gone:
        return {}
    for out in (Path(out) for outs in gone.values() for out in outs):
        remove(out)
        with contextlib.suppress(OSError):  # that of a model that had several, once it is empty
            out.parent.rmdir()
    yaml = YAML()
    yaml.width = 4096
    lock = yaml.load(Path("dvc.lock").read_text(encoding="utf-8"))
    for name in gone:
        del lock["stages"][name]
    with Path("dvc.lock").open("w", encoding="utf-8") as file:
        yaml.dump(lock, file)
    return gone
