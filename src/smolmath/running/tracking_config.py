"""What a W&B run's config holds: params, data revisions and ids, nothing of the machine."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smolmath.running.repository import GitError, git


def run_config(params: Mapping[str, Any], *, phase: str, fingerprint: str) -> dict[str, Any]:
    """The config of a training's run: the phase's params, its dataset, what it started from, the commit.

    Args: params: the whole of params.yaml.
    """
    own = params["phases"][phase]
    config: dict[str, Any] = _presentable(
        {
            "phase": phase,
            **own,
            "prompt": params["prompt"],
            **_shared_config(params, dataset=own["dataset"], fingerprint=fingerprint),
        }
    )
    return config


def evaluation_config(params: Mapping[str, Any], *, model: str, dataset: str, fingerprint: str) -> dict[str, Any]:
    """The config of an evaluation's run: which model answered which dataset, how it was sampled, the commit."""
    config: dict[str, Any] = _presentable(
        {
            "model": model,
            "dataset": dataset,
            "sampling": params["evaluate"]["sampling"] | params["evaluate"].get("per_dataset", {}).get(dataset, {}),
            "prompt": params["prompt"],
            **_shared_config(params, dataset=dataset, fingerprint=fingerprint),
        }
    )
    return config


def _shared_config(params: Mapping[str, Any], *, dataset: str, fingerprint: str) -> dict[str, Any]:
    config: dict[str, Any] = {"seed": params["seed"], "base_model": params["model"]}
    if rated := params.get("difficulty", {}).get(dataset):
        config["difficulty_entry"] = rated
        dataset = rated["dataset"]
    config["dataset_entry"] = params["datasets"].get(dataset)
    config["dataset_revision"] = _resolved_revision(dataset)
    return {**config, "git_commit": _git_commit(), "fingerprint": fingerprint}


def _resolved_revision(dataset: str) -> str | None:
    """The commit that a dataset of the hub was fetched at, where its raw rows lie here."""
    try:
        manifest = json.loads(Path("data", "raw", dataset, "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    revision = manifest.get("revision")
    return None if revision is None else str(revision)


def _git_commit() -> str | None:
    try:
        return git("rev-parse", "HEAD").strip()
    except GitError:
        return None


def _presentable(value: Any) -> Any:
    """Params without what says where this machine keeps things: of an absolute path the last part is left."""
    if isinstance(value, Mapping):
        return {key: _presentable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_presentable(item) for item in value]
    if isinstance(value, str) and re.match(r"[/~].*/", value):
        return Path(value).name
    return value
