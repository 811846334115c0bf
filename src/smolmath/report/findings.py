"""What the numbers say: changes against a model's init with their error, and the sentences that head the page.

The error of a change is √(se₁² + se₂²), as if the two models had met different problems. They met the same ones, which
makes the true error smaller as a rule: the sentences err on the side of caution, and need nothing but the committed
metrics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from smolmath.report.collect import Evaluation, Report

SURE = 2.0  # a change counts from this many standard errors on
METHODS = {"grpo": "GRPO", "sft": "SFT"}


@dataclass(frozen=True)
class Score:
    """The accuracy to compare models by: sampled where samples exist, else greedy."""

    value: float
    se: float
    kind: str  # "sampled accuracy" or "greedy accuracy"
    counted: str  # what it was measured on, e.g. "n = 320 problems × 4 samples"


@dataclass(frozen=True)
class Change:
    """`after` against `before`, on one dataset."""

    before: Score
    after: Score

    @property
    def points(self) -> float:
        """In percentage points."""
        return 100 * (self.after.value - self.before.value)

    @property
    def sure(self) -> bool:
        """Whether it is larger than 2 SE."""
        return abs(self.points) > 100 * SURE * math.hypot(self.before.se, self.after.se)


@dataclass(frozen=True)
class Finding:
    """One phase's sentence, and what it did to the other datasets; `kind` is up, down, even or missing."""

    phase: str
    kind: str
    sentence: str
    elsewhere: str


def score(evaluation: Evaluation | None) -> Score | None:
    if evaluation is None:
        return None
    if evaluation.mean_at_k is not None and evaluation.mean_at_k_se is not None:
        counted = f"n\u00a0=\u00a0{evaluation.n} problems × {evaluation.k}\u00a0samples"
        return Score(evaluation.mean_at_k, evaluation.mean_at_k_se, "sampled accuracy", counted)
    return Score(
        evaluation.accuracy, evaluation.accuracy_se, "greedy accuracy", f"n\u00a0=\u00a0{evaluation.n} problems"
    )


def change(report: Report, model: str, dataset: str) -> Change | None:
    """`model` against its init on `dataset`; None for the base, or where the two were not evaluated the same way."""
    init = report.init_of(model)
    before = score(report.evaluations.get((init, dataset))) if init else None
    after = score(report.evaluations.get((model, dataset)))
    if before is None or after is None or before.kind != after.kind:
        return None
    return Change(before, after)


def findings(report: Report) -> list[Finding]:
    """One finding per phase, in the recipe's order."""
    return [_finding(report, name) for name in report.phases]


def percent(value: float, se: float | None = None) -> str:
    """percent(0.675, 0.0142) -> "67.5 ± 1.4 %", with no-break spaces."""
    error = "" if se is None else f"\u00a0±\u00a0{100 * se:.1f}"
    return f"{100 * value:.1f}{error}\u00a0%"


def signed(points: float) -> str:
    """signed(-3.25) -> "−3.2", with a true minus; never "−0.0"."""
    text = f"{points:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _finding(report: Report, name: str) -> Finding:
    phase = report.phases[name]
    what = f"{METHODS[phase.method]} on {phase.dataset}"
    if name != phase.dataset:
        what += f" ({name})"
    lacking = [model for model in (phase.init, name) if report.evaluations.get((model, phase.dataset)) is None]
    found = change(report, name, phase.dataset)
    if found is None:
        return Finding(name, "missing", f"{what}: {_why_missing(report, lacking, phase.dataset)}", "")
    before, after = percent(found.before.value, found.before.se), percent(found.after.value, found.after.se)
    counted = found.after.counted
    if counted != found.before.counted:
        counted = f"{found.before.counted}; then {counted}"
    if found.sure:
        verb = "raised" if found.points > 0 else "lowered"
        sentence = f"{what} {verb} {found.after.kind} on {phase.dataset} from {before} to {after} ({counted})."
    else:
        sentence = (
            f"{what} made no clear difference to {found.after.kind} on {phase.dataset}: "
            f"{before} before, {after} after, within {SURE:.0f}\u00a0SE ({counted})."
        )
    kind = "even" if not found.sure else "up" if found.points > 0 else "down"
    return Finding(name, kind, sentence, _elsewhere(report, name, phase.dataset))


def _why_missing(report: Report, lacking: Sequence[str], dataset: str) -> str:
    if dataset not in report.datasets:
        return f"not evaluated on {dataset}, which is not among evaluate.datasets."
    if unlisted := [model for model in lacking if model not in report.models]:
        return f"cannot be compared: {' and '.join(unlisted)} is not among evaluate.models."
    if not lacking:
        return f"cannot be compared on {dataset}: one side has no samples. Run dvc repro."
    return f"not evaluated yet ({' and '.join(lacking)} on {dataset}): run dvc repro."


def _elsewhere(report: Report, name: str, own: str) -> str:
    """What a phase did to the datasets it was not trained on: a gain at home may be a loss elsewhere."""
    told = []
    for dataset in report.datasets:
        found = change(report, name, dataset) if dataset != own else None
        if found is not None:
            before, after = percent(found.before.value, found.before.se), percent(found.after.value, found.after.se)
            doubt = "" if found.sure else f", within {SURE:.0f}\u00a0SE"
            told.append(f"{dataset} {signed(found.points)}\u00a0points ({before} → {after}{doubt})")
    return f"Elsewhere: {'; '.join(told)}." if told else ""
