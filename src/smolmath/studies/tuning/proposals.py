"""What Optuna is asked: the study's file, a search's space as its distributions, what a trial sets of what it drew."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from smolmath.errors import SmolmathError
from smolmath.params.core import lookup_or_none
from smolmath.running.journal import checked_out
from smolmath.running.repository import GitError, git
from smolmath.studies.tuning.search import Choices, Range, Search, Value, rounded

RANDOM_TRIALS = 5  # before the sampler has enough to model


class TuneError(SmolmathError):
    """A search that cannot begin, or go on."""


@contextmanager
def open_study(
    path: Path, name: str, search: Search, params: Mapping[str, Any], commit: str
) -> Iterator[optuna.Study]:
    """The study in the SQLite file `path`. Raises: TuneError if it was begun with another search or commit."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    try:
        yield _ready_study(storage, name, search, params, commit)
    finally:
        storage.engine.dispose()


def _ready_study(
    storage: optuna.storages.RDBStorage, name: str, search: Search, params: Mapping[str, Any], commit: str
) -> optuna.Study:
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="maximize")
    # A sampler's state is not stored: one that goes on must not draw again what it drew first.
    study.sampler = optuna.samplers.TPESampler(seed=search.seed + len(study.trials), n_startup_trials=RANDOM_TRIALS)
    if search.prune:
        study.pruner = optuna.pruners.MedianPruner(search.prune.undisturbed_trials, search.prune.after_step)
    else:
        study.pruner = optuna.pruners.NopPruner()
    claims = {"search": json.dumps(search.terms(), sort_keys=True), "commit": commit}
    for what, value in claims.items():
        before = study.user_attrs.get(what)
        if before is not None and before != value:
            raise TuneError(
                f"the study {name!r} was begun {'on commit' if what == 'commit' else 'with the search'} {before}, and "
                f"this is {value}: their trials can't be compared. Go on there, or begin another: --name NAME."
            )
        study.set_user_attr(what, value)
    if not study.trials and (today := todays_values(search, params)):
        study.enqueue_trial(today)
    return study


def ready_commit() -> str:
    """HEAD, on which experiments are based. Raises: TuneError for what a person must do first."""
    if not str(Path.cwd()).isascii():
        raise TuneError(f"DVC sets no experiment up where a path has more than ASCII letters: move {Path.cwd()}.")
    try:
        state = checked_out()
    except GitError as error:
        raise TuneError(
            f"experiments are commits, and none can be made here: {error}. It takes Git, and a commit to begin with: "
            "git init, git add ., git commit."
        ) from None
    if state["changed"]:
        raise TuneError(
            f"{', '.join(state['changed'])} differ from the commit, and trials that start later would start from "
            "other code. Commit first."
        )
    for key, example in (("user.name", "Ada Lovelace"), ("user.email", "ada@example.org")):
        try:
            known = git("config", key).strip()
        except GitError:
            known = ""
        if not known:
            raise TuneError(f"DVC commits each experiment, and Git does not know you: git config {key} {example!r}")
    return str(state["commit"])


def distributions(search: Search) -> dict[str, BaseDistribution]:
    """The space as Optuna has it; a choice by its number, since it may be a list."""
    return {key: _distribution(dimension) for key, dimension in search.space.items()}


def drawn_value(search: Search, params: Mapping[str, Any], key: str, drawn: Any) -> Value:
    """What a trial sets `key` to, of what Optuna drew."""
    dimension = search.space[key]
    if isinstance(dimension, Choices):
        chosen: Value = dimension.choices[drawn]
        return chosen
    if drawn == (today := lookup_or_none(params, key)):
        exact: Value = today  # the value of params.yaml, with all its digits
        return exact
    return min(max(rounded(drawn), dimension.low), dimension.high)


def todays_values(search: Search, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of params.yaml as the first trial, to be beaten; None if they lie outside of the search."""
    drawn: dict[str, Any] = {}
    for key, dimension in search.space.items():
        value = lookup_or_none(params, key)
        if isinstance(dimension, Choices):
            if value not in dimension.choices:
                return None
            drawn[key] = dimension.choices.index(value)
        elif isinstance(value, int | float) and dimension.low <= value <= dimension.high:
            drawn[key] = value
        else:
            return None
    return drawn


def _distribution(dimension: Range | Choices) -> BaseDistribution:
    if isinstance(dimension, Choices):
        return CategoricalDistribution(list(range(len(dimension.choices))))
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
