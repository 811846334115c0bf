"""What autograd keeps of a token, counted on a CPU: the memory that a micro-batch takes on top of the weights."""

import dataclasses
from typing import Any

from .costs import Shape, training_memory
from .world import model_config


def kept_per_token(shape: Shape, *, checkpointing: bool, tokens: int = 256) -> int:
    """Bytes that a layer keeps of a token for the backward pass, in bf16 autocast over fp32 weights, with sdpa.

    The tensors that autograd saves are counted by their storages, in a model of one layer and one of two: the
    difference is a layer's. The weights and their bf16 copies are no part of it.
    """
    one, two = (_kept(dataclasses.replace(shape, layers=layers), checkpointing, tokens) for layers in (1, 2))
    return round((two - one) / tokens)


def _kept(shape: Shape, checkpointing: bool, tokens: int) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    # Nothing that is counted depends on the vocabulary.
    config = model_config(dataclasses.replace(shape, vocabulary=64), eos=0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    copies = {tuple(parameter.shape) for parameter in model.parameters()}
    copies |= {shape[::-1] for shape in copies}
    kept: dict[int, Any] = {}

    def count(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in weights and tuple(tensor.shape) not in copies:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that its address stays its own
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[:, 0] = 0  # as with prompts of several lengths: without padding sdpa needs no mask
    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved), torch.autocast("cpu", torch.bfloat16):
        model.model(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def memory_table(shape: Shape, passes: dict[str, int], batches: tuple[int, ...]) -> str:
    """Computed GB of a training for micro-batches, with and without checkpointing. Args: passes: name -> tokens."""
    layer, kept = (kept_per_token(shape, checkpointing=checkpointing) for checkpointing in (False, True))
    header = "| a pass of | checkpointing | " + " | ".join(map(str, batches)) + " |"
    rows = [
        f"A layer keeps {layer:,} bytes of a token for the backward pass, with checkpointing {kept:,}. "
        "GB by micro-batch:",
        "",
        header,
        "|" + "---|" * (len(batches) + 2),
    ]
    for name, tokens in passes.items():
        for checkpointing in (False, True):
            memories = [
                training_memory(
                    shape,
                    tokens=batch * tokens,
                    kept=kept if checkpointing else layer,
                    layer=layer,
                    checkpointing=checkpointing,
                )
                for batch in batches
            ]
            cells = " | ".join(f"{memory / 1e9:.1f}" for memory in memories)
            rows.append(f"| {name}: {tokens} tokens | {'yes' if checkpointing else 'no'} | {cells} |")
    return "\n".join(rows)
