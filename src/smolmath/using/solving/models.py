"""A model by name: a phase of this project, a directory in Hugging Face layout, or an id on the hub."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from smolmath.data.bases import model_from_hub
from smolmath.errors import SmolmathError
from smolmath.params.core import load_section, lookup, nearest, parse, read_params
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

    @property
    def public_name(self) -> str:
        """Its name for others: of a path that begins outside the project, the last part."""
        outside = self.name.startswith(("/", "~", ".."))
        return self.folder.resolve().name if outside else self.name

    @cached_property
    def context(self) -> int:
        """Tokens that it can read, prompt and completion together."""
        config = read_json(self.folder / "config.json")
        of_text = config.get("text_config")
        config = of_text if isinstance(of_text, dict) else config
        return int(config.get("max_position_embeddings") or config.get("n_positions") or 1 << 30)


def find_model(asked: str | None, params: Mapping[str, Any] | None = None) -> FoundModel:
    """The model that a person means.

    Args:
        asked: a phase, `base`, a directory or an id on the hub; None is the last phase that has been trained.
        params: params.yaml, read if not given.
    Raises: ModelError if there is none of that name, or it has no weights here; StageError if the hub doesn't have it.
    """
    params = read_params() if params is None else params
    known = ["base", *lookup(params, "phases")]
    if asked is None:
        asked = next((name for name in reversed(known) if has_weights(Path("models", name))), None)
        if asked is None:
            raise ModelError("no model has been made here yet. Run: make demo, or dvc repro (or dvc pull base train).")
    path, name = Path(asked), asked.rstrip("/").removeprefix("models/")
    if name in known:
        folder = Path("models", name)
        if not has_weights(folder):
            stage = name if name == "base" else f"train@{name}"
            make, pull = shlex.join(["dvc", "repro", stage]), shlex.join(["dvc", "pull", str(folder)])
            raise ModelError(f"{name}: {folder} holds no weights. Run: {make} (or {pull}).")
    elif _is_folder(path):
        folder = path
        if not has_weights(folder):
            raise ModelError(f"{asked}: no model directory: config.json or *.safetensors is missing in it.")
    elif _may_be_hub_id(asked):
        folder = model_from_hub(asked, None)
    else:
        raise ModelError(
            f"{asked[:200]}: no model of that name.{nearest(name, known)} There are: {', '.join(known)}; or name a "
            "directory, or an id on the hub such as HuggingFaceTB/SmolLM2-135M-Instruct."
        )
    limit = int(lookup(params, "evaluate.sampling.max_completion_tokens"))
    name = name if name in known else asked
    return FoundModel(name, folder, prompt_of(folder, params), _dtype(folder, name, known, params), limit)


def has_weights(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def prompt_of(folder: Path, params: Mapping[str, Any]) -> PromptParams:
    """The prompt that a model of ours was trained with (smolmath.json), else the project's."""
    origin = folder / "smolmath.json"
    trained_with = read_json(origin).get("prompt") if origin.is_file() else None
    if trained_with:
        return parse(trained_with, f"{origin}: prompt", PromptParams)
    return load_section(params, "prompt", PromptParams)


def read_json(path: Path) -> dict[str, Any]:
    """One of a model's JSON files. Raises: ModelError if it is none."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable ({error}). Copy or make the model again.") from None
    if not isinstance(loaded, dict):
        raise ModelError(f"{path}: holds no JSON object. Copy or make the model again.")
    return loaded


def _dtype(folder: Path, name: str, known: list[str], params: Mapping[str, Any]) -> str:
    if name in known:
        return str(lookup(params, "model.dtype"))
    config = read_json(folder / "config.json")
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a question in the place of a name: too long for a file system
        return False


def _may_be_hub_id(asked: str) -> bool:
    """`owner/name`; what begins with a folder of this machine is a path that was mistyped."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if asked.count("/") != 1 or asked.startswith((".", "/", "~")) or _is_folder(Path(asked).parent):
        return False
    try:
        validate_repo_id(asked)
    except HFValidationError:
        return False
    return True
