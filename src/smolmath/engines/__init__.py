"""Engines that write completions, behind one interface: `transformers` anywhere, `vllm` on a GPU box."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from smolmath.errors import StageError
from smolmath.prompts import Message
from smolmath.running.params import HardwareParams


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. `temperature` 0 is greedy, and then `samples` must be 1."""

    temperature: float
    top_p: float
    samples: int  # completions per prompt
    max_completion_tokens: int
    seed: int


@dataclass(frozen=True)
class Completion:
    text: str
    finish_reason: str  # "stop", or "length": cut off at max_completion_tokens
    tokens: int  # the end token included


class Reader(Protocol):
    """What a model reads of a chat; needs its tokenizer alone."""

    def render(self, prompt: Sequence[Message]) -> str:
        """The text that the model reads: the chat template, ending where the completion begins."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a rendered prompt."""


class Engine(Reader, Protocol):
    @property
    def device(self) -> str:
        """`cpu` or `cuda`: where the model lies."""

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        write: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        """`sampling.samples` completions for each prompt, in the prompts' order; equal calls give equal results.

        Args: write: for a single completion of a single prompt: is given its text piece by piece, as it comes.
        """


def load_engine(
    model: Path, *, dtype: str, hardware: HardwareParams, template: Mapping[str, Any] | None = None
) -> Engine:
    """The engine that `hardware.engine` names, with the model directory loaded.

    Args:
        dtype: of the weights: float32, bfloat16 or float16.
        template: what the chat template is given by name: `prompt.chat_template_kwargs`.
    """
    # Imported here: torch costs a second and vLLM ten, and a box that uses one may lack the other.
    if hardware.engine == "vllm":
        require_vllm("hardware.engine", "transformers")
        from smolmath.engines.vllm import VllmEngine

        return VllmEngine(model, dtype=dtype, hardware=hardware, template=template)
    from smolmath.engines.transformers import TransformersEngine

    return TransformersEngine.load(model, dtype=dtype, hardware=hardware, template=template)


def require_vllm(key: str, instead: str) -> None:
    """Raises: StageError that names the param which asks for vLLM, where it is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise StageError(f"{key}: vllm is not installed. Run `make setup VLLM=1`, or set it to {instead}.")
