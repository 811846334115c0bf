"""GRPOTrainer that computes fewer tokens: the same loss and gradient, but for rounding.

TRL pads every row of a generation to its longest prompt and its longest completion. Here the rows of an optimiser step
are sorted by length before they are divided into micro-batches, and each pass is cut to what its own rows hold. Rows
without a loss (cut off, where `mask_truncated_completions` is set) meet in passes of their own, which cost a prompt.

On a CPU, TRL's fused output layer scores prompts and padding too, and walks some twenty times over each tile. There
the model's own output layer and torch's cross entropy take its place.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from trl import GRPOTrainer
from trl.trainer.utils import entropy_from_logits

Batch = dict[str, Any]
# What TRL logs as a mean over a pass's tokens, and then averages over passes as if each had as many.
TOKEN_MEANS = ("entropy", "kl")
CLIPPED = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")  # of tokens, or of sequences


class TrimmedTrainer(GRPOTrainer):  # type: ignore[misc]  # trl is untyped here
    _buffered_inputs: Any  # TRL's: a generation, divided into the micro-batches of its passes; None before the first

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before:
            return inputs
        if (
            self.loss_type != "bnpo" and self.top_entropy_quantile == 1
        ):  # these two depend on which rows meet in a pass
            self._buffered_inputs = by_length(self._buffered_inputs, self.args.gradient_accumulation_steps)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,  # (B, P + C), prompts padded on the left, completions on the right
        attention_mask: Tensor,  # (B, P + C)
        logits_to_keep: int,  # C
        batch_size: int | None = None,
        **more: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(log-probabilities (B, C), entropies (B, C) or None, None); 0 where no row of the pass has a token."""
        if more.get("compute_aux_loss"):  # experts, whose balance is one of all tokens of a pass
            return super()._get_per_token_logps_and_entropies(  # type: ignore[no-any-return]
                model, input_ids, attention_mask, logits_to_keep, batch_size, **more
            )
        rows, columns = input_ids.shape
        prompt = columns - logits_to_keep
        parts = []
        for start in range(0, rows, size := batch_size or rows):
            ids, mask = input_ids[start : start + size], attention_mask[start : start + size]
            used = mask.any(dim=0).nonzero()
            first, end = (int(used[0]), max(int(used[-1]), prompt) + 1) if len(used) else (prompt - 1, prompt + 1)
            first = min(first, prompt - 1)  # the token before the first that is scored
            ids, mask = ids[:, first:end], mask[:, first:end]
            self._count(mask)
            scored = self._score(model, ids, mask, end - prompt, **more)
            parts.append([x if x is None else functional.pad(x, (0, columns - end)) for x in scored])
        logps, entropies = ([x for x in column if x is not None] for column in zip(*parts, strict=True))
        return torch.cat(logps), torch.cat(entropies) if entropies else None, None

    def _compute_loss(self, model: Any, inputs: Batch) -> Tensor:
        """TRL's; what it logs as a mean is one over the step's tokens, whichever rows met in a pass."""
        by_token = self.importance_sampling_level == "token"
        values = [self._metrics["train"][name] for name in (*TOKEN_MEANS, *(CLIPPED if by_token else ()))]
        before = [len(logged) for logged in values]
        loss: Tensor = super()._compute_loss(model, inputs)
        tokens = self.accelerator.reduce(inputs["completion_mask"].sum().float())
        # In a step's passes there are as many tokens as in its part of the generation, which TRL counts.
        weight = float(tokens * self.args.steps_per_generation / inputs["num_items_in_batch"].clamp(min=1))
        for logged, length in zip(values, before, strict=True):
            logged[length:] = [value * weight for value in logged[length:]]
        return loss

    def _score(
        self, model: Any, ids: Tensor, mask: Tensor, keep: int, *, compute_entropy: bool = False, **more: Any
    ) -> tuple[Tensor, Tensor | None]:
        if ids.device.type != "cpu":
            logps, entropies, _ = super()._get_per_token_logps_and_entropies(
                model, ids, mask, keep, compute_entropy=compute_entropy, **more
            )
            return logps, entropies
        with self.accelerator.autocast():
            logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=keep + 1).logits[:, :-1]
        logits = logits.float() / self.temperature  # (B, C, vocabulary)
        logps = -functional.cross_entropy(logits.flatten(0, 1), ids[:, -keep:].flatten(), reduction="none")
        entropies = None
        if compute_entropy:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._entropy_bonus_enabled):
                entropies = entropy_from_logits(logits)
        return logps.view(len(ids), keep), entropies

    def _count(self, mask: Tensor) -> None:
        """Tokens of this step's passes that are real, and all that are computed; of all processes together."""
        if not torch.is_grad_enabled():
            return
        real, computed = self.accelerator.reduce(torch.stack([mask.sum(), mask.new_tensor(mask.numel())])).tolist()
        passes = self.args.gradient_accumulation_steps  # TRL averages what the passes of a step log; these add up
        self._metrics["train"]["tokens/real"].append(passes * real)
        self._metrics["train"]["tokens/computed"].append(passes * computed)


def by_length(batches: list[Batch], passes: int) -> list[Batch]:
    """The same rows in the same optimiser steps, those of like completions in one pass.

    Args: passes: of an optimiser step, which are neighbours in `batches`.
    """
    arranged = []
    for start in range(0, len(batches), passes):
        step = batches[start : start + passes]
        lengths = torch.cat([batch["completion_mask"].sum(1) for batch in step])
        prompts = torch.cat([batch["prompt_mask"].sum(1) for batch in step])
        order = sorted(range(len(lengths)), key=lambda row: (int(lengths[row]), int(prompts[row])))
        size = len(lengths) // len(step)
        for number in range(len(step)):
            mine = torch.tensor(order[number * size : (number + 1) * size], device=lengths.device)
            arranged.append({name: _rows(name, step, mine) for name in step[0]})
    return arranged


def _rows(name: str, step: list[Batch], rows: Tensor) -> Any:
    value = step[0][name]
    if not isinstance(value, Tensor) or value.ndim == 0:  # one for the whole generation
        return value
    return torch.cat([batch[name] for batch in step])[rows]
