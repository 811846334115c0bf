"""TRL's SFTTrainer on worked solutions, with loss on the completion alone."""

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


METHOD: Method[SftPhase] = Method(
    make_trainer=make_sft_trainer,
    callbacks=lambda context, trainer: [],
    max_completion_tokens=max_completion_tokens,
    look=look,
    scorer=None,
    border=lambda phase: 1,
)
