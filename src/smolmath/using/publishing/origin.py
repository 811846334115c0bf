"""What is recorded of a model: base, data, phases, results. Of dvc.lock, the journal and the evaluation; nothing else.

Today's params.yaml is not asked: it may be another recipe than the one that made the model.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.params.core import lookup_or_none
from smolmath.running.hashes import content_hash
from smolmath.running.lockfile import Recorded, producer, workspace_lock
from smolmath.studies.provenance.show import commit_in_words
from smolmath.studies.provenance.trail import Run, Trail, journal_entry, trail
from smolmath.studies.provenance.verify import verify
from smolmath.studies.results import Evaluation, read_evaluation
from smolmath.using.publishing import licences
from smolmath.using.publishing.files import PublishError
from smolmath.using.publishing.recipe import recipe_of


@dataclass(frozen=True)
class Base:
    """The model that the first phase began with."""

    name: str
    hub_id: str | None
    revision: str | None
    licence: str | None  # the hub's identifier; None: not recorded


@dataclass(frozen=True)
class Dataset:
    name: str  # key in params.yaml
    source: str  # in words
    hub_id: str | None
    config: str | None
    revision: str | None
    licence: str | None
    trained: list[str]  # phases
    splits: Mapping[str, str]  # side -> split, of a hub dataset


@dataclass(frozen=True)
class Phase:
    name: str
    dataset: str
    init: str
    params: Mapping[str, Any]
    journal: Mapping[str, Any] | None


@dataclass(frozen=True)
class Result:
    """An evaluation of these weights, with that of the base they came from."""

    dataset: str
    found: Evaluation
    before: Evaluation | None
    harness: str  # the commit that evaluated, in words


@dataclass(frozen=True)
class Origin:
    """Of a model that the pipeline made."""

    trail: Trail
    recipe: Mapping[str, Any]  # the params that its stages ran with
    base: Base
    phases: list[Phase]
    datasets: list[Dataset]  # trained or evaluated on
    results: list[Result]
    doubts: list[str]  # what can't be said, or not be repeated

    @property
    def hub_datasets(self) -> list[str]:
        return sorted({one.hub_id for one in self.datasets if one.hub_id and one.trained})


def origin_of(folder: Path, params: Mapping[str, Any]) -> Origin | None:
    """What is recorded of the model in `folder`; None if the pipeline didn't make it.

    Raises: PublishError if the folder is not what dvc.lock records, or what it was made from was written again since;
    TrailError, LockError, ReportError for records that cannot be read.
    """
    lock = workspace_lock()
    path = _inside(folder)
    if path is None or producer(lock, path) is None:
        return None
    doubts = _checked(path, params)
    found = trail(path)
    recipe = recipe_of(found, lock)
    phases = _phases(found, recipe)
    model = Path(path).name
    results = _results(lock, model, found)
    used = {phase.dataset for phase in phases} | {result.dataset for result in results}
    return Origin(
        trail=found,
        recipe=recipe,
        base=_base(recipe["model"]),
        phases=phases,
        datasets=[_dataset(found, recipe, name, phases) for name in recipe.get("datasets", {}) if name in used],
        results=results,
        doubts=doubts
        + ([] if results else [f"no evaluation of these weights is recorded: dvc repro makes {model}'s"]),
    )


def sampling_of(origin: Origin | None) -> Mapping[str, Any] | None:
    """How the evaluation's completions were made."""
    return lookup_or_none(origin.recipe, "evaluate.sampling") if origin else None


def evaluation_of(lock: Mapping[str, Recorded], model: str, dataset: str, md5: str) -> Path | None:
    """The metrics of the evaluation of the weights with this hash; None if there are none here."""
    completions = f"results/completions/{model}/{dataset}.parquet"
    metrics = f"metrics/eval/{model}/{dataset}.json"
    generated, evaluated = producer(lock, completions), producer(lock, metrics)
    if generated is None or evaluated is None or generated.deps.get(f"models/{model}") != md5:
        return None
    if evaluated.deps.get(completions) != generated.outs[completions] or not Path(metrics).is_file():
        return None
    return Path(metrics) if content_hash(Path(metrics)) == evaluated.outs[metrics] else None


def _inside(folder: Path) -> str | None:
    """The folder's path from the repository's root, as dvc.lock has it; None if it lies elsewhere."""
    for path in (Path(os.path.abspath(folder)), folder.resolve()):  # models/ may be a link to a larger disk
        if path.is_relative_to(Path.cwd()):
            return path.relative_to(Path.cwd()).as_posix()
    return None


def _checked(path: str, params: Mapping[str, Any]) -> list[str]:
    """What `smolmath verify` doubts. Raises: PublishError if the trail is not that of these weights."""
    doubts = []
    for finding in verify([path], params):
        if finding.status == "wrong" and finding.what == path:
            raise PublishError(
                f"{path} is not the model that dvc.lock records ({finding.detail}), so its card would tell of other "
                f"weights. Put it back: dvc checkout {path}; or make it again: dvc repro. To publish these weights "
                "without a trail, copy the folder out of models/ and name the copy with --model."
            )
        if finding.status == "wrong" and finding.what.startswith("read "):
            raise PublishError(
                f"{path}: {finding.stage} {finding.what}, but {finding.detail}. Until then its card would tell of "
                "other data, or of another base, than it was made from."
            )
        if finding.status == "missing":
            doubts.append(f"{finding.stage}: {finding.detail}")
    return doubts


def _phases(found: Trail, recipe: Mapping[str, Any]) -> list[Phase]:
    """From the base to the model."""
    runs = {run.recorded.stage: run for run in found.runs}
    name = Path(found.path).name
    phases: list[Phase] = []
    while (run := runs.get(f"train@{name}")) is not None:
        params = recipe["phases"][name]
        rated = lookup_or_none(
            recipe, f"difficulty.{params['dataset']}.dataset"
        )  # the dataset that its problems are of
        phases.insert(0, Phase(name, rated or params["dataset"], params["init"], params, run.journal))
        name = params["init"]
    return phases


def _base(model: Mapping[str, Any]) -> Base:
    if model["source"] == "hub":
        return Base(model["id"], model["id"], model.get("revision"), licences.MODELS.get(model["id"]))
    if model["source"] == "shipped":
        return Base(f"{model['name']}, the base that smolmath ships", None, None, licences.SHIPPED)
    return Base(f"{Path(model['path']).name}, a local folder", None, None, None)


def _dataset(found: Trail, recipe: Mapping[str, Any], name: str, phases: list[Phase]) -> Dataset:
    entry = recipe["datasets"][name]
    manifest = found.sources.get(name) or {}
    trained = [phase.name for phase in phases if phase.dataset == name]
    if entry["source"] == "hub":
        revision = manifest.get("revision") or entry.get("revision")
        licence = licences.DATASETS.get(entry["id"])
        config = entry.get("config")
        return Dataset(name, entry["id"], entry["id"], config, revision, licence, trained, entry["splits"])
    if entry["source"] == "reasoning_gym":
        options = "".join(f", {key} {value}" for key, value in entry.get("options", {}).items())
        source = f"reasoning-gym {entry['task']}: {entry['rows']:,} generated problems, seed {entry['seed']}{options}"
        return Dataset(name, source, None, None, None, licences.GENERATOR, trained, {})
    return Dataset(name, f"local files ({Path(entry['path']).name})", None, None, None, None, trained, {})


def _results(lock: Mapping[str, Recorded], model: str, found: Trail) -> list[Result]:
    base = next((run.recorded.outs["models/base"] for run in found.runs if "models/base" in run.recorded.outs), None)
    results = []
    for out in (out for made in lock.values() for out in made.outs if out.startswith(f"metrics/eval/{model}/")):
        dataset = Path(out).stem
        metrics = evaluation_of(lock, model, dataset, found.md5)
        evaluation = read_evaluation(metrics) if metrics else None
        if evaluation is None:
            continue
        before = evaluation_of(lock, "base", dataset, base) if base and model != "base" else None
        judged = lock[f"evaluate@{model}-{dataset}"]
        harness = commit_in_words(Run(judged, journal_entry(judged)))
        results.append(Result(dataset, evaluation, read_evaluation(before) if before else None, harness))
    return results
