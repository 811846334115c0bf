"""Generation with vLLM: continuous batching, many times faster than transformers on a GPU."""

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams
from vllm.inputs import tokens_input
from vllm.platforms import current_platform
from vllm.v1.engine.exceptions import EngineDeadError

from smolmath.engines import Completion, Sampling
from smolmath.engines.transformers import ChatReader, load_tokenizer
from smolmath.kernels import arithmetic
from smolmath.prompts import Message
from smolmath.running.params import HardwareParams


class VllmEngine(ChatReader):
    """A model directory in a vLLM engine; each prompt has a seed of its own, whatever its batch."""

    def __init__(
        self, model: Path, *, dtype: str, hardware: HardwareParams, template: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(load_tokenizer(model, template))
        on_cpu = current_platform.is_cpu()
        self.engine: Any = LLM(
            model=str(model),
            dtype=arithmetic(dtype, "cpu" if on_cpu else "cuda"),
            tensor_parallel_size=1 if on_cpu else hardware.vllm_tensor_parallel,
            gpu_memory_utilization=hardware.gpu_memory,
            enforce_eager=on_cpu,  # compiling pays on a GPU; on a CPU it costs minutes
            disable_log_stats=True,
            trust_remote_code=False,
        )
        self._names = itertools.count()

    @property
    def device(self) -> str:
        return str(self.engine.llm_engine.vllm_config.device_config.device_type)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        sampling: Sampling,
        write: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        drawn = [
            SamplingParams(
                n=sampling.samples,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_completion_tokens,
                seed=_seed(sampling.seed, index),
            )
            for index in range(len(prompts))
        ]
        tokenised = [
            {"prompt_token_ids": self.tokenizer(self.render(prompt), add_special_tokens=False)["input_ids"]}
            for prompt in prompts
        ]
        if write is None:
            results = self.engine.generate(tokenised, drawn, use_tqdm=False)
        else:
            results = [self._stream(tokenised[0], drawn[0], write)]
        return [
            [
                Completion(one.text, "stop" if one.finish_reason == "stop" else "length", len(one.token_ids))
                for one in result.outputs
            ]
            for result in results
        ]

    def _stream(self, prompt: Any, drawn: SamplingParams, write: Callable[[str], None]) -> Any:
        """The finished request of one prompt, stepped by hand: `LLM.generate` returns when all is done."""
        engine, name, written = self.engine.llm_engine, str(next(self._names)), 0
        engine.add_request(name, tokens_input(prompt["prompt_token_ids"]), drawn)
        try:
            while engine.has_unfinished_requests():
                for result in engine.step():
                    text = result.outputs[0].text
                    if len(text) > written:
                        write(text[written:])
                        written = len(text)
        except BaseException:  # Ctrl-C too: the engine must not go on with a completion that nobody reads
            with contextlib.suppress(EngineDeadError):  # a terminal's Ctrl-C ends the engine's own process too
                engine.abort_request([name])
            raise
        return result


def _seed(seed: int, index: int) -> int:
    """A seed per prompt that neighbouring batches, whose seeds follow one another, don't share."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:4], "big")
