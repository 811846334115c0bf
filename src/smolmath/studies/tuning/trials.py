"""How a trial stands: the validations of one that runs, and what one that has ended reached, problem by problem."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from smolmath.evaluation import uncertainty
from smolmath.evaluation.uncertainty import Estimate
from smolmath.params.core import ParamsError, read_params
from smolmath.running.runs import main_workspace
from smolmath.studies.revisions import Revision
from smolmath.studies.tuning.search import Value, overridden

COLUMNS = ("step", "kind", "question", "correct", "reward")


@dataclass(frozen=True)
class Outcome:
    """The best validation of a phase: what its model was chosen by."""

    step: int
    estimate: Estimate
    by_question: dict[str, float]  # accuracy: 1 or 0; reward: the weighted sum
    curve: dict[int, float]  # step -> validation

    @property
    def n(self) -> int:
        return len(self.by_question)


def outcome(experiment: str, phase: str, metric: str) -> Outcome:
    """What an experiment's phase reached by `metric`, accuracy or reward. Raises: RevisionError."""
    revision = Revision(experiment)
    rows = revision.table(f"results/training/{phase}.parquet", COLUMNS).to_pylist()
    curve = validation_curve(revision.text(f"metrics/train/{phase}.csv"), metric)
    best = max(curve, key=lambda step: (curve[step], step))  # of equal ones the later, as the phase chooses
    return Outcome(best, *_judged([row for row in rows if row["step"] == best], metric), curve)


def validation_curve(curve: str, metric: str) -> dict[int, float]:
    """Step -> validation, from a curve's CSV."""
    rows = csv.DictReader(StringIO(curve))
    return {int(row["step"]): float(row[f"validation_{metric}"]) for row in rows if row.get(f"validation_{metric}")}


def validations(phase: str, metric: str, params: Mapping[str, Any], values: Mapping[str, Value]) -> dict[int, float]:
    """Step -> validation of the training that runs with `values`; nothing while it has not validated.

    It runs in a workspace of DVC's, whose params.yaml tells it from the others; its state lies in the main one.
    """
    wanted = overridden(params, values)
    for holder in (main_workspace() / ".work" / f"train@{phase}").glob("*.pid"):
        if _params_of(holder) == wanted:
            try:
                tables = {
                    int(path.name[:8]): pq.read_table(path).to_pylist()
                    for path in sorted(holder.with_suffix("").glob("samples/*-validation.parquet"))
                }
            except FileNotFoundError:  # it has just ended
                return {}
            return {step: _judged(rows, metric)[0].value for step, rows in tables.items()}
    return {}


def _params_of(holder: Path) -> dict[str, Any] | None:
    """params.yaml where the process that holds a state runs; None if it has ended."""
    try:
        return read_params(Path(psutil.Process(int(holder.read_text())).cwd()) / "params.yaml")
    except (OSError, ValueError, psutil.Error, ParamsError):
        return None


def _judged(rows: list[dict[str, Any]], metric: str) -> tuple[Estimate, dict[str, float]]:
    held = [row for row in rows if row.get("kind", "validation") == "validation"]
    if metric == "accuracy":
        found = {row["question"]: float(row["correct"]) for row in held}
        return uncertainty.share([value == 1.0 for value in found.values()]), found
    found = {row["question"]: float(row["reward"]) for row in held if row["reward"] is not None}
    return uncertainty.mean(list(found.values())), found
