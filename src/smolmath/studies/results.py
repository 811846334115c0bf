"""An evaluation's numbers as the pipeline wrote them, and what every reader of results needs."""

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from smolmath.errors import SmolmathError
from smolmath.studies.wording import repro


class ReportError(SmolmathError):
    """A file that the report needs and cannot read; the message is complete and needs no traceback."""


@dataclass(frozen=True)
class Evaluation:
    """metrics/eval/<model>/<dataset>.json; shares in 0…1, tokens per greedy completion, intervals at 95 %."""

    n: int  # problems
    accuracy: float  # greedy
    accuracy_se: float
    accuracy_low: float
    accuracy_high: float
    strict_accuracy: float
    format_rate: float
    truncated: float
    tokens: float
    tokens_p95: float
    k: int  # samples per problem beside the greedy one; 0: none, and then no metric of samples
    mean_at_k: float | None = None
    mean_at_k_se: float | None = None
    mean_at_k_low: float | None = None
    mean_at_k_high: float | None = None
    maj_at_k: float | None = None
    maj_at_k_low: float | None = None
    maj_at_k_high: float | None = None
    reasoning_score: float | None = None  # None where no problem has a worked solution
    all_variants_right: float | None = None  # None where no problem was asked in several variants
    pass_at_k: list[dict[str, float]] = field(default_factory=list)  # k, pass_at_k and its interval
    calibration: list[dict[str, float]] = field(default_factory=list)  # up_to, n, maj_at_k, …
    sources: list[dict[str, Any]] = field(default_factory=list)  # source, n, accuracy, …; where there are several
    levels: list[dict[str, Any]] = field(default_factory=list)  # level, n, accuracy, …; likewise


# The numbers that each entry of an evaluation's lists must have.
LISTED = {
    "pass_at_k": ("k", "pass_at_k", "pass_at_k_low", "pass_at_k_high"),
    "calibration": ("up_to", "n", "maj_at_k", "maj_at_k_low", "maj_at_k_high"),
    "sources": ("n", "accuracy", "accuracy_low", "accuracy_high"),
    "levels": ("n", "accuracy", "accuracy_low", "accuracy_high"),
}


def read_evaluation(path: Path) -> Evaluation | None:
    """None if there is no such file. Raises: ReportError if it is no evaluation."""
    values = read_json(path)
    if values is None:
        return None
    lists = {name: values.get(name, []) for name in LISTED}
    known: dict[str, Any] = {f.name: values.get(f.name) for f in fields(Evaluation) if f.name not in lists}
    of_samples = {name for name in known if "_at_k" in name} if values.get("k") == 0 else set()
    optional = {"reasoning_score", "all_variants_right", *of_samples}
    if bad := [name for name, value in known.items() if name not in optional and not _is_number(value)]:
        raise ReportError(f"{path}: no number under {', '.join(bad)}. {_evaluate_again(path)}")
    if bad := [name for name, found in lists.items() if not _is_list_of(found, LISTED[name])]:
        raise ReportError(f"{path}: no list under {', '.join(bad)}. {_evaluate_again(path)}")
    return Evaluation(**known, **lists)


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: no readable JSON ({error}). {put_back(path)}") from None
    if not isinstance(loaded, dict):
        raise ReportError(f"{path}: holds no object with keys. {put_back(path)}")
    return loaded


def put_back(path: Path) -> str:
    return f"Put it back: dvc checkout {path}, or git checkout {path} if Git tracks it"


def _is_list_of(value: Any, numbers: tuple[str, ...]) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and all(_is_number(entry.get(name)) for name in numbers) for entry in value
    )


def made_again(path: Path, stage: str) -> str:
    """What to do about a broken out. Not `dvc repro -s -f`: that goes past the check of params.yaml's names."""
    return f"Remove it and run: {repro(stage)}"


def _evaluate_again(path: Path) -> str:
    """What to do about metrics/eval/MODEL/DATASET.json."""
    return made_again(path, f"evaluate@{path.parent.name}-{path.stem}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
