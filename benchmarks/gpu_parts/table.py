"""From what the runs of a side noted to its row: medians over blocks of steps, beside the bounds of the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .costs import Machine, Shape, generate_bound_s, generate_flops, train_bound_s, train_flops

COLUMNS = (
    "side", "completions/s", "ratio", "tokens/s generated", "trained",
    "generate, s", "grade, s", "train, s", "rest, s", "memory, GB", "MFU", "of the bound: generate", "train",
)  # fmt: skip


REASONS = {
    # the last two are vLLM's
    "out of memory": ("out of memory", "can't allocate memory", "free memory on device", "no available memory"),
    "not installed": ("not installed", "no module named", "please install"),
}


@dataclass(frozen=True)
class Figures:
    """Of one optimiser step where it is seconds; shares are of what `Machine` was measured to do."""

    completions_per_s: float
    generated_per_s: float  # tokens of completions
    trained_per_s: float  # tokens of prompts and completions
    generate_s: float
    grade_s: float
    train_s: float  # forward, backward and optimiser
    rest_s: float
    memory_bytes: float
    flop_utilisation: float  # model FLOPs of the whole step
    generate_share: float  # seconds of the bound over seconds taken
    train_share: float


def figures(
    runs: Sequence[dict[str, Any]], *, skipped: int, period: int, shape: Shape, machine: Machine, weight_bytes: int
) -> Figures:
    """Medians over the blocks of all runs; a block is the `period` steps that one generation is trained on.

    Args: runs: as `sides.measured` notes them. skipped: steps of the warm-up, a multiple of `period`. weight_bytes: of
    a weight while it generates.
    """
    blocks = [
        _block(run, start, period, shape, machine, weight_bytes)
        for run in runs
        for start in range(skipped, len(run["seconds"]) - period + 1, period)
    ]
    memory = median(run["memory"] for run in runs)
    return Figures(**{name: median(block[name] for block in blocks) for name in blocks[0]}, memory_bytes=memory)


def _block(
    run: dict[str, Any], start: int, period: int, shape: Shape, machine: Machine, weight_bytes: int
) -> dict[str, float]:
    steps = slice(start, start + period)
    seconds = sum(run["seconds"][steps])
    spent = {name: sum(step[name] for step in run["spent"][steps]) for name in ("generate", "grade", "train")}
    batches = [[(p, c) for p, c in batch] for batch in run["generated"][steps] if batch]
    sequences = [sequence for batch in batches for sequence in batch]
    bound = sum(generate_bound_s(shape, batch, machine, weight_bytes=weight_bytes) for batch in batches)
    flops = generate_flops(shape, sequences) + train_flops(shape, sequences)
    return {
        "completions_per_s": len(sequences) / seconds,
        "generated_per_s": sum(c for _, c in sequences) / seconds,
        "trained_per_s": sum(p + c for p, c in sequences) / seconds,
        **{f"{name}_s": taken / period for name, taken in spent.items()},
        "rest_s": (seconds - sum(spent.values())) / period,
        "flop_utilisation": flops / seconds / machine.flops_per_s,
        "generate_share": bound / spent["generate"],
        "train_share": train_bound_s(shape, sequences, machine) / spent["train"],
    }


def markdown(sides: dict[str, Figures | str]) -> str:
    """The table; a side that could not run has the reason for a row. The ratio is to `peer`, where that ran."""
    peer = sides.get("peer")
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, found in sides.items():
        if isinstance(found, str):
            rows.append((name, found, *[""] * (len(COLUMNS) - 2)))
            continue
        ratio = f"{found.completions_per_s / peer.completions_per_s:.2f}" if isinstance(peer, Figures) else ""
        rows.append(
            (
                name,
                f"{found.completions_per_s:.1f}",
                ratio,
                f"{found.generated_per_s:,.0f}",
                f"{found.trained_per_s:,.0f}",
                *(f"{s:.3f}" for s in (found.generate_s, found.grade_s, found.train_s, found.rest_s)),
                f"{found.memory_bytes / 1e9:.1f}",
                *(f"{share:.1%}" for share in (found.flop_utilisation, found.generate_share, found.train_share)),
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def reason(output: str) -> str:
    """Why a side could not run, in a cell's words, from what its process wrote."""
    text = output.lower()
    for cell, told in REASONS.items():
        if any(words in text for words in told):
            return cell
    lines = output.strip().splitlines()
    return f"failed: {lines[-1][:100]}" if lines else "failed"
