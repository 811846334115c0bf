"""The params that made a model, put together from what dvc.lock records of each of its stages."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from smolmath.running.lockfile import Recorded, upstream
from smolmath.studies.provenance.trail import Trail

PATHS = ("path", "tokenizer")  # keys that hold one


def recipe_of(found: Trail, lock: Mapping[str, Recorded]) -> dict[str, Any]:
    """Sections of params.yaml as the stages of the trail ran with them, and those of the model's evaluation.

    A path outside the repository becomes its last part: a card is public, and nobody else has the rest.
    """
    asked = [made for made in lock.values() if made.deps.get(found.path) == found.md5]
    evaluations = [one for made in asked if made.stage.startswith("generate@") for one in upstream(lock, made)]
    stages = [*evaluations, *(run.recorded for run in found.runs)]  # the trail's word is the last
    recorded = {key: value for made in stages for key, value in made.params.items()}
    nested: dict[str, Any] = {}
    for dotted in sorted(recorded, key=lambda key: key.count(".")):  # a section before its keys
        *parents, last = dotted.split(".")
        section = nested
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = public(recorded[dotted], last)
    return {key: nested[key] for key in sorted(nested)}


def public(value: Any, key: str = "") -> Any:
    """A copy without the paths of this machine."""
    if isinstance(value, Mapping):
        return {name: public(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [public(inner, key) for inner in value]
    if key in PATHS and isinstance(value, str):
        return public_path(value)
    return value


def public_path(path: str) -> str:
    """A path inside the repository as it is, of any other its last part."""
    return f"…/{PurePath(path).name}" if path.startswith(("/", "~", "..")) else path
