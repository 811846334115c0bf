"""Answer grounding: beside the rewards, make the reference answer likely after the model's own reasoning.

    loss = GRPO's loss + w · 1/G Σ_g 1/|a_g| Σ_t −log π(a_g,t | q_g, r_g, a_g,<t)

For group g: question q, reasoning r of its first completion that closes the reasoning block, answer block a with the
reference answer and the end token; G counts the groups that have such a completion. The gradient reaches the weights
through the answer's tokens alone: no reasoning is rewarded or punished by it. With weight 0 this class is not used.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import selective_log_softmax

from smolmath.tags import Tags
from smolmath.training.grpo.timed import TimedTrainer
from smolmath.training.phase.ranks import gather, processes


class GroundedTrainer(TimedTrainer):
    def __init__(self, *, grounding_weight: float, tags: Tags, **keywords: Any) -> None:
        self.grounding_weight, self.tags = grounding_weight, tags
        super().__init__(**keywords)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        assert self.scored is not None  # just scored
        rows, texts = self.scored.rows, self.scored.texts
        chosen = first_reasoned(texts, self.num_generations, self.tags)
        grounded: list[tuple[list[int], int]] = [([], 0)] * len(texts)
        for i in chosen:
            asked, answer = rows[i]["prompt"], rows[i]["reference_answer"]
            grounded[i] = grounding_example(self.processing_class, asked, texts[i], answer, self.tags)
        # Tensors with a row for each completion, since TRL shuffles and splits everything alike. Each optimiser step
        # of the generation gets its share of the groups, weighted so that the mean is over the groups of all
        # processes, whose gradients are averaged.
        everywhere = sum(gather([len(chosen)]))
        steps = self.args.steps_per_generation / self.args.gradient_accumulation_steps
        width = max(1, *(len(ids) for ids, _ in grounded))
        device = output["completion_ids"].device
        ids = torch.full((len(texts), width), self.processing_class.pad_token_id, dtype=torch.long, device=device)
        marked = torch.zeros((len(texts), width), dtype=torch.bool, device=device)
        attention = torch.zeros((len(texts), width), dtype=torch.long, device=device)
        weight = torch.zeros(len(texts), device=device)
        for i, (tokens, start) in enumerate(grounded):
            ids[i, : len(tokens)] = torch.tensor(tokens, dtype=torch.long, device=device)
            attention[i, : max(1, len(tokens))] = 1  # a row that attends to nothing would be NaN
            marked[i, start : len(tokens)] = True
            weight[i] = steps * processes() / everywhere if tokens else 0.0
        return output | {
            "grounding_ids": ids,
            "grounding_attention": attention,
            "grounding_answer": marked,
            "grounding_weight": weight,
        }

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        chosen = inputs["grounding_weight"] > 0
        added = loss.new_zeros(())
        if processes() > 1 and not chosen.any():
            chosen[0] = True  # weight 0: a divided model needs every process in every pass
        if chosen.any():
            nll = answer_nll(
                model,
                inputs["grounding_ids"][chosen],
                inputs["grounding_attention"][chosen],
                inputs["grounding_answer"][chosen],
            )
            added = (inputs["grounding_weight"][chosen] * nll).sum()
        # TRL averages what the passes of a step log; the parts of this one add up.
        passes = self.args.gradient_accumulation_steps
        everywhere = self.accelerator.gather(added.detach()).mean()
        self._metrics["train"]["answer_grounding"].append(passes * float(everywhere))
        return loss + self.grounding_weight * added


def first_reasoned(texts: Sequence[str], group: int, tags: Tags) -> set[int]:
    """Index of the first completion of each group that closes its reasoning block."""
    closing = f"</{tags.reasoning}>"
    found = set()
    for start in range(0, len(texts), group):
        reasoned = (i for i in range(start, min(start + group, len(texts))) if closing in texts[i])
        if (first := next(reasoned, None)) is not None:
            found.add(first)
    return found


def grounding_example(
    tokenizer: Any, prompt: list[dict[str, str]], completion: str, reference_answer: str, tags: Tags
) -> tuple[list[int], int]:
    """(token ids, index of the answer block's first token): prompt, own reasoning, the block with the reference.

    Reasoning and block are tokenised together, as the model writes them: a tokenizer may join the tag's last sign
    with the line break behind it.
    """
    closing = f"</{tags.reasoning}>"
    reasoning = completion[: completion.index(closing) + len(closing)] + "\n"
    block = f"<{tags.answer}>\n{reference_answer}\n</{tags.answer}>"
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
    written = tokenizer(reasoning + block, add_special_tokens=False, return_offsets_mapping=True)
    first = next(i for i, (start, _) in enumerate(written["offset_mapping"]) if start >= len(reasoning))
    return [*asked, *written["input_ids"], tokenizer.eos_token_id], len(asked) + first


def answer_nll(model: Any, ids: torch.Tensor, attention: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the tokens marked in `answer`, per row. All of shape (rows, tokens)."""
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    likelihood = selective_log_softmax(logits, ids[:, 1:])
    marked = answer[:, 1:]
    return -(likelihood * marked).sum(1) / marked.sum(1).clamp(min=1)
