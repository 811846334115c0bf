"""Sections `hardware` and `tracking`: the box that runs a stage, and who watches it. In no stage's params."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from smolmath.params.core import Strict


class HardwareParams(Strict):
    device: Literal["auto", "cpu", "cuda"]
    devices: Literal["auto", "all"] | list[int]  # GPUs: one that no other stage holds, all, or one of these
    engine: Literal["transformers", "vllm"]  # what generates completions for evaluation
    gpu_memory: float = Field(gt=0, le=1)  # share of the GPU that vLLM takes for evaluation
    vllm: Literal["off", "colocate", "server"]  # what generates in GRPO: transformers, vLLM beside it or elsewhere
    vllm_memory: float = Field(gt=0, le=1)  # colocate: vLLM's share of the GPU while training has the rest
    vllm_sleep: bool  # colocate: vLLM frees its memory while the step is trained
    vllm_max_length: int | None = Field(ge=1, default=None)  # colocate: tokens of a prompt and its completion
    vllm_server: str | None  # server: address of a `vllm serve`, e.g. http://localhost:8000
    vllm_tensor_parallel: int = Field(ge=1)  # GPUs that one vLLM engine of ours spreads over
    accelerate: str | None  # a config file of accelerate: train in as many processes as it names; null: in one
    wait_minutes: float = Field(gt=0, default=10)  # of the first of several machines for the others
    engines: int = Field(ge=1)  # that answer for evaluation at the same time; on GPUs, one on each
    attention: Literal["sdpa", "eager", "flash_attention_2"]  # what computes it while a phase trains
    threads: int | None = Field(ge=1)  # CPU threads of torch, of all processes together; null: torch's choice
    micro_batch: int | None = Field(ge=1)  # sequences per forward and backward pass; null: the whole step at once
    checkpoint_minutes: float | None = Field(gt=0)  # a checkpoint at least so often; null: by checkpoint_steps alone
    workers: int | None = Field(ge=1)  # processes that examine raw rows and grade; null: one for each core
    data: Literal["local", "ray"]  # where `process` runs: on this machine or a Ray cluster

    @field_validator("devices")
    @classmethod
    def _devices_are_numbers(cls, devices: str | list[int]) -> str | list[int]:
        if isinstance(devices, list) and (not devices or min(devices) < 0 or len(set(devices)) < len(devices)):
            raise ValueError(f"{devices} names no GPUs: auto, all, or their numbers once each, e.g. [0, 1].")
        return devices

    @field_validator("vllm_server")
    @classmethod
    def _server_is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError(f"{url} is no address: http://localhost:8000, for example.")
        return url and url.rstrip("/")

    @model_validator(mode="after")
    def _server_is_named(self) -> Self:
        if (self.vllm == "server") != (self.vllm_server is not None):
            raise ValueError(
                f"vllm is {self.vllm} and vllm_server {self.vllm_server or 'null'}: a server needs its address, e.g. "
                "http://localhost:8000, and nothing else has one."
            )
        return self


class TrackingParams(Strict):
    wandb: Literal["disabled", "offline", "online"]
    project: str
    group: str | None  # runs of one curriculum stand together under this name; null: the recipe's phases joined
    tags: list[str]
    print_completions: int = Field(ge=0)  # of the completions that a phase samples: how many are printed with grades
