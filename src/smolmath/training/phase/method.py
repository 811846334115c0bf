"""What a training method gives to the loop that all methods share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from smolmath.params.prompt import PromptParams
from smolmath.training.phase.preflight import Finding
from smolmath.training.phase.samples import Scorer

P = TypeVar("P")  # the method's phase: SftPhase or GrpoPhase


@dataclass(frozen=True)
class Method(Generic[P]):
    make_trainer: Callable[..., Any]  # keywords as in training.loop; returns a TRL trainer
    max_completion_tokens: Callable[[P], int]  # what validation may write
    look: Callable[..., tuple[list[Finding], str]]  # preflight
    scorer: Callable[[P, PromptParams, Any], Scorer] | None  # the phase's rewards outside its trainer
    border: Callable[[P], int]  # optimiser steps that one generation is trained on
