"""Section `hardware`: the box that runs a stage. In no stage's params: moving to another box reruns nothing."""

from typing import Literal

from pydantic import Field

from smolmath.params.core import Strict


class HardwareParams(Strict):
    device: Literal["auto", "cpu", "cuda"]
    engine: Literal["transformers", "vllm"]  # what generates completions for evaluation
    gpu_memory: float = Field(gt=0, le=1)  # share of the GPU that vLLM takes
    threads: int | None = Field(ge=1)  # CPU threads of torch; null: torch's choice
    micro_batch: int | None = Field(ge=1)  # sequences per forward and backward pass; null: the whole step at once
    workers: int | None = Field(ge=1)  # processes that examine raw rows; null: one for each core
