"""Models in and out of a training: fp32 weights while it runs, safetensors in the asked type when it is done."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import GenerationConfig

from smolmath.engines.transformers import device_of, eos_ids, load_model, load_tokenizer
from smolmath.errors import StageError
from smolmath.kernels import arithmetic
from smolmath.params.core import listing, nearest
from smolmath.params.phases import LoraParams
from smolmath.params.prompt import PromptParams
from smolmath.prompts import with_default_system
from smolmath.running.params import HardwareParams
from smolmath.training.phase.ranks import threads_of_each


def load_for_training(
    folder: Path,
    hardware: HardwareParams,
    *,
    dtype: str = "float32",
    frozen: bool = False,
    template: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """(model, tokenizer). Weights that are trained are fp32 whatever model.dtype says: steps of 1e-6 vanish in bf16.

    Frozen ones, beside a LoRA, are loaded in the type that products are computed in: autocast would convert all of
    them for every token. Not where vLLM generates: TRL adds the adapter to them and takes it out, which rounds.

    Args:
        dtype: model.dtype, in which the training computes; not every hardware.attention knows fp32.
        template: as of `load_engine`.
    Raises: StageError if hardware.attention cannot run here.
    """
    if hardware.attention == "flash_attention_2":
        _refuse_missing_flash_attention(hardware, dtype)
    if hardware.threads:
        torch.set_num_threads(threads_of_each(hardware.threads))
    tokenizer = load_tokenizer(folder, template)
    held = arithmetic(dtype, device_of(hardware)) if frozen and hardware.vllm == "off" else "float32"
    return load_model(folder, dtype=held, attn_implementation=hardware.attention), tokenizer


def _refuse_missing_flash_attention(hardware: HardwareParams, dtype: str) -> None:
    """Before the weights are loaded: transformers would go looking for a kernel on the hub, or fail in step 1."""
    if importlib.util.find_spec("flash_attn") is None:
        problem = (
            "flash_attn is not installed, and no lock has it: its build must fit torch and the GPU. Install it by "
            "`.venv/bin/uv pip install --no-build-isolation flash-attn`"
        )
    elif device_of(hardware) == "cpu":
        problem = "it runs on GPUs alone, and this training is on a CPU. Set hardware.device: cuda"
    elif dtype == "float32":
        problem = "it computes in 16 bits alone, and model.dtype is float32. Set that to bfloat16, which is a new run"
    else:
        return
    raise StageError(f"hardware.attention: flash_attention_2: {problem}, or set hardware.attention: sdpa.")


def lora_config(lora: LoraParams | None, model: Any, phase: str) -> LoraConfig | None:
    """Raises: StageError if a target is the name of no module of the model."""
    if lora is None:
        return None
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    names = {name for name, _ in model.named_modules()}
    for target in lora.target_modules:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise StageError(
                f"phases.{phase}.lora.target_modules: the model has no module {target!r}.{nearest(target, linear)} "
                f"There are: {listing(linear)}."
            )
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )


def save_model(model: Any, tokenizer: Any, out: Path, *, dtype: str, prompt: PromptParams) -> None:
    """Weights, configs and tokenizer in Hugging Face layout; a LoRA's adapter in adapter/, merged on top.

    Whoever loads it later gets the model as it was trained, without being told how: the chat template adds the system
    prompt where a chat has none, and the generation config names the tokens that end a completion and nothing else
    (a base may ask for a repetition penalty, which training and evaluation don't use).
    """
    if isinstance(model, PeftModel):
        model.save_pretrained(out / "adapter")
        (out / "adapter" / "README.md").unlink(missing_ok=True)  # peft's generated card
        model = model.merge_and_unload()
    ends = sorted(eos_ids(model, tokenizer))
    model.generation_config = GenerationConfig(
        bos_token_id=model.generation_config.bos_token_id, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    model.to(getattr(torch, dtype)).save_pretrained(out)
    tokenizer.chat_template = with_default_system(tokenizer.chat_template, prompt.system)
    tokenizer.save_pretrained(out)
