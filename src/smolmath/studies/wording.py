"""Numbers as people read them, the same in a comparison, the report, a search and a model's card."""

import math
import shlex

from smolmath.evaluation.uncertainty import RESAMPLES

METHODS = {"grpo": "GRPO", "sft": "SFT"}


def repro(stage: str) -> str:
    """repro("train@sums") -> "dvc repro train@sums"; quoted for a shell, since a name may hold anything."""
    return f"dvc repro {shlex.quote(stage)}"


_CONTROLS = {code: f"⟨U+{code:04X}⟩" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def visible(text: str) -> str:
    """What turns the direction of the text behind it, shown by its number: else "12" can be made to read as "21"."""
    return text.translate(_CONTROLS)


def is_clear(p: float) -> bool:
    """Whether a difference counts: p below 0.05."""
    return p < 0.05


def p_text(p: float, raw: float | None = None) -> str:
    """p_text(0.0003) -> "p = 0.0003"; p_text(0.0006, raw=1 / 10_001) -> "p ≤ 0.0006".

    Args: raw: before the correction. A bootstrap tells no less than one draw in all: the true p may be anything below.
    """
    # Two digits, so that no p below 0.05 reads as 0.05. In files p has six.
    if math.isclose(p if raw is None else raw, 1 / (1 + RESAMPLES), rel_tol=1e-5):
        return f"p ≤ {p:.2g}"
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def signed(points: float) -> str:
    """signed(-3.25) -> "−3.2", with a true minus; never "−0.0"."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def percent(value: float, se: float | None = None) -> str:
    """percent(0.675, 0.0142) -> "67.5 ± 1.4 %", with no-break spaces."""
    error = "" if se is None else f"\u00a0±\u00a0{100 * se:.1f}"
    return f"{100 * value:.1f}{error}\u00a0%"


def duration(seconds: float) -> str:
    """duration(4.21) -> "4.2 s", duration(75) -> "1 min 15 s", duration(7260) -> "2 h 1 min"."""
    if seconds < 60:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60}\u00a0min"
