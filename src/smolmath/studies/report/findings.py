"""What the numbers say: changes against a model's init, paired by problem, and the sentences that head the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from smolmath.evaluation.uncertainty import Estimate, suite_average
from smolmath.studies.report.collect import Report
from smolmath.studies.results import Evaluation
from smolmath.studies.wording import METHODS, is_clear, p_text, percent, signed

SAME = 2e-6  # both files are rounded to six digits
MANY = 3  # datasets on which nothing clear has changed: they share a sentence
KINDS = {"accuracy": "greedy accuracy", "mean_at_k": "sampled accuracy"}


@dataclass(frozen=True)
class Score:
    """The accuracy to compare models by: sampled where samples exist, else greedy."""

    value: float
    se: float
    measure: str  # mean_at_k or accuracy
    counted: str  # what it was measured on, e.g. "n = 320 problems × 4 samples"

    @property
    def kind(self) -> str:
        return KINDS[self.measure]


@dataclass(frozen=True)
class Change:
    """`after` against `before`, on one dataset; what is between them is of the pairs, problem by problem."""

    before: Score
    after: Score
    difference: Estimate  # of shares
    p: float  # corrected for all changes of the retention matrix
    raw_p: float

    @property
    def points(self) -> float:
        """Percentage points."""
        return 100 * self.difference.value

    @property
    def sure(self) -> bool:
        return is_clear(self.p)

    @property
    def kind(self) -> str:
        return "even" if not self.sure else "up" if self.points > 0 else "down"

    @property
    def p_text(self) -> str:
        return p_text(self.p, self.raw_p).replace(" ", "\u00a0")

    @property
    def size(self) -> str:
        """+29.6 ± 1.5"""
        return f"{signed(self.points)}\u00a0±\u00a0{100 * self.difference.se:.1f}"


@dataclass(frozen=True)
class Finding:
    """One sentence on what a phase did, and the softer ones below it; `kind` is up, down, even or missing."""

    kind: str
    sentence: str
    elsewhere: list["Finding"] = field(default_factory=list)


def score(evaluation: Evaluation | None, measure: str | None = None) -> Score | None:
    """By `measure`, or by samples where there are some; None where it was not measured."""
    if evaluation is None:
        return None
    if measure != "accuracy" and evaluation.mean_at_k is not None and evaluation.mean_at_k_se is not None:
        counted = f"n\u00a0=\u00a0{evaluation.n} problems × {evaluation.k}\u00a0samples"
        return Score(evaluation.mean_at_k, evaluation.mean_at_k_se, "mean_at_k", counted)
    return Score(evaluation.accuracy, evaluation.accuracy_se, "accuracy", f"n\u00a0=\u00a0{evaluation.n} problems")


def change(report: Report, model: str, dataset: str, measure: str | None = None) -> Change | None:
    """`model` against its init on `dataset`; None for the base, or where the two were not evaluated the same way.

    Args: measure: as in `score`.
    """
    init = report.init_of(model)
    if init is None:
        return None
    before = score(report.evaluations.get((init, dataset)), measure)
    after = score(report.evaluations.get((model, dataset)), measure)
    if before is None or after is None or before.measure != after.measure:
        return None
    start, found = (report.retained.get((name, dataset, after.measure)) for name in (init, model))
    if start is None or found is None or found.against != init:
        return None
    numbers = (found.difference, found.difference_se, found.difference_low, found.difference_high)
    difference = [number for number in numbers if number is not None]
    if len(difference) < len(numbers) or found.p is None or found.p_corrected is None:
        return None
    # One of the two may have been evaluated since the matrix was made.
    if abs(start.value - before.value) > SAME or abs(found.value - after.value) > SAME:
        return None
    return Change(before, after, Estimate(*difference), found.p_corrected, found.p)


def average_change(report: Report, model: str) -> Estimate | None:
    """The mean of a model's changes in greedy accuracy over all datasets; None where one of them is not known."""
    found = [change(report, model, dataset, "accuracy") for dataset in report.datasets]
    known = [one.difference for one in found if one is not None]
    return suite_average(known) if len(known) == len(found) else None


def findings(report: Report) -> list[Finding]:
    """What each phase did to its own dataset, in the recipe's order, and to the others below it."""
    return [finding for name in report.phases for finding in _findings(report, name)]


def _findings(report: Report, name: str) -> list[Finding]:
    phase = report.phases[name]
    what = f"{METHODS[phase.method]} on {phase.dataset}"
    if name != phase.dataset:
        what += f" ({name})"
    lacking = [model for model in (phase.init, name) if report.evaluations.get((model, phase.dataset)) is None]
    changes = _changes(report, name, phase.dataset)
    if not changes:
        return [Finding("missing", f"{what}: {_why_missing(report, lacking, phase.dataset)}")]
    *first, last = [Finding(found.kind, _sentence(what, found, phase.dataset)) for found in changes]
    # A gain at home may be a loss elsewhere.
    others = [
        (other, dataset)
        for dataset in report.datasets
        if dataset != phase.dataset
        for other in _changes(report, name, dataset)
    ]
    even = [dataset for other, dataset in others if not other.sure]
    told = [(other, dataset) for other, dataset in others if other.sure or len(even) < MANY]
    elsewhere = [Finding(other.kind, _sentence("It", other, dataset)) for other, dataset in told]
    if len(even) >= MANY:
        elsewhere.append(Finding("even", f"It made no clear difference on {', '.join(even)}."))
    return [*first, replace(last, elsewhere=elsewhere)]


def _changes(report: Report, name: str, dataset: str) -> list[Change]:
    """By samples where there are some; and by the greedy completions, where these say otherwise for sure."""
    first, greedy = (change(report, name, dataset, measure) for measure in (None, "accuracy"))
    found = [] if first is None else [first]
    if greedy and (first is None or (greedy.sure and greedy.kind != first.kind)):
        found.append(greedy)
    return found


def _sentence(what: str, found: Change, dataset: str) -> str:
    before, after = percent(found.before.value, found.before.se), percent(found.after.value, found.after.se)
    counted = found.after.counted
    if counted != found.before.counted:
        counted = f"{found.before.counted}; then {counted}"
    words = f"{found.size} points, {counted}, {found.p_text}"
    if found.sure:
        verb = "raised" if found.points > 0 else "lowered"
        return f"{what} {verb} {found.after.kind} on {dataset} from {before} to {after} ({words})."
    even = f"{what} made no clear difference to {found.after.kind} on {dataset}"
    return f"{even}: {before} before, {after} after ({words})."


def _why_missing(report: Report, lacking: Sequence[str], dataset: str) -> str:
    if dataset not in report.datasets:
        return f"not evaluated on {dataset}, which is not among evaluate.datasets."
    if unlisted := [model for model in lacking if model not in report.models]:
        return f"cannot be compared: {' and '.join(unlisted)} is not among evaluate.models."
    if not lacking:
        return f"cannot be compared on {dataset}: not summarized since it was evaluated. Run `dvc repro`."
    if why := next((report.outdated[model, dataset] for model in lacking if (model, dataset) in report.outdated), ""):
        return f"last evaluated with {why} ({' and '.join(lacking)} on {dataset}): run `dvc repro`."
    return f"not evaluated yet ({' and '.join(lacking)} on {dataset}): run `dvc repro`."
