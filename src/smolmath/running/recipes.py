"""Recipes: complete params files under recipes/, put in place of params.yaml."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smolmath.params.core import ParamsError, flat, listing, nearest, read_params

FOLDER = Path("recipes")


def recipes() -> dict[str, str]:
    """Name -> what it is for: the comment that opens the file. Raises: ParamsError if there are none."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found[path.stem] = lines[0].removeprefix("#").strip() if lines and lines[0].startswith("#") else ""
    if not found:
        raise ParamsError(f"{FOLDER.resolve()} holds no recipe: git checkout {FOLDER}")
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


def use_recipe(name: str) -> list[tuple[str, str, str]]:
    """Put a recipe in place of params.yaml; returns what changed."""
    path = recipe_path(name)
    new = read_params(path)
    old = read_params() if Path("params.yaml").is_file() else {}
    part = Path(".params.yaml.part")
    shutil.copyfile(path, part)
    os.replace(part, "params.yaml")
    return differences(old, new)
