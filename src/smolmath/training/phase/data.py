"""Problems as the datasets that TRL trains on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from smolmath.answers import expect
from smolmath.errors import StageError
from smolmath.params.prompt import PromptParams
from smolmath.prompts import chat_prompt, worked_completion
from smolmath.records import PASS_RATES, PROBLEMS, read_table

RATES = "pass_rates.parquet"  # beside a split that stage difficulty has rated


def load_problems(split: Path, side: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Problems of one side, sorted by id: the order on disk must not change a training."""
    return sorted(read_table(split / f"{side}.parquet", PROBLEMS), key=lambda problem: str(problem["id"]))[:limit]


def problems_within(
    problems: Sequence[dict[str, Any]], split: Path, bounds: Sequence[float] | None, phase: str
) -> list[dict[str, Any]]:
    """Those whose pass rate lies within `bounds`, both included; None: all. Raises: StageError if none does."""
    if bounds is None:
        return list(problems)
    rates = {row["problem_id"]: row["correct"] / row["samples"] for row in read_table(split / RATES, PASS_RATES)}
    within = [p for p in problems if bounds[0] <= rates.get(p["id"], -1) <= bounds[1]]
    if not within:
        raise StageError(
            f"phases.{phase}.pass_rate: none of {len(rates)} rated problems lies within {list(bounds)} "
            f"(they go from {min(rates.values(), default=0):.2f} to {max(rates.values(), default=0):.2f}). Widen it."
        )
    unrated = f", {len(problems) - len(rates)} are not rated" if len(rates) < len(problems) else ""
    print(f"{phase}: {len(within)} of {len(problems)} problems have a pass rate within {list(bounds)}{unrated}")
    return within


def fitting_problems(
    problems: Sequence[dict[str, Any]], tokenizer: Any, *, prompt: PromptParams, max_prompt_tokens: int, phase: str
) -> list[dict[str, Any]]:
    """Those whose rendered prompt fits; what is left out is said. Raises: StageError if none fits."""
    if not problems:
        raise StageError(f"phases.{phase}: its dataset has no problem on the train side. Look at data/split.")
    lengths = [
        len(tokenizer.apply_chat_template(chat_prompt(p["question"], prompt), add_generation_prompt=True)["input_ids"])
        for p in problems
    ]
    fitting = [p for p, length in zip(problems, lengths, strict=True) if length <= max_prompt_tokens]
    if not fitting:
        raise StageError(
            f"phases.{phase}.max_prompt_tokens: {max_prompt_tokens} is shorter than every prompt "
            f"({min(lengths)} to {max(lengths)} tokens). Raise it."
        )
    if left_out := len(problems) - len(fitting):
        print(
            f"{phase}: {left_out} of {len(problems)} prompts are longer than {max_prompt_tokens} tokens and left out"
        )
    return fitting


def grpo_dataset(problems: Sequence[dict[str, Any]], prompt: PromptParams) -> Dataset:
    """Columns prompt (chat), question, reference_answer, reasoning: what the rewards read."""
    expect(p["reference_answer"] for p in problems)
    return Dataset.from_list(
        [
            {
                "prompt": chat_prompt(p["question"], prompt),
                "question": p["question"],
                "reference_answer": p["reference_answer"],
                "reasoning": p["reasoning"],
            }
            for p in problems
        ]
    )


def sft_dataset(
    problems: Sequence[dict[str, Any]], tokenizer: Any, *, prompt: PromptParams, max_tokens: int, phase: str
) -> Dataset:
    """Columns prompt and completion (chat), of problems with a worked solution.

    Examples longer than `max_tokens` are left out, and counted: cut off, they would teach to write no answer.
    Raises: StageError if none has a worked solution, or none fits.
    """
    worked = [p for p in problems if p["reasoning"]]
    if not worked:
        raise StageError(
            f"phases.{phase}: none of {len(problems)} train problems has a worked solution, which SFT needs. "
            "Choose a dataset that has them, or method: grpo."
        )
    examples = [
        {
            "prompt": chat_prompt(p["question"], prompt),
            "completion": worked_completion(p["reasoning"], p["reference_answer"], prompt),
        }
        for p in worked
    ]
    lengths = [len(tokenizer.apply_chat_template(e["prompt"] + e["completion"])["input_ids"]) for e in examples]
    fitting = [e for e, length in zip(examples, lengths, strict=True) if length <= max_tokens]
    if not fitting:
        raise StageError(f"phases.{phase}.sft.max_length: {max_tokens} is shorter than every example. Raise it.")
    if left_out := len(examples) - len(fitting):
        print(f"{phase}: {left_out} of {len(examples)} examples are longer than {max_tokens} tokens and left out")
    return Dataset.from_list(fitting)
