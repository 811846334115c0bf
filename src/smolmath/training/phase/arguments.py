"""From a phase's params and the hardware to the arguments of TRL's trainers."""

import importlib.util
from pathlib import Path
from typing import Any

import torch

from smolmath.engines.transformers import device_of
from smolmath.errors import StageError
from smolmath.kernels import arithmetic
from smolmath.params.phases import GrpoPhase, Phase
from smolmath.running.params import HardwareParams
from smolmath.training.phase.ranks import processes

BITSANDBYTES = (  # optimisers that transformers takes from there
    *("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "lion_8bit", "lion_32bit"),
    *("paged_lion_8bit", "paged_lion_32bit", "ademamix", "ademamix_8bit", "paged_ademamix_8bit"),
    *("paged_ademamix_32bit", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
)


def shared_arguments(phase: Phase, *, seed: int, dtype: str, hardware: HardwareParams, state: Path) -> dict[str, Any]:
    """Arguments that SFTConfig and GRPOConfig share; all of them are in `trl_fields.OWNED`.

    The global batch is the phase's; what one device takes at a time and how often gradients are added up follow from
    hardware.micro_batch and the number of processes, so that another box trains the same steps.
    """
    if device_of(hardware) == "cuda" and torch.cuda.device_count() > 1 and hardware.accelerate is None:
        raise StageError(
            f"{torch.cuda.device_count()} GPUs are visible, and a phase runs in one process on one of them. "
            "Choose it (CUDA_VISIBLE_DEVICES=0 dvc repro), or train on all: hardware.accelerate: "
            "configs/accelerate/ddp.yaml"
        )
    if device_of(hardware) == "cuda" and dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
        raise StageError("model.dtype: this GPU has no bfloat16. Set it to float16 or float32.")
    optim = str(phase.settings.get("optim", ""))
    if optim in BITSANDBYTES and importlib.util.find_spec("bitsandbytes") is None:
        raise StageError(
            f"{phase.method}.optim: {optim} is bitsandbytes', which is not installed; no lock has it. Install it "
            "(`.venv/bin/uv pip install bitsandbytes`), or set adamw_torch_fused."
        )
    computed = arithmetic(dtype, device_of(hardware))
    sequences = phase.completions_per_step if isinstance(phase, GrpoPhase) else phase.examples_per_step
    if sequences % processes():
        raise StageError(
            f"{sequences} sequences of a step can't be divided equally among {processes()} processes. Change "
            "num_processes in the file that hardware.accelerate names, or the phase's global batch."
        )
    share = sequences // processes()
    micro_batch = largest_divisor(share, hardware.micro_batch or share)
    return {
        "output_dir": str(state / "checkpoints"),
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": share // micro_batch,
        "seed": seed,
        "data_seed": seed,
        "bf16": computed == "bfloat16",
        "fp16": computed == "float16",
        "use_cpu": device_of(hardware) == "cpu",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": phase.checkpoint_steps,
        "save_total_limit": 2,
        "logging_nan_inf_filter": False,  # it would show the last good loss where the loss is lost
        "report_to": [],  # smolmath.running.tracking does
        "disable_tqdm": True,  # smolmath.running.progress shows it
        "ddp_find_unused_parameters": False,  # every weight is used in every pass; looking costs a walk of the graph
        "dataloader_pin_memory": device_of(hardware) == "cuda",
    }


def largest_divisor(share: int, most: int) -> int:
    """The largest divisor of `share` that is no more than `most`."""
    return max(size for size in range(1, min(most, share) + 1) if share % size == 0)
