"""What a training method gives to the loop that all methods share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from torch import Tensor

from smolmath.params.prompt import PromptParams
from smolmath.training.phase.context import P, PhaseContext
from smolmath.training.phase.preflight import Finding
from smolmath.training.phase.samples import Scorer


@dataclass(frozen=True)
class Method(Generic[P]):
    make_trainer: Callable[[PhaseContext[P]], Any]  # a TRL trainer
    callbacks: Callable[[PhaseContext[P], Any], list[Any]]  # of that trainer, beside the loop's own
    max_completion_tokens: Callable[[P], int]  # what validation may write
    look: Callable[[PhaseContext[P]], tuple[list[Finding], str]]  # preflight
    scorer: Callable[[P, PromptParams, Any], Scorer] | None  # makes `PhaseContext.score`
    border: Callable[[P], int]  # optimiser steps that one generation is trained on
    worst: Callable[[PhaseContext[P], Any, int], Tensor]  # loss of the trainer for as many of the longest sequences
    steps_drawn: Callable[[P], float]  # steps' completions that the look draws; 0: none
