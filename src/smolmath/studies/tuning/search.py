"""A search: which keys of params.yaml are tried, in which range, judged by which phase. One YAML file.

phase: sums
space:
  phases.sums.grpo.learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}
  phases.sums.prompts_per_step: {choices: [4, 8, 16]}
trials: 8
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from smolmath.params.core import ParamsError, Strict, listing, lookup, nearest, parse, read_params
from smolmath.running.check import check_params

Value = str | int | float | bool | list[Any] | None
DIGITS = 3  # of a drawn float: a learning rate of 0.000213 is as good as one of 0.00021337094182


class Range(Strict):
    """Numbers from `low` to `high`, both included: whole ones where both bounds are."""

    low: int | float
    high: int | float
    log: bool = False  # as likely in each decade

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}.")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs bounds above 0, and low is {self.low}.")
        return self

    @property
    def ends(self) -> list[Value]:
        return [self.low, self.high]


class Choices(Strict):
    choices: list[Value] = Field(min_length=2)

    @property
    def ends(self) -> list[Value]:
        return list(self.choices)


class Pruning(Strict):
    """A trial ends early if its validation is worse than the median of the others' at the same step."""

    undisturbed_trials: int = Field(ge=1)  # that run to their end before any is judged
    after_step: int = Field(ge=0)


class Search(Strict):
    phase: str  # whose best validation is maximised
    space: dict[str, Range | Choices] = Field(min_length=1)
    fixed: dict[str, Value] = Field(default_factory=dict)  # other keys that every trial sets, e.g. fewer steps
    trials: int = Field(ge=1)
    jobs: int = Field(default=1, ge=1)  # at the same time
    seed: int = Field(default=1, ge=0)
    train_only: bool = False  # trials end after the phase: no evaluation, and the metrics stay those of HEAD
    prune: Pruning | None = None

    def terms(self) -> dict[str, Any]:
        """What must stay the same while a study goes on: its trials are compared with each other."""
        return self.model_dump(include={"phase", "space", "fixed", "train_only"})


def read_search(path: Path, params: Mapping[str, Any]) -> Search:
    """The search at `path`, tried against params.yaml: its keys are known, and their bounds pass `smolmath check`.

    Raises: ParamsError with a line for each mistake.
    """
    search = parse(read_params(path), str(path), Search)
    phases = lookup(params, "phases")
    if search.phase not in phases:
        raise ParamsError(
            f"{path}: phase {search.phase!r} is not in params.yaml.{nearest(search.phase, phases)} "
            f"There are: {listing(phases)}."
        )
    if phases[search.phase].get("validation") is None:
        raise ParamsError(
            f"{path}: phases.{search.phase}.validation is null, and a setting is chosen by validation, never by the "
            "test side. Give it problems and every_steps."
        )
    mistakes: list[str] = []
    for key, dimension in search.space.items():
        if key in search.fixed:
            mistakes.append(f"{path}: {key} is under space and under fixed.")
        for value in dimension.ends:
            try:
                found = check_params(overridden(params, {**search.fixed, key: value}))
            except ParamsError as error:
                found = str(error).splitlines()
            mistakes += [f"{path}: with {key} = {value}: {mistake}" for mistake in found]
    if mistakes:
        raise ParamsError("\n".join(dict.fromkeys(mistakes)))
    return search


def overridden(params: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """params.yaml with other values under dotted keys; the last part of a key may be new.

    Raises: ParamsError if what it would lie under does not exist.
    """
    changed = copy.deepcopy(dict(params))
    for key, value in values.items():
        parent, _, last = key.rpartition(".")
        holder = lookup(changed, parent) if parent else changed
        if not isinstance(holder, dict):
            raise ParamsError(f"{key}: {parent} holds {holder!r} and no keys.")
        holder[last] = value
    return changed


def as_overrides(params: Mapping[str, Any], values: Mapping[str, Value]) -> list[str]:
    """For `dvc exp run`: `-S key=value`; a key that params.yaml lacks needs a plus."""
    arguments = []
    for key, value in values.items():
        try:
            lookup(params, key)
            new = ""
        except ParamsError:
            new = "+"
        arguments += ["-S", f"{new}{key}={json.dumps(value)}"]
    return arguments


def rounded(value: int | float) -> int | float:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
