"""Weights & Biases, when params ask for it. Its files lie under the main workspace; keys are never touched."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smolmath.params.tracking import TrackingParams


@contextmanager
def tracked(
    params: TrackingParams, *, run_id: str, name: str, phases: list[str], config: dict[str, Any], folder: Path
) -> Iterator[bool]:
    """A W&B run around the body, or none; yields whether there is one.

    Args:
        run_id: the stage's fingerprint, so that a resumed training goes on in the same run (transformers #25032).
        name: the phase. phases: all of them; joined they are the default group. config: the phase's params.
        folder: where W&B keeps its files.
    """
    if params.wandb == "disabled":
        yield False
        return
    import wandb  # here, since it takes a second and most runs don't want it

    folder.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_RESUME"] = "allow"
    run = wandb.init(
        project=params.project,
        id=run_id,
        name=name,
        group=params.group or "-".join(phases),
        tags=params.tags,
        config=config,
        mode=params.wandb,
        dir=str(folder),
        resume="allow" if params.wandb == "online" else None,  # an offline run has no server to ask
    )
    try:
        yield True
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()
