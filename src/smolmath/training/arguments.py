"""From a phase's params and the hardware to the arguments of TRL's trainers."""

from pathlib import Path
from typing import Any

import torch

from smolmath.engines.transformers import device_of
from smolmath.params.hardware import HardwareParams
from smolmath.params.phases import GrpoPhase, Phase
from smolmath.runs import StageError


def shared_arguments(phase: Phase, *, seed: int, dtype: str, hardware: HardwareParams, state: Path) -> dict[str, Any]:
    """Arguments that SFTConfig and GRPOConfig share; all of them are in `trl_fields.OWNED`.

    The global batch is the phase's; what one device takes at a time and how often gradients are added up follow from
    hardware.micro_batch, so that another box trains the same steps.
    """
    if device_of(hardware) == "cuda" and torch.cuda.device_count() > 1:
        raise StageError(
            f"{torch.cuda.device_count()} GPUs are visible, and a phase runs in one process on one of them. "
            "Choose it: CUDA_VISIBLE_DEVICES=0 dvc repro"
        )
    if device_of(hardware) == "cuda" and dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
        raise StageError("model.dtype: this GPU has no bfloat16. Set it to float16 or float32.")
    sequences = phase.completions_per_step if isinstance(phase, GrpoPhase) else phase.examples_per_step
    micro_batch = min(hardware.micro_batch or sequences, sequences)
    return {
        "output_dir": str(state / "checkpoints"),
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": sequences // micro_batch,
        "seed": seed,
        "data_seed": seed,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": device_of(hardware) == "cpu",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": phase.checkpoint_steps,
        "save_total_limit": 2,
        "logging_nan_inf_filter": False,  # it would show the last good loss where the loss is lost
        "report_to": [],  # smolmath.tracking does
        "disable_tqdm": True,  # smolmath.progress shows it
        "dataloader_pin_memory": device_of(hardware) == "cuda",
    }
