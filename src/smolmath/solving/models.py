"""A model by name: a phase of this project, a directory in Hugging Face layout, or an id on the hub."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.bases import model_from_hub
from smolmath.errors import SmolmathError
from smolmath.params.core import load_section, nearest, parse, read_params
from smolmath.params.prompt import PromptParams


class ModelError(SmolmathError):
    """A model that is not there, or can't be used."""


@dataclass(frozen=True)
class FoundModel:
    name: str  # a phase, `base`, or what was asked for
    folder: Path
    prompt: PromptParams  # what it was trained with, where it says so; else the project's
    dtype: str  # of its weights, as torch names it
    max_completion_tokens: int  # the project's limit in evaluation


def find_model(asked: str | None, params: Mapping[str, Any] | None = None) -> FoundModel:
    """The model that a person means.

    Args:
        asked: a phase, `base`, a directory or an id on the hub; None is the last phase that has been trained.
        params: params.yaml, read if not given.
    Raises: ModelError if there is none of that name, or it has no weights here; StageError if the hub doesn't have it.
    """
    params = read_params() if params is None else params
    known = ["base", *params["phases"]]
    if asked is None:
        asked = next((name for name in reversed(known) if has_weights(Path("models", name))), None)
        if asked is None:
            raise ModelError("no model has been made here yet. Run: make demo, or dvc repro (or dvc pull models).")
    path = Path(asked)
    name = path.name if path.as_posix() == f"models/{path.name}" else asked
    if name in known:
        folder = Path("models", name)
        if not has_weights(folder):
            stage = name if name == "base" else f"train@{name}"
            raise ModelError(f"{name}: {folder} holds no weights. Run: dvc repro {stage} (or dvc pull {folder}).")
    elif path.is_dir():
        folder = path
        if not has_weights(folder):
            raise ModelError(f"{asked}: no model directory: config.json or *.safetensors is missing in it.")
    elif asked.count("/") == 1 and not asked.startswith((".", "/", "~")):
        folder = model_from_hub(asked, None)
    else:
        raise ModelError(
            f"{asked}: no model of that name.{nearest(asked, known)} There are: {', '.join(known)}; or name a "
            "directory, or an id on the hub such as HuggingFaceTB/SmolLM2-135M-Instruct."
        )
    limit = int(params["evaluate"]["sampling"]["max_completion_tokens"])
    return FoundModel(name, folder, prompt_of(folder, params), _dtype(folder, name, known, params), limit)


def has_weights(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def prompt_of(folder: Path, params: Mapping[str, Any]) -> PromptParams:
    """The prompt that a model of ours was trained with (smolmath.json), else the project's."""
    try:
        trained_with = json.loads((folder / "smolmath.json").read_text(encoding="utf-8")).get("prompt")
    except FileNotFoundError:
        trained_with = None
    if trained_with:
        return parse(trained_with, f"{folder}/smolmath.json: prompt", PromptParams)
    return load_section(params, "prompt", PromptParams)


def _dtype(folder: Path, name: str, known: list[str], params: Mapping[str, Any]) -> str:
    if name in known:
        return str(params["model"]["dtype"])
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")
