"""The retention matrix: every model on every dataset, and what each phase gained and lost against its init."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from smolmath.errors import SmolmathError
from smolmath.evaluation import uncertainty
from smolmath.evaluation.paired import Paired, compare_verdicts
from smolmath.evaluation.uncertainty import Estimate
from smolmath.evaluation.verdicts import Row, by_problem, share_right


class RetentionError(SmolmathError):
    """A retention matrix that cannot be read."""


@dataclass(frozen=True)
class Retained:
    """One model on one dataset by one measure; from `against` on, its paired change against its init, if any."""

    model: str
    dataset: str
    measure: str  # accuracy (greedy) or mean_at_k (sampled)
    k: int  # completions per problem
    n: int  # problems
    value: float
    low: float
    high: float
    against: str | None = None
    difference: float | None = None
    difference_se: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    gained: int | None = None  # problems on which it is better than its init
    lost: int | None = None
    p: float | None = None
    p_corrected: float | None = None  # by Holm, for all changes of the matrix


def retention(
    models: Sequence[str],
    datasets: Sequence[str],
    inits: Mapping[str, str],
    verdicts: Callable[[str, str], Sequence[Row]],
) -> list[Retained]:
    """Rows by dataset, model and measure.

    Args: inits: phase -> the model that it was trained from. verdicts: (model, dataset) -> its verdicts.
    """
    found = []
    for dataset in datasets:
        rows = {model: verdicts(model, dataset) for model in models}
        for model in models:
            init = inits.get(model)
            changes = compare_verdicts(rows[init], rows[model]) if init in rows else []
            by_measure = {change.measure: change for change in changes}
            for measure, (k, n, value) in _values(rows[model]).items():
                found.append(_retained((model, dataset, measure), k, n, value, init, by_measure.get(measure)))
    corrected = iter(uncertainty.holm([row.p for row in found if row.p is not None]))
    return [row if row.p is None else replace(row, p_corrected=next(corrected)) for row in found]


def write_retention(path: Path, rows: Sequence[Retained]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Retained))
        for row in rows:
            values = (getattr(row, field.name) for field in fields(Retained))
            writer.writerow(f"{value:.6g}" if isinstance(value, float) else value for value in values)


def read_retention(path: Path) -> dict[tuple[str, str, str], Retained]:
    """(model, dataset, measure) -> its row; empty if there is no such file.

    Raises: RetentionError if the file is no retention matrix.
    """
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        try:
            filled = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
            rows = TypeAdapter(list[Retained]).validate_python(filled)
        except (ValidationError, UnicodeDecodeError, csv.Error) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise RetentionError(
                f"{path}: no retention matrix ({why}). Remove it and run: dvc repro summarize"
            ) from None
    return {(row.model, row.dataset, row.measure): row for row in rows}


def _values(verdicts: Sequence[Row]) -> dict[str, tuple[int, int, Estimate]]:
    """Measure -> (completions per problem, problems, value)."""
    greedy, sampled = by_problem(verdicts)
    values = {"accuracy": (1, len(greedy), uncertainty.share([row["correct"] for row in greedy.values()]))}
    if sampled:
        k = min(map(len, sampled.values()))
        shares = [share_right(samples) for samples in sampled.values()]
        values["mean_at_k"] = (k, len(sampled), uncertainty.mean(shares))
    return values


def _retained(
    key: tuple[str, str, str], k: int, n: int, value: Estimate, init: str | None, change: Paired | None
) -> Retained:
    if change is None:
        return Retained(*key, k, n, value.value, value.low, value.high)
    found = change.difference
    return Retained(
        *key, k, n, value.value, value.low, value.high,
        init, found.value, found.se, found.low, found.high, change.gained, change.lost, change.p,
    )  # fmt: skip
