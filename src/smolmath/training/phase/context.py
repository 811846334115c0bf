"""What a phase's trainer, its callbacks and its preflight share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from smolmath.params.phases import Phase
from smolmath.params.prompt import PromptParams
from smolmath.running.params import HardwareParams
from smolmath.training.phase.arguments import shared_arguments
from smolmath.training.phase.samples import Samples, Scorer
from smolmath.training.phase.stopwatch import Stopwatch

P = TypeVar("P", bound=Phase)  # the method's phase: SftPhase or GrpoPhase


@dataclass(frozen=True)
class PhaseContext(Generic[P]):
    """One training of one phase."""

    name: str
    phase: P
    prompt: PromptParams
    hardware: HardwareParams
    dtype: str  # of the weights
    seed: int
    state: Path  # folder that survives a kill
    model: Any
    tokenizer: Any
    peft_config: Any  # None: every weight is trained
    problems: Sequence[dict[str, Any]]  # of the train side, whose prompts fit
    max_completion_tokens: int
    score: Scorer | None  # the phase's rewards outside its trainer; None where it has none
    samples: Samples
    stopwatch: Stopwatch

    @property
    def arguments(self) -> dict[str, Any]:
        """What every trainer's config is given."""
        return shared_arguments(self.phase, seed=self.seed, dtype=self.dtype, hardware=self.hardware, state=self.state)

    @property
    def best(self) -> Path:
        """Folder of the weights that are kept until the phase ends."""
        return self.state / "best"
