"""What a person who watches a run would call out, as log lines. Pure: the rows of a curve in, sentences out.

An alert is given at the first step at which it holds, and again when it has ceased and come back.
"""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from statistics import fmean
from typing import Any

Rows = Sequence[Mapping[str, Any]]  # of the log history: TRL's names

WINDOW = 5  # steps that are averaged: one step of a few groups says little
CLIPPED_SHARE = 0.5
ZERO_SPREAD = 0.8
LENGTH_FACTOR = 3.0  # of the first steps' mean length
ENTROPY_FACTOR = 0.1  # of the first steps' mean entropy
MISMATCH = (
    0.1  # nats a token between the engine that samples and the training: rounding in bf16 makes a few hundredths
)


def new_alerts(rows: Rows, validation_problems: int | None = None) -> list[str]:
    """Alerts that hold after the last row and did not hold before it.

    Args: validation_problems: how many answers an accuracy is of, for its error.
    """
    found = [
        message
        for check in _CHECKS
        if (message := check(rows, validation_problems)) and not check(rows[:-1], validation_problems)
    ]
    return found


def _recent(rows: Rows, name: str) -> float | None:
    """Mean of the last steps; None before there are twice as many, so that beginning and end don't overlap."""
    values = [row[name] for row in rows[-WINDOW:] if row.get(name) is not None]
    return fmean(values) if len(rows) >= 2 * WINDOW and values else None


def _first(rows: Rows, name: str) -> float | None:
    values = [row[name] for row in rows[:WINDOW] if row.get(name) is not None]
    return fmean(values) if values else None


def _entropy(rows: Rows, _: int | None) -> str | None:
    now, first = _recent(rows, "entropy"), _first(rows, "entropy")
    if now is None or first is None or now >= ENTROPY_FACTOR * first or "reward" not in rows[-1]:
        return None
    return (
        f"entropy fell from {first:.3g} to {now:.3g}: the model hardly explores any more. Lower grpo.learning_rate, "
        "or give an entropy bonus (grpo.entropy_coef)."
    )


def _length(rows: Rows, _: int | None) -> str | None:
    now, first = _recent(rows, "completions/mean_length"), _first(rows, "completions/mean_length")
    if now is None or not first or now <= LENGTH_FACTOR * first:
        return None
    return (
        f"completions grew from {first:.0f} to {now:.0f} tokens: read some (results/training, print_completions). A "
        "reward that length pays for needs a counterweight (rewards: overlong, cosine_length)."
    )


def _shrunk(rows: Rows, _: int | None) -> str | None:
    now, first = _recent(rows, "completions/mean_length"), _first(rows, "completions/mean_length")
    right, before = _recent(rows, "rewards/correctness/mean"), _first(rows, "rewards/correctness/mean")
    if now is None or first is None or now * LENGTH_FACTOR >= first or right is None or before is None:
        return None
    if right >= before:
        return None
    return (
        f"completions shrank from {first:.0f} to {now:.0f} tokens, and {right:.0%} of them are right where "
        f"{before:.0%} were: the other rewards are learnt without reasoning. Lower their weights or "
        "grpo.learning_rate, or begin with SFT."
    )


def _clipped(rows: Rows, _: int | None) -> str | None:
    now = _recent(rows, "completions/clipped_ratio")
    if now is None or now <= CLIPPED_SHARE:
        return None
    return f"{now:.0%} of completions are cut off and earn nothing: raise grpo.max_completion_length."


def _zero_spread(rows: Rows, _: int | None) -> str | None:
    now = _recent(rows, "frac_reward_zero_std")
    if now is None or now <= ZERO_SPREAD:
        return None
    return (
        f"{now:.0%} of groups have no spread of rewards and teach nothing: choose problems by pass_rate, redraw "
        "them (resample), or raise grpo.num_generations."
    )


def _mismatch(rows: Rows, _: int | None) -> str | None:
    now = _recent(rows, "sampling/sampling_logp_difference/mean")
    if now is None or now <= MISMATCH:
        return None
    ratio = _recent(rows, "sampling/importance_sampling_ratio/mean")
    return (
        f"what vLLM samples is not what is trained: the log-probabilities of one token differ by {now:.2g} on average"
        f"{f', and the importance ratio is {ratio:.2g}' if ratio is not None else ''}. Compare the types "
        "(model.dtype), start a server with --logprobs-mode processed_logprobs, or set hardware.vllm to off."
    )


def _reward_without_accuracy(rows: Rows, problems: int | None) -> str | None:
    validated = [
        (i, row) for i, row in enumerate(rows) if "validation_accuracy" in row and row.get("reward") is not None
    ]
    if problems is None or len(validated) < 2:
        return None
    best, _ = max(validated, key=lambda item: item[1]["validation_accuracy"])
    last, row = validated[-1]
    high, low = rows[best]["validation_accuracy"], row["validation_accuracy"]
    # Both are answers to the same problems; unpaired, the error is too large rather than too small.
    error = sqrt((high * (1 - high) + low * (1 - low)) / problems)
    then, now = (
        fmean(r["reward"] for r in rows[max(0, i - WINDOW + 1) : i + 1] if r.get("reward") is not None)
        for i in (best, last)
    )
    if high - low <= 2 * error or now <= then:
        return None
    return (
        f"reward rose from {then:.2f} to {now:.2f} while validation accuracy fell from {high:.3f} to {low:.3f}: the "
        "model may have found a way around the rewards. Read its completions (results/training)."
    )


_CHECKS: tuple[Callable[[Rows, int | None], str | None], ...] = (
    _entropy,
    _length,
    _shrunk,
    _clipped,
    _zero_spread,
    _mismatch,
    _reward_without_accuracy,
)
