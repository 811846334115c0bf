"""TRL's SFTTrainer on worked solutions, with loss on the completion alone."""

from collections.abc import Sequence
from typing import Any

from trl import SFTConfig, SFTTrainer

from smolmath.params.phases import SftPhase
from smolmath.params.prompt import PromptParams
from smolmath.training.data import sft_dataset


def make_sft_trainer(
    *,
    model: Any,
    tokenizer: Any,
    phase: SftPhase,
    name: str,
    problems: Sequence[dict[str, Any]],
    prompt: PromptParams,
    arguments: dict[str, Any],
    peft_config: Any,
    callbacks: list[Any],
) -> SFTTrainer:
    return SFTTrainer(
        model=model,
        args=SFTConfig(**phase.sft, **arguments, completion_only_loss=True),
        train_dataset=sft_dataset(problems, prompt, name),
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=callbacks,
    )


def max_completion_tokens(phase: SftPhase) -> int:
    """What validation may write: as long as the longest example that was trained on."""
    return int(phase.sft.get("max_length") or 1024)
