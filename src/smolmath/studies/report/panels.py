"""Which curves a phase's report shows, and how they are smoothed; nothing is drawn here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from smolmath.params.phases import GrpoPhase, Phase
from smolmath.studies.report.collect import Curve

SMOOTH_FROM = 20  # a shorter curve is shown as it is
LARGEST_WINDOW = 51


@dataclass(frozen=True)
class Line:
    """One value per step, None where it was not measured. `smooth` and `errors` (± 1 SE) may be empty."""

    label: str
    values: list[float | None]
    smooth: list[float | None] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    total: bool = False  # what the panel's other lines add up to


@dataclass(frozen=True)
class Panel:
    """One small plot over the optimiser steps."""

    name: str  # of its files
    title: str
    unit: str  # of the y axis
    share: bool  # shown in percent
    steps: list[float]
    lines: list[Line]
    caption: str  # what title and unit do not say; may be empty


@dataclass(frozen=True)
class View:
    """Columns of a curve that share a panel: column -> what its line is called."""

    name: str
    title: str
    unit: str
    columns: dict[str, str]
    note: str = ""  # the caption


REWARD = View("reward", "Reward", "reward per completion", {})  # its columns are the phase's rewards
LOSS = View("loss", "Loss", "nats per token", {"loss": "train loss"})
AFTER_REWARD = (
    View("tokens", "Completion length", "tokens per completion", {"completion_tokens": "mean"}),
    View(
        "shares",
        "Cut off; without signal",
        "share",
        {"clipped_share": "cut off", "zero_spread_groups": "no signal"},
        "Cut off: completions that ran into the limit. No signal: groups whose rewards are all equal.",
    ),
    View("entropy", "Entropy", "nats per token", {"entropy": "entropy"}),
    View("kl", "Distance from the init", "KL, nats per token", {"kl": "KL"}),
)
AFTER_LOSS = (View("token-accuracy", "Token accuracy", "share of tokens", {"token_accuracy": "accuracy"}),)


def panels(phase: Phase, curve: Curve, validation_problems: int | None) -> list[Panel]:
    """The phase's small multiples, without those of which nothing was measured.

    Args: validation_problems: how many each validation accuracy was measured on; None if unknown, then no error band.
    """
    validation = _validation(curve, validation_problems)
    if isinstance(phase, GrpoPhase):
        found = [_panel(REWARD, curve, _reward_columns(phase, curve)), validation]
        found += [_panel(view, curve, _columns(view, curve)) for view in AFTER_REWARD]
    else:
        found = [_panel(LOSS, curve, _columns(LOSS, curve)), validation]
        found += [_panel(view, curve, _columns(view, curve)) for view in AFTER_LOSS]
    return [panel for panel in found if panel is not None]


def smoothing_window(steps: int) -> int:
    """An odd number of steps, about a tenth of the curve; 1, no smoothing, for a short one."""
    return 1 if steps < SMOOTH_FROM else min(steps // 10 // 2 * 2 + 1, LARGEST_WINDOW)


def smoothing_note(steps: int) -> str:
    """What to say above the panels of a curve that is so long."""
    window = smoothing_window(steps)
    return f"Light: as logged; strong: centred mean over {window} steps." if window > 1 else "As logged."


def smoothed(values: Sequence[float | None], window: int) -> list[float | None]:
    """Centred moving mean over an odd `window`, narrower at the ends; None stays None.

    smoothed([0, 3, 6, 9], 3) -> [1.5, 3, 6, 7.5]
    """
    half = window // 2
    result: list[float | None] = []
    for i, value in enumerate(values):
        near = [v for v in values[max(0, i - half) : i + half + 1] if v is not None]
        result.append(None if value is None else math.fsum(near) / len(near))
    return result


def _columns(view: View, curve: Curve) -> dict[str, list[float | None]]:
    return {label: curve.columns.get(column, []) for column, label in view.columns.items()}


def _reward_columns(phase: GrpoPhase, curve: Curve) -> dict[str, list[float | None]]:
    """The reward and its weighted parts, which add up to it; a reward of weight 0 only watches, and is left out."""
    parts: dict[str, list[float | None]] = {}
    for name, weight in phase.reward_weights.items():
        values = curve.columns.get(f"reward_{name}")
        if weight and values:
            parts[f"{name} × {weight:g}"] = [None if value is None else weight * value for value in values]
    return {"reward": curve.columns.get("reward", []), **(parts if len(parts) > 1 else {})}


def _panel(view: View, curve: Curve, columns: dict[str, list[float | None]]) -> Panel | None:
    window = smoothing_window(len(curve.steps))
    lines = [
        Line(
            label, values, smoothed(values, window) if window > 1 else [], total=label == "reward" and len(columns) > 1
        )
        for label, values in columns.items()
        if any(value is not None for value in values)
    ]
    if not lines:
        return None
    share = view.unit.startswith("share")
    return Panel(view.name, view.title, view.unit, share, curve.steps, lines, view.note)


def _validation(curve: Curve, problems: int | None) -> Panel | None:
    values = curve.columns.get("validation_accuracy", [])
    if not any(value is not None for value in values):
        return None
    errors, caption = [], "Greedy, as measured."
    if problems is not None and problems > 1:
        errors = [0.0 if p is None else math.sqrt(p * (1 - p) / (problems - 1)) for p in values]
        caption = f"Greedy, on {problems} validation problems; band: ±\u00a01\u00a0SE."
    line = Line("accuracy", values, errors=errors)
    return Panel("validation", "Validation accuracy", "share right", True, curve.steps, [line], caption)
