"""The weights that a phase ends with: kept in the state directory while it trains, published from there.

Saving is a matter of all processes (each may hold a part of the weights), publishing of the first one alone; it works
on a copy of its own, so that it is the same whatever the training was divided by.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import TrainerCallback

from smolmath.engines.transformers import load_model
from smolmath.running.launch.config import SHARDED
from smolmath.training.phase.ranks import is_first


def save_weights(trainer: Any, folder: Path) -> None:
    """The weights alone (of a LoRA: the adapter), whole or not at all, in Hugging Face layout. All processes call."""
    kind = trainer.accelerator.distributed_type.value
    whole = trainer.accelerator.get_state_dict(trainer.model_wrapped) if kind in SHARDED else None
    if not is_first():
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(part, state_dict=whole)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def load_weights(init: Path, folder: Path) -> Any:
    """The model whose weights `save_weights` has put into `folder`, in fp32; of a LoRA: the adapter on `init`."""
    if not (folder / "adapter_config.json").is_file():
        return load_model(folder, dtype=torch.float32)
    return PeftModel.from_pretrained(load_model(init, dtype=torch.float32), folder)


class LastWeightsCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Keeps the weights of the last step in a folder, of a phase that does not validate."""

    def __init__(self, folder: Path, trainer: Any) -> None:
        self.folder, self.trainer = folder, trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == state.max_steps:
            save_weights(self.trainer, self.folder / f"step-{state.global_step}")
