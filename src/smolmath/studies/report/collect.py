"""Everything the report shows, read from metrics/, data/, results/, journal/ and Git into frozen dataclasses.

What does not exist yet is None or an empty list, and the page says which command makes it. What exists but cannot be
read stops the report, with the file named: a page with a hole in it would be taken for the whole.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.evaluation.metrics import Metrics, averaged
from smolmath.evaluation.retention import Retained, read_retention
from smolmath.params.core import load_section, lookup, lookup_or_none, read_params
from smolmath.params.evaluate import EvaluateParams
from smolmath.params.phases import Phase, load_phase_params
from smolmath.running.graph import load_stages
from smolmath.running.lockfile import Recorded, named, workspace_lock
from smolmath.running.repository import GitError, git
from smolmath.studies.provenance.trail import journal_entry
from smolmath.studies.report.against import Against, against_parent
from smolmath.studies.report.completions import Browsed, browse
from smolmath.studies.report.data import DatasetRows, dataset_rows
from smolmath.studies.results import Evaluation, ReportError, put_back, read_evaluation
from smolmath.studies.revisions import outdated_evaluations
from smolmath.tags import Tags


@dataclass(frozen=True)
class Curve:
    """metrics/train/<phase>.csv. Each column has a value per step, None where it was not measured."""

    steps: list[float]
    columns: dict[str, list[float | None]]


@dataclass(frozen=True)
class StageFacts:
    """The journal entry of the run that dvc.lock records; `entry` is None where there is none."""

    stage: str
    entry: dict[str, Any] | None
    changed_params: list[str]  # hashed params that differ from those that dvc.lock says the stage ran with


@dataclass(frozen=True)
class GitState:
    commit: str | None
    subject: str
    changed: int  # files that differ from the commit, untracked ones too
    problem: str  # why there is no commit, else empty


@dataclass(frozen=True)
class Report:
    models: list[str]
    datasets: list[str]
    token_limits: Mapping[str, int]  # of a completion, by dataset
    phases: dict[str, Phase]
    evaluations: dict[tuple[str, str], Evaluation | None]  # (model, dataset), all that evaluate names
    outdated: dict[tuple[str, str], str]  # those of weights or problems that were made again since -> which
    curves: dict[str, Curve | None]  # phase -> curve
    data: list[DatasetRows]
    retained: dict[tuple[str, str, str], Retained]  # (model, dataset, measure)
    browsed: list[Browsed]
    tags: Tags
    against: Against | None  # None: no commit has other results
    git: GitState
    params_text: str
    stages: list[StageFacts]

    @property
    def averages(self) -> dict[str, Metrics]:
        """Model -> its mean accuracy over the datasets, where there are several and it was evaluated on all."""
        found: dict[str, Metrics] = {}
        for model in self.models:
            evaluations = {d: vars(e) for d in self.datasets if (e := self.evaluations[model, d]) is not None}
            if len(evaluations) == len(self.datasets) and (average := averaged(evaluations)):
                found[model] = average
        return found

    def init_of(self, model: str) -> str | None:
        """The model that `model` was trained from; None for the base."""
        return self.phases[model].init if model in self.phases else None


def collect() -> Report:
    """Read the working directory, which must be a smolmath repository's root.

    Raises: ParamsError, RecordsError or ReportError naming the file that cannot be read.
    """
    if not Path("dvc.yaml").is_file():
        raise ReportError(f"{Path.cwd()} holds no dvc.yaml, so it is no project to report on.")
    params = read_params()
    evaluate = load_section(params, "evaluate", EvaluateParams)
    phases = {name: _on_its_dataset(load_phase_params(params, name), params) for name in lookup(params, "phases")}
    tags = Tags(lookup(params, "prompt.reasoning_tag"), lookup(params, "prompt.answer_tag"))
    pairs = [(model, dataset) for dataset in evaluate.datasets for model in evaluate.models]
    stages = load_stages(params)
    lock = named(workspace_lock(), stages)
    outdated = outdated_evaluations(lock)
    return Report(
        models=evaluate.models,
        datasets=evaluate.datasets,
        token_limits={name: evaluate.sampling_of(name).max_completion_tokens for name in evaluate.datasets},
        phases=phases,
        evaluations={
            (model, dataset): None
            if (model, dataset) in outdated
            else read_evaluation(Path("metrics/eval", model, f"{dataset}.json"))
            for model, dataset in pairs
        },
        outdated=outdated,
        curves={name: read_curve(Path("metrics/train", f"{name}.csv")) for name in phases},
        data=[dataset_rows(name, entry) for name, entry in lookup(params, "datasets").items()],
        retained=read_retention(Path("metrics/retention.csv")),
        browsed=browse(evaluate.models, evaluate.datasets, outdated),
        tags=tags,
        against=against_parent(),
        git=read_git(),
        params_text=Path("params.yaml").read_text(encoding="utf-8"),
        stages=_stages(params, stages, lock),
    )


def read_curve(path: Path) -> Curve | None:
    """None if there is no such file. Raises: ReportError naming line and column of a cell that is no number."""
    if not path.is_file():
        return None
    columns: dict[str, list[float | None]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, restkey="", restval="")
        names = list(rows.fieldnames or [])
        if "step" not in names:
            raise ReportError(f"{path}: no column 'step'. {put_back(path)}")
        columns = {name: [] for name in names}
        for row in rows:
            for name in names:
                columns[name].append(_cell(row[name], name, path, rows.line_num))
    return Curve([step for step in columns.pop("step") if step is not None], columns)


def read_git() -> GitState:
    """The checked-out commit and how many files differ from it."""
    try:
        commit = git("log", "-1", "--format=%H%x00%s")
        changed = git("status", "--porcelain")
    except GitError as error:
        return GitState(None, "", 0, str(error))
    sha, _, subject = commit.strip().partition("\0")
    return GitState(sha, subject, len(changed.splitlines()), "")


def _stages(params: dict[str, Any], stages: Iterable[str], lock: Mapping[str, Recorded]) -> list[StageFacts]:
    found = []
    for name in stages:
        made = lock.get(name)
        changed = [key for key, value in made.params.items() if lookup_or_none(params, key) != value] if made else []
        found.append(StageFacts(stage=name, entry=journal_entry(made) if made else None, changed_params=changed))
    return found


def _on_its_dataset(phase: Phase, params: dict[str, Any]) -> Phase:
    """A phase on rated problems trains on, and is evaluated on, the dataset that they are of."""
    rated = lookup_or_none(params, f"difficulty.{phase.dataset}.dataset")
    return phase if rated is None else phase.model_copy(update={"dataset": rated})


def _cell(text: str, column: str, path: Path, line: int) -> float | None:
    """A number, or None for an empty cell; a row without its step is broken."""
    if not text and column != "step":
        return None
    try:
        return float(text)
    except ValueError:
        raise ReportError(f"{path}:{line}: {column}: {text!r} is no number. {put_back(path)}") from None
