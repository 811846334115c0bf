"""The loop of `smolmath tune`: Optuna proposes values, DVC's queue runs them, the validation side judges.

The study lies in SQLite under .work/tune and every trial is a DVC experiment, so that a loop that was killed goes on:
trials that ran meanwhile are taken up as they are, those that died are queued again.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from smolmath.params.core import lookup
from smolmath.running.runs import main_workspace
from smolmath.studies.revisions import RevisionError
from smolmath.studies.tuning import queue
from smolmath.studies.tuning.proposals import TuneError, distributions, drawn_value, open_study, ready_commit
from smolmath.studies.tuning.search import Search, Value, as_overrides, overridden
from smolmath.studies.tuning.trials import Outcome, outcome, validations

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # part of the names of experiments, which are Git references
POLL_S = 2.0
FAILURES = 3  # in a row, and the search ends: the fault is not the values'
MISSED = 5  # looks in a row that did not find a trial: between two lists of the queue one can be in neither
DEAD = 30  # looks in a row that found no process of a trial: a worker may still be collecting it


@dataclass(frozen=True)
class Trial:
    """One set of values that was tried."""

    number: int
    experiment: str  # of DVC; equal values share one
    values: dict[str, Value]
    state: str  # running, complete, pruned, failed, removed
    outcome: Outcome | None = None
    reached: float | None = None  # of a pruned one: its last validation


@dataclass
class Tuning:
    """A study and where its trials stand. `say` gets a line for each that begins or ends."""

    name: str
    search: Search
    params: Mapping[str, Any]
    commit: str
    study: optuna.Study
    say: Callable[[str], None]
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _failed: int = 0  # in a row, since the loop began
    _looks: Counter[str] = field(default_factory=Counter)  # in a row that found nothing, by experiment

    @property
    def metric(self) -> str:
        return str(lookup(overridden(self.params, self.search.fixed), f"phases.{self.search.phase}.validation.metric"))

    def run(self) -> None:
        """Try values until `search.trials` have a result; a trial that failed has none.

        Raises: TuneError after several failures in a row, or if the code was edited; QueueError if DVC refuses one.
        """
        self._take_up()
        while True:
            running = self._of(TrialState.RUNNING)
            for trial, standing in self._standings(running):
                self._look_at(trial, standing)
            done, running = self._of(TrialState.COMPLETE, TrialState.PRUNED), self._of(TrialState.RUNNING)
            if len(done) >= self.search.trials and not running:
                return
            for _ in range(min(self.search.jobs - len(running), self.search.trials - len(done) - len(running))):
                self._begin()
            time.sleep(POLL_S)

    def trials(self) -> list[Trial]:
        """All of them, the best first, those without a result last."""
        found = [self._trial(trial) for trial in self.study.get_trials(deepcopy=False)]
        return sorted(found, key=lambda t: (t.outcome is None, -t.outcome.estimate.value if t.outcome else t.number))

    def _take_up(self) -> None:
        """Trials that were running when the last loop ended: ended by now, still running, or dead with the machine."""
        for trial, standing in self._standings(self._of(TrialState.RUNNING)):
            if "experiment" not in trial.user_attrs:  # killed before it was named
                self._put(optuna.Trial(self.study, trial._trial_id), trial.params)
                continue
            name = trial.user_attrs["experiment"]
            if trial.user_attrs.get("ended early"):
                self.study.tell(trial.number, state=TrialState.PRUNED)
            elif standing is None or standing.status == "Failed" or not standing.alive:
                self._put_again(trial)
            self.say(f"{name}: taken up again")
        if self._of(TrialState.RUNNING):
            queue.start(self.search.jobs)

    def _standings(self, trials: list[FrozenTrial]) -> Iterator[tuple[FrozenTrial, queue.Standing | None]]:
        found = queue.standings() if trials else {}
        return ((trial, found.get(trial.user_attrs.get("experiment", ""))) for trial in trials)

    def _begin(self) -> None:
        trial = self.study.ask(distributions(self.search))
        self._put(trial, trial.params)

    def _put(self, trial: optuna.Trial, drawn: Mapping[str, Any]) -> None:
        """Name a proposed trial's experiment and queue it, unless equal values were tried."""
        values = {key: drawn_value(self.search, self.params, key, drawn[key]) for key in self.search.space}
        twins = [t for t in self.study.get_trials(deepcopy=False) if t.user_attrs.get("values") == values]
        twin = next((t for t in twins if "experiment" in t.user_attrs and t.state != TrialState.FAIL), None)
        name = twin.user_attrs["experiment"] if twin else f"{self.name}-{trial.number}"
        trial.set_user_attr("values", values)
        trial.set_user_attr("experiment", name)
        if twin and twin.state == TrialState.PRUNED:
            self.study.tell(trial.number, state=TrialState.PRUNED)
            return
        if twin is None:
            self._refuse_other_code()
            try:
                queue.add(name, self._overrides(values), self._targets())
            except queue.QueueError:
                self.study.tell(trial.number, state=TrialState.FAIL)
                raise
            queue.start(self.search.jobs)
        self.say(f"{name}: {as_text(values)}")

    def _put_again(self, trial: FrozenTrial) -> None:
        self._refuse_other_code()
        queue.add_again(trial.user_attrs["experiment"], self._overrides(trial.user_attrs["values"]), self._targets())
        queue.start(self.search.jobs)

    def _look_at(self, trial: FrozenTrial, standing: queue.Standing | None) -> None:
        name, values = trial.user_attrs["experiment"], trial.user_attrs["values"]
        self._looks[name] = 0 if standing and standing.alive else self._looks[name] + 1
        if standing is None:
            if self._looks[name] >= MISSED:
                self._fail(trial, "it is in the queue no more")
        elif standing.status == "Success":
            self._complete(trial, name)
        elif standing.status == "Failed":
            if trial.user_attrs.get("ended early"):
                self.study.tell(trial.number, state=TrialState.PRUNED)
            else:
                self._fail(trial, f"dvc queue logs {name} has what it said")
        elif not standing.alive and self._looks[name] >= DEAD:
            self._looks[name] = 0
            self.say(f"{name}: its process is gone; queued again")
            self._put_again(trial)
        elif standing.status == "Queued":
            queue.start(self.search.jobs)
        elif self.search.prune and not trial.user_attrs.get("ended early"):
            self._prune(trial, name, validations(self.search.phase, self.metric, self.params, self._all(values)))

    def _complete(self, trial: FrozenTrial, name: str) -> None:
        try:
            found = self._outcome(name)
        except RevisionError as error:
            self._fail(trial, str(error))
            return
        self._report(trial, found.curve)
        self.study.tell(trial.number, found.estimate.value)
        self._failed = 0
        self.say(f"{name}: {estimate_text(found)}, at step {found.step}")

    def _report(self, trial: FrozenTrial, curve: Mapping[int, float]) -> optuna.Trial:
        live = optuna.Trial(self.study, trial._trial_id)
        for step in sorted(curve.keys() - trial.intermediate_values.keys()):
            live.report(curve[step], step)
        return live

    def _prune(self, trial: FrozenTrial, name: str, curve: Mapping[int, float]) -> None:
        live = self._report(trial, curve)
        if not curve or not live.should_prune():
            return
        live.set_user_attr("ended early", True)
        if not queue.stop(name):
            return  # it just ends: the next look has its result, which counts as well
        self.study.tell(trial.number, state=TrialState.PRUNED)
        step = max(curve)
        self.say(f"{name}: ended early, {curve[step]:.3f} at step {step} is below the median")

    def _fail(self, trial: FrozenTrial, why: str) -> None:
        name = trial.user_attrs["experiment"]
        self.study.tell(trial.number, state=TrialState.FAIL)
        self.say(f"{name}: failed: {why}")
        self._failed += 1
        if self._failed >= FAILURES:
            raise TuneError(
                f"the last {FAILURES} trials failed, so it is not the values. See `dvc queue logs {name}`, mend it, "
                "and start the same command again."
            )

    def _refuse_other_code(self) -> None:
        if ready_commit() != self.commit:
            raise TuneError(
                f"the search began on commit {self.commit[:12]}, and another is checked out now: its trials would not "
                "be comparable. Go back to it, and start the same command again."
            )

    def _of(self, *states: TrialState) -> list[FrozenTrial]:
        found: list[FrozenTrial] = self.study.get_trials(deepcopy=False, states=states)
        return found

    def _trial(self, trial: FrozenTrial) -> Trial:
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


@contextmanager
def open_tuning(name: str, search: Search, params: Mapping[str, Any], say: Callable[[str], None]) -> Iterator[Tuning]:
    """The study `name`, begun anew or gone on with, held by this process alone.

    Raises: TuneError if another process has it, if it was begun with another search or on another commit, or if Git is
    not ready for experiments.
    """
    if not NAME.fullmatch(name):
        raise TuneError(f"a study can't be called {name!r}: letters, digits, - and _. Choose another: --name NAME.")
    commit = ready_commit()
    folder = main_workspace() / ".work" / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            FileLock(folder / f"{name}.lock", timeout=0),
            open_study(folder / f"{name}.db", name, search, params, commit) as study,
        ):
            yield Tuning(name, search, params, commit, study, say)
    except Timeout:
        raise TuneError(f"another process is at work on the study {name!r}.") from None


def as_text(values: Mapping[str, Value]) -> str:
    """`learning_rate 0.0002, prompts_per_step 8`."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in values.items())


def estimate_text(found: Outcome) -> str:
    e = found.estimate
    return f"{e.value:.3f} ± {e.se:.3f} ({e.low:.3f} to {e.high:.3f}) on {found.n} problems"
