"""Section `tracking`: who watches a run. In no stage's params: switching a tracker on reruns nothing."""

from typing import Literal

from pydantic import Field

from smolmath.params.core import Strict


class TrackingParams(Strict):
    wandb: Literal["disabled", "offline", "online"]
    project: str
    group: str | None  # runs of one curriculum stand together under this name; null: the recipe's phases joined
    tags: list[str]
    print_completions: int = Field(ge=0)  # of the completions that a phase samples: how many are printed with grades
