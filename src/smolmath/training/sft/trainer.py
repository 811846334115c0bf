"""TRL's SFTTrainer on worked solutions, with loss on the completion alone."""

from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from smolmath.params.phases import SftPhase
from smolmath.training.phase.context import PhaseContext
from smolmath.training.phase.data import sft_dataset
from smolmath.training.phase.method import Method
from smolmath.training.sft.preflight import look


def make_sft_trainer(context: PhaseContext[SftPhase]) -> SFTTrainer:
    phase = context.phase
    return SFTTrainer(
        model=context.model,
        args=SFTConfig(**phase.sft, **context.arguments, completion_only_loss=True),
        train_dataset=sft_dataset(
            context.problems,
            context.tokenizer,
            prompt=context.prompt,
            max_tokens=context.max_completion_tokens,
            phase=context.name,
        ),
        processing_class=context.tokenizer,
        peft_config=context.peft_config,
    )


def max_completion_tokens(phase: SftPhase) -> int:
    """The longest example that is trained on, and what validation may write. 1024 is TRL's default."""
    return int(phase.sft.get("max_length") or 1024)


def worst_loss(context: PhaseContext[SftPhase], trainer: Any, rows: int) -> torch.Tensor:
    """Of the longest examples."""
    shape = (rows, context.max_completion_tokens)
    ids = torch.full(shape, context.tokenizer.pad_token_id, device=trainer.accelerator.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    with trainer.compute_loss_context_manager():
        loss: torch.Tensor = trainer.compute_loss(trainer.model, inputs)
    return loss


METHOD: Method[SftPhase] = Method(
    make_trainer=make_sft_trainer,
    callbacks=lambda context, trainer: [],
    max_completion_tokens=max_completion_tokens,
    look=look,
    scorer=None,
    border=lambda phase: 1,
    worst=worst_loss,
    steps_drawn=lambda phase: 0.0,
)
