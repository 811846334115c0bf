"""The command that serves a model with vLLM, so that it answers as evaluation had it answer."""

import importlib.util
import sys
from pathlib import Path

from smolmath.engines.transformers import load_tokenizer
from smolmath.prompts import with_default_system
from smolmath.running.params import HardwareParams
from smolmath.using.solving.models import FoundModel


def vllm_is_here() -> bool:
    return importlib.util.find_spec("vllm") is not None


def vllm_command(model: FoundModel, hardware: HardwareParams, host: str, port: int) -> list[str]:
    """`vllm serve` with all that it would choose otherwise.

    Without --dtype vLLM turns float32 weights into bfloat16; without --generation-config vllm a base model's own
    repetition penalty and top_k would apply to requests that name none. What was trained here carries its template.
    """
    command = [
        *("vllm", "serve", str(model.folder), "--served-model-name", model.public_name),
        *("--host", host, "--port", str(port), "--dtype", model.dtype),
        *("--generation-config", "vllm", "--gpu-memory-utilization", str(hardware.gpu_memory)),
        *("--tensor-parallel-size", str(hardware.vllm_tensor_parallel)),
    ]
    own = load_tokenizer(model.folder).chat_template
    asked = load_tokenizer(model.folder, model.prompt.chat_template_kwargs).chat_template
    template = with_default_system(asked, model.prompt.system)
    return command if template == own else [*command, "--chat-template", template]


def executable() -> str:
    """vLLM's program beside this environment's Python, whatever PATH says."""
    return str(Path(sys.executable).with_name("vllm"))
