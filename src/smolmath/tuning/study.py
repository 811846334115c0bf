"""The loop of `smolmath tune`: Optuna proposes values, DVC's queue runs them, the validation side judges.

The study lies in SQLite under .work/tune and every trial is a DVC experiment, so that a loop that was killed goes on:
trials that ran meanwhile are taken up as they are.
"""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from smolmath.comparing.revisions import RevisionError
from smolmath.errors import SmolmathError
from smolmath.journal import git_state
from smolmath.params.core import ParamsError, lookup
from smolmath.runs import main_workspace
from smolmath.tuning import queue
from smolmath.tuning.search import Choices, Range, Search, Value, as_overrides, rounded
from smolmath.tuning.trials import Outcome, outcome, validations

POLL_S = 2.0
RANDOM_TRIALS = 5  # before the sampler has enough to model
FAILURES = 3  # in a row, and the search ends: the fault is not the values'
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class TuneError(SmolmathError):
    """A search that cannot begin, or go on."""


@dataclass(frozen=True)
class Trial:
    """One set of values that was tried."""

    number: int
    experiment: str  # of DVC; equal values share one
    values: dict[str, Value]
    state: str  # running, complete, pruned, failed
    outcome: Outcome | None = None
    reached: float | None = None  # of a pruned one: its last validation


@dataclass
class Tuning:
    """A study and where its trials stand. `say` gets a line for each that ends."""

    name: str
    search: Search
    params: Mapping[str, Any]
    study: optuna.Study
    say: Callable[[str], None]
    _outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        return str(self.params["phases"][self.search.phase]["validation"]["metric"])

    def run(self) -> None:
        """Try values until `search.trials` have ended.

        Raises: TuneError after several failures in a row, QueueError if DVC refuses an experiment.
        """
        self._take_up()
        while True:
            for trial in self._of(TrialState.RUNNING):
                self._look_at(trial)
            ended, running = self._of(*ENDED), self._of(TrialState.RUNNING)
            if len(ended) >= self.search.trials and not running:
                return
            self._refuse_a_row_of_failures(ended)
            for _ in range(min(self.search.jobs - len(running), self.search.trials - len(ended) - len(running))):
                self._begin()
            time.sleep(POLL_S)

    def trials(self) -> list[Trial]:
        """All of them, the best first, those without a result last."""
        found = [self._told(trial) for trial in self.study.get_trials(deepcopy=False)]
        return sorted(found, key=lambda t: (t.outcome is None, -t.outcome.estimate.value if t.outcome else t.number))

    def _take_up(self) -> None:
        """Trials that were running when the last loop ended: ended by now, still running, or dead with the machine."""
        left = self._of(TrialState.RUNNING)
        if not left:
            return
        statuses, alive = queue.statuses(), queue.has_workers()
        for trial in left:
            name, status = trial.user_attrs.get("experiment"), None
            if name is None:  # killed before it was queued
                self.study.tell(trial.number, state=TrialState.FAIL)
                continue
            status = statuses.get(name)
            if status == "Running" and not alive:
                queue.stop(name)
                status = None
            if status is None:
                queue.add(name, self._overrides(trial.user_attrs["values"]), self._targets())
            self.say(f"{name}: taken up again")
        queue.start(self.search.jobs)

    def _begin(self) -> None:
        trial = self.study.ask({key: _distribution(dimension) for key, dimension in self.search.space.items()})
        values = {key: _value(dimension, trial.params[key]) for key, dimension in self.search.space.items()}
        twin = next((t for t in self.study.get_trials(deepcopy=False) if t.user_attrs.get("values") == values), None)
        name = twin.user_attrs["experiment"] if twin else f"{self.name}-{trial.number}"
        trial.set_user_attr("values", values)
        trial.set_user_attr("experiment", name)
        if twin is None:
            queue.add(name, self._overrides(values), self._targets())
            queue.start(self.search.jobs)
        self.say(f"{name}: {as_text(values)}")

    def _look_at(self, trial: FrozenTrial) -> None:
        name, values = trial.user_attrs["experiment"], trial.user_attrs["values"]
        status = queue.statuses().get(name)
        if status == "Success":
            try:
                found = self._outcome(name)
            except RevisionError as error:
                self._fail(trial, str(error))
                return
            self.study.tell(trial.number, found.estimate.value)
            self.say(f"{name}: {estimate_text(found)}, at step {found.step}")
        elif status in (None, "Failed"):
            self._fail(trial, "dvc queue logs has what it said" if status else "it is in the queue no more")
        elif status == "Running" and self.search.prune:
            self._prune(trial, name, validations(self.search.phase, self.metric, self.params, self._all(values)))

    def _prune(self, trial: FrozenTrial, name: str, found: Mapping[int, float]) -> None:
        live = optuna.Trial(self.study, trial._trial_id)
        for step in sorted(found.keys() - trial.intermediate_values.keys()):
            live.report(found[step], step)
        if found and live.should_prune():
            queue.stop(name)
            self.study.tell(trial.number, state=TrialState.PRUNED)
            step = max(found)
            self.say(f"{name}: ended early, {100 * found[step]:.1f} % at step {step} is below the median")

    def _fail(self, trial: FrozenTrial, why: str) -> None:
        self.study.tell(trial.number, state=TrialState.FAIL)
        self.say(f"{trial.user_attrs['experiment']}: failed: {why}")

    def _refuse_a_row_of_failures(self, ended: list[FrozenTrial]) -> None:
        last = [trial.state for trial in ended[-FAILURES:]]
        if len(last) == FAILURES and set(last) == {TrialState.FAIL}:
            name = ended[-1].user_attrs.get("experiment", self.name)
            raise TuneError(
                f"the last {FAILURES} trials failed, so it is not the values. See `dvc queue logs {name}`, mend it, "
                "and start the same command again."
            )

    def _of(self, *states: TrialState) -> list[FrozenTrial]:
        found: list[FrozenTrial] = self.study.get_trials(deepcopy=False, states=states)
        return found

    def _told(self, trial: FrozenTrial) -> Trial:
        name, values = trial.user_attrs.get("experiment", "–"), trial.user_attrs.get("values", {})
        state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        reached = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
        found = None
        if trial.state == TrialState.COMPLETE:
            try:
                found = self._outcome(name)
            except RevisionError:  # somebody removed the experiment
                return Trial(trial.number, name, values, "removed", reached=trial.value)
        return Trial(trial.number, name, values, state.get(trial.state, "running"), found, reached)

    def _outcome(self, name: str) -> Outcome:
        if name not in self._outcomes:
            self._outcomes[name] = outcome(name, self.search.phase, self.metric)
        return self._outcomes[name]

    def _all(self, values: Mapping[str, Value]) -> dict[str, Value]:
        return {**self.search.fixed, **values}

    def _overrides(self, values: Mapping[str, Value]) -> list[str]:
        return as_overrides(self.params, self._all(values))

    def _targets(self) -> list[str]:
        return [f"train@{self.search.phase}"] if self.search.train_only else []


def open_tuning(name: str, search: Search, params: Mapping[str, Any], say: Callable[[str], None]) -> Tuning:
    """The study `name`, begun anew or gone on with.

    Raises: TuneError if it was begun with another search or on other code, or if Git is not ready for experiments.
    """
    commit = ready_commit()
    folder = main_workspace() / ".work" / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name, storage=f"sqlite:///{folder / name}.db", load_if_exists=True, direction="maximize"
    )
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
    if not study.trials and (today := _todays_values(search, params)):
        study.enqueue_trial(today)
    return Tuning(name, search, params, study, say)


def ready_commit() -> str:
    """HEAD, on which experiments are based. Raises: TuneError for what a person must do first."""
    state = git_state()
    if state is None:
        raise TuneError("experiments are commits, and this folder is no Git repository with one. `git init`, commit.")
    if state["changed"]:
        raise TuneError(
            f"{', '.join(state['changed'])} differ from the commit, and trials that start later would start from "
            "other code. Commit first."
        )
    for key, example in (("user.name", "Ada Lovelace"), ("user.email", "ada@example.org")):
        if not subprocess.run(["git", "config", key], capture_output=True, text=True, check=False).stdout.strip():
            raise TuneError(f"DVC commits each experiment, and Git does not know you: git config {key} {example!r}")
    return str(state["commit"])


def as_text(values: Mapping[str, Value]) -> str:
    """`learning_rate 0.0002, prompts_per_step 8`."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values.items())


def estimate_text(found: Outcome) -> str:
    e = found.estimate
    return f"{e.value:.3f} ± {e.se:.3f} ({e.low:.3f} to {e.high:.3f}) on {found.n} problems"


def _todays_values(search: Search, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of params.yaml as the first trial, to be beaten; None if they lie outside of the search."""
    drawn: dict[str, Any] = {}
    for key, dimension in search.space.items():
        try:
            value = lookup(params, key)
        except ParamsError:
            return None
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
    if isinstance(dimension, Choices):  # by number: a choice may be a list
        return CategoricalDistribution(list(range(len(dimension.choices))))
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _value(dimension: Range | Choices, drawn: Any) -> Value:
    if isinstance(dimension, Choices):
        chosen: Value = dimension.choices[drawn]
        return chosen
    return rounded(drawn)
