"""TRL's SFTTrainer on worked solutions, with loss on the completion alone."""

from collections.abc import Sequence
from typing import Any

from trl import SFTConfig, SFTTrainer

from smolmath.params.phases import SftPhase
from smolmath.params.prompt import PromptParams
from smolmath.training.phase.data import sft_dataset
from smolmath.training.phase.method import Method
from smolmath.training.sft.preflight import look


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
    **_: Any,  # what GRPO alone needs
) -> SFTTrainer:
    return SFTTrainer(
        model=model,
        args=SFTConfig(**phase.sft, **arguments, completion_only_loss=True),
        train_dataset=sft_dataset(
            problems, tokenizer, prompt=prompt, max_tokens=max_completion_tokens(phase), phase=name
        ),
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=callbacks,
    )


def max_completion_tokens(phase: SftPhase) -> int:
    """The longest example that is trained on, and what validation may write. 1024 is TRL's default."""
    return int(phase.sft.get("max_length") or 1024)


METHOD: Method[SftPhase] = Method(
    make_trainer=make_sft_trainer,
    max_completion_tokens=max_completion_tokens,
    look=look,
    scorer=None,
    border=lambda phase: 1,
)
