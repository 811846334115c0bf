"""The training curve: one CSV row per step, for DVC plots and the report.

Taken from the trainer's log history, which its checkpoints carry: a resumed run has no gap and no step twice. Seconds
are left out, since nothing that differs between two identical runs may enter a committed file.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# TRL's name -> column. Columns that a method doesn't log are left out of its file.
COLUMNS = {
    "step": "step",
    "loss": "loss",
    "reward": "reward",
    "reward_std": "reward_std",
    "frac_reward_zero_std": "zero_spread_groups",
    # Where groups without a spread are redrawn: how many were, completions drawn in all, reward of the first draw.
    "resample/groups": "redrawn_groups",
    "resample/completions": "drawn_completions",
    "resample/first_reward": "first_reward",
    "resample/skipped": "skipped_prompts",  # by online difficulty
    "completions/mean_length": "completion_tokens",
    "completions/clipped_ratio": "clipped_share",
    "entropy": "entropy",
    "kl": "kl",
    "mean_token_accuracy": "token_accuracy",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "clip_ratio/region_mean": "clip_ratio",
    # Where vLLM samples: how far its probabilities are from those that the training computes for the same tokens.
    "sampling/sampling_logp_difference/mean": "sampling_difference",
    "sampling/sampling_logp_difference/max": "sampling_difference_max",
    "sampling/importance_sampling_ratio/min": "sampling_ratio_min",
    "sampling/importance_sampling_ratio/mean": "sampling_ratio",
    "sampling/importance_sampling_ratio/max": "sampling_ratio_max",
    "validation_accuracy": "validation_accuracy",
    "validation_reward": "validation_reward",
    "answer_grounding": "answer_grounding",
}
# The number that should rise, whatever the method: DVC plots it, and a template can name only one column.
OBJECTIVES = ("reward", "token_accuracy")


def write_curve(log_history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the curve's CSV; a value that a step lacks is an empty cell, a NaN too.

    `objective`, the last column, repeats the reward (GRPO) or the token accuracy (SFT).
    """
    logged = [entry for entry in log_history if "loss" in entry]
    names = _names(logged[-1] if logged else ())
    present = [name for name in names if any(name in entry for entry in logged)]
    objective = [name for name in present if names[name] in OBJECTIVES][:1]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(names[name] for name in present), *("objective" for _ in objective)])
        for entry in logged:
            writer.writerow([_cell(entry.get(name)) for name in [*present, *objective]])


def named(row: Mapping[str, Any]) -> dict[str, float | int]:
    """The values of one row of the log history under the curve's names; what is missing or NaN is left out."""
    names = _names(row)
    return {names[key]: value for key, value in row.items() if key in names and value is not None and value == value}


def _names(row: Iterable[str]) -> dict[str, str]:
    """TRL's name -> column, with those of the phase's rewards."""
    rewards = {
        name: f"reward_{name.split('/')[1]}"
        for name in sorted(row)  # a trainer state that was read back has its keys in this order
        if name.startswith("rewards/") and name.endswith("/mean")
    }
    return COLUMNS | rewards


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(value) if isinstance(value, int) else f"{float(value):.6g}"
