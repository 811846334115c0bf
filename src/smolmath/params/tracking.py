"""Section `tracking`: who watches a run. In no stage's params: switching a tracker on reruns nothing."""

from typing import Literal

from smolmath.params.core import Strict


class TrackingParams(Strict):
    wandb: Literal["disabled", "offline", "online"]
    project: str
    group: str | None  # runs of one curriculum stand together under this name; null: the recipe's phases joined
    tags: list[str]
