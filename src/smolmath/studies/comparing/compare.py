"""Two versions' predictions paired by problem, tested, corrected for their number, and put in words.

A side may be several trainings of one setting, by other seeds.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smolmath.evaluation.metrics import AVERAGE
from smolmath.evaluation.paired import Paired, UnpairedError, compare_verdicts
from smolmath.evaluation.suite import average, average_of_trainings, carried_by
from smolmath.evaluation.trainings import Trainings, compare_trainings
from smolmath.evaluation.uncertainty import holm
from smolmath.params.core import listing, nearest
from smolmath.studies.revisions import (
    COMPLETION_COLUMNS,
    PROBLEM_COLUMNS,
    WORKSPACE,
    Predictions,
    Revision,
    RevisionError,
    completions_path,
    evaluations,
    problems_path,
)
from smolmath.studies.wording import is_clear, p_text, signed

# What must be equal for a difference to be the models'. `batch_size` only seeds, and `problems` shows in the ids.
SAMPLING = ("samples", "temperature", "top_p", "max_completion_tokens", "shots", "system")
MEASURES = {"accuracy": "greedy", "mean_at_k": "sampled"}


@dataclass(frozen=True)
class Side:
    """`REVISION` or `REVISION:MODEL`, as on the command line; without a revision, the workspace.

    `REVISION,REVISION,…` are several trainings of one setting.
    """

    revisions: tuple[Revision, ...]
    model: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Side":
        parts = text.split(",")
        if not all(parts):
            raise RevisionError(f"{text!r} names nothing beside a comma: trainings of one setting are A1,A2,A3.")
        models = {part.partition(":")[2] for part in parts} - {""}
        if len(models) > 1:
            raise RevisionError(f"{text}: trainings of one setting are of one model, and here are {listing(models)}.")
        names = [part.partition(":")[0] for part in parts]
        return cls(tuple(Revision(name or WORKSPACE) for name in names), next(iter(models), None))

    @property
    def revision(self) -> Revision:
        """The only one, or the first."""
        return self.revisions[0]

    @property
    def versions(self) -> str:
        return ",".join(revision.name for revision in self.revisions)

    @property
    def name(self) -> str:
        return self.versions + (f":{self.model}" if self.model else "")

    def evaluated(self) -> list[tuple[str, str]]:
        """(model, dataset) that all of them have evaluated."""
        first, *others = (revision.evaluated() for revision in self.revisions)
        return [pair for pair in first if all(pair in other for other in others)]


@dataclass(frozen=True)
class Flip:
    """A problem that one side's greedy completion got right and the other's wrong."""

    problem_id: str
    gained: bool  # B is the one that is right
    answer_a: str | None
    answer_b: str | None
    question: str | None = None
    reference_answer: str | None = None
    completion_a: str | None = None
    completion_b: str | None = None


@dataclass(frozen=True)
class Flips:
    """The problems that changed sides between two models on one dataset, losses first."""

    model_a: str
    model_b: str
    dataset: str
    flips: list[Flip]

    @property
    def gained(self) -> int:
        return sum(flip.gained for flip in self.flips)


@dataclass(frozen=True)
class Difference:
    """One line of the comparison. `p_corrected` is Holm's, over all lines."""

    model_a: str
    model_b: str
    dataset: str
    paired: Paired
    p_corrected: float
    verdict: str

    @property
    def clear(self) -> bool:
        return is_clear(self.p_corrected)


@dataclass(frozen=True)
class Average(Difference):
    """Greedy accuracy over all datasets, each counting the same. `p_corrected` is Holm's, over the averages alone."""

    parts: Mapping[str, Paired]  # of each dataset


@dataclass(frozen=True)
class Comparison:
    a: str
    b: str
    differences: list[Difference]
    same: list[tuple[str, str]]  # (model, dataset) whose verdicts are identical
    averages: list[Average] = field(default_factory=list)  # where there are several datasets
    flips: list[Flips] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Difference]:
        """All lines, the averages first."""
        return [*self.averages, *self.differences]


Verdicts = list[dict[str, Any]]
Problems = Mapping[tuple[str, str], Collection[str]]  # (A's model, dataset) -> ids


def compare(
    a: Side, b: Side, *, models: Sequence[str] = (), datasets: Sequence[str] = (), problems: Problems | None = None
) -> Comparison:
    """B against A on all that both have evaluated, or on the models and datasets that are named.

    Args: problems: those to compare on, of `common_problems`; without, both must have answered the same.
    Raises: RevisionError if something is missing; UnpairedError if problems, prompt or sampling differ.
    """
    tests: list[tuple[str, str, str, Paired]] = []
    result = Comparison(a.name, b.name, [], [], warnings=_left_out(a, b, models, datasets))
    several = len(a.revisions) > 1 or len(b.revisions) > 1
    pairs = _pairs(a, b, models, datasets)
    if several:  # the base, which no seed has changed, says nothing of the settings
        pairs = [pair for pair in pairs if not _is_untouched(a, b, *pair)] or pairs
    suites = defaultdict[tuple[str, str], _Suite](_Suite)
    for model_a, model_b, dataset in pairs:
        before = [revision.predictions(model_a, dataset) for revision in a.revisions]
        after = [revision.predictions(model_b, dataset) for revision in b.revisions]
        for other in [*before[1:], *after]:
            refuse_other_terms(before[0], other)
            result.warnings.extend(w for w in _warnings(before[0], other) if w not in result.warnings)
        asked = None if problems is None else problems[model_a, dataset]
        one, two = ([_only(each.verdicts, asked) for each in side] for side in (before, after))
        try:
            if several:
                result.warnings.extend(_settings(a, model_a, dataset) + _settings(b, model_b, dataset))
            found = compare_trainings(one, two) if several else compare_verdicts(one[0], two[0])
        except UnpairedError as error:
            raise UnpairedError(f"{_what(before[0], after[0])}: {error}") from None
        suites[model_a, model_b].add(dataset, one, two, found[0])
        if one == two:
            result.same.append((model_b, dataset))
            continue
        tests += [(model_a, model_b, dataset, paired) for paired in found]
        if not several:
            result.flips.append(Flips(model_a, model_b, dataset, _flips(one[0], two[0])))
    corrected = holm([paired.p for *_, paired in tests])
    for (model_a, model_b, dataset, paired), p in zip(tests, corrected, strict=True):
        words = in_words(paired, p, len(tests), *names(a, b, model_a, model_b))
        result.differences.append(Difference(model_a, model_b, dataset, paired, p, words))
    averages = [suite.average(*models_) for models_, suite in suites.items() if suite.is_several]
    return replace(result, averages=corrected_averages([(a, b, found) for found in averages]))


@dataclass(frozen=True)
class _Suite:
    """One model against another on each dataset: the verdicts of each training, and how they differ in accuracy."""

    before: dict[str, list[Verdicts]] = field(default_factory=dict)
    after: dict[str, list[Verdicts]] = field(default_factory=dict)
    parts: dict[str, Paired] = field(default_factory=dict)

    def add(self, dataset: str, before: list[Verdicts], after: list[Verdicts], accuracy: Paired) -> None:
        self.before[dataset], self.after[dataset], self.parts[dataset] = before, after, accuracy

    @property
    def is_several(self) -> bool:
        return len(self.parts) > 1 and self.before != self.after

    def average(self, model_a: str, model_b: str) -> Average:
        trainings = max(len(side) for sides in (self.before, self.after) for side in sides.values())
        paired = average_of_trainings(self.before, self.after) if trainings > 1 else average(self.parts)
        return Average(model_a, model_b, AVERAGE, paired, paired.p, "", self.parts)


def corrected_averages(averages: Sequence[tuple[Side, Side, Average]]) -> list[Average]:
    """With p corrected for there being several, and in words."""
    corrected = holm([found.paired.p for _, _, found in averages])
    return [
        replace(found, p_corrected=p, verdict=_average_in_words(found, p, len(averages), *called))
        for (a, b, found), p in zip(averages, corrected, strict=True)
        for called in [names(a, b, found.model_a, found.model_b)]
    ]


def _average_in_words(found: Average, p: float, tests: int, a: str, b: str) -> str:
    """The verdict, and the datasets that carry it: "…, most of it by gsm8k (+8.1); against it legs (−3.5)"."""
    words = in_words(found.paired, p, tests, a, b)
    if not is_clear(p):
        return words
    carrying, against = (
        ", ".join(f"{name} ({signed(100 * found.parts[name].difference.value)})" for name in side)
        for side in carried_by(found.parts)
    )
    return f"{words}; most of it by {carrying}" + (f", against it {against}" if against else "")


def common_problems(a: Side, others: Sequence[Side], models: Sequence[str], datasets: Sequence[str]) -> Problems:
    """The problems that A and all others have answered."""
    found: dict[tuple[str, str], set[str]] = {}
    for b in others:
        for model_a, model_b, dataset in _pairs(a, b, models, datasets):
            answered = [
                {row["problem_id"] for row in revision.predictions(model, dataset).verdicts}
                for side, model in ((a, model_a), (b, model_b))
                for revision in side.revisions
            ]
            known = found.get((model_a, dataset))
            found[model_a, dataset] = set.intersection(*answered, *([] if known is None else [known]))
    return found


def with_texts(found: Flips, a: Revision, b: Revision, most: int) -> list[Flip]:
    """The first `most` flips of a comparison of `a` and `b`, with question, reference answer and both completions."""
    shown = found.flips[:most]
    ids = {flip.problem_id for flip in shown}
    completions = [
        {
            row["problem_id"]: row["completion"]
            for row in revision.table(completions_path(model, found.dataset), COMPLETION_COLUMNS).to_pylist()
            if row["sample"] == 0 and row["problem_id"] in ids
        }
        for revision, model in ((a, found.model_a), (b, found.model_b))
    ]
    problems = {row["id"]: row for row in b.table(problems_path(found.dataset), PROBLEM_COLUMNS).to_pylist()}
    return [
        replace(
            flip,
            question=problems[flip.problem_id]["question"],
            reference_answer=problems[flip.problem_id]["reference_answer"],
            completion_a=completions[0][flip.problem_id],
            completion_b=completions[1][flip.problem_id],
        )
        for flip in shown
    ]


def refuse_other_terms(a: Predictions, b: Predictions) -> None:
    """Raises: UnpairedError if the prompts or the sampling differ: then so might two equal models."""
    keys = dict.fromkeys([*a.prompt, *b.prompt])
    differing = [f"prompt.{key}" for key in keys if a.prompt.get(key) != b.prompt.get(key)]
    if differing:
        key = differing[0].removeprefix("prompt.")
        raise UnpairedError(
            f"{_what(a, b)}: the prompts differ ({', '.join(differing)}: {a.prompt.get(key)!r} and "
            f"{b.prompt.get(key)!r}), so the difference is not the models' alone. Evaluate both with one prompt."
        )
    differing = [key for key in SAMPLING if a.sampling.get(key) != b.sampling.get(key)]
    if differing:
        words = "; ".join(f"{key}: {a.sampling.get(key)} and {b.sampling.get(key)}" for key in differing)
        raise UnpairedError(
            f"{_what(a, b)}: the sampling differs (evaluate.sampling or per_dataset, {words}). Evaluate both with one "
            "sampling: `dvc repro` generates anew and trains nothing."
        )


def in_words(paired: Paired, p: float, tests: int, a: str, b: str) -> str:
    """The verdict, by the corrected p.

    "B is better by 3.1 ± 1.2 points on 1,319 problems, p = 0.009"
    """
    points, error = 100 * paired.difference.value, 100 * paired.difference.se
    counted = f"on {paired.n:,} problems" + (f" × {paired.k} samples" if paired.measure == "mean_at_k" else "")
    seeds = ""
    if isinstance(paired, Trainings):
        counted += f", of {paired.trainings[0]} and {paired.trainings[1]} trainings"
        seeds = f". Trainings of one setting lie ± {100 * paired.spread:.1f} points around their mean: "
        seeds += _whose(p, paired.p_of_these)
    significance = p_text(p, paired.p) + (f" (corrected for {tests} tests)" if tests > 1 else "")
    if is_clear(p):
        better = b if points > 0 else a
        return f"{better} is better by {abs(points):.1f} ± {error:.1f} points {counted}, {significance}{seeds}"
    low, high = 100 * paired.difference.low, 100 * paired.difference.high
    return (
        f"no clear difference: {signed(points)} ± {error:.1f} points for {b} {counted}, {significance}; 95 % interval "
        f"{signed(low)} to {signed(high)}{seeds}"
    )


def _whose(p: float, p_of_these: float) -> str:
    """Whether a difference is the setting's or may be the seeds'."""
    if is_clear(p):
        return "it is the setting"
    if is_clear(p_of_these):
        return "these trainings differ, and it may be their seeds"
    return "neither setting nor seeds show a difference"


def names(a: Side, b: Side, model_a: str, model_b: str) -> tuple[str, str]:
    """What the two are called in words: by their versions, by their models where these differ; several: A and B."""
    if len(a.revisions) > 1 or len(b.revisions) > 1:
        return "A", "B"
    if a.versions == b.versions:
        return model_a, model_b
    if model_a == model_b:
        return a.versions, b.versions
    return f"{a.versions}:{model_a}", f"{b.versions}:{model_b}"


def _is_untouched(a: Side, b: Side, model_a: str, model_b: str, dataset: str) -> bool:
    """Whether all trainings of both sides hold the same weights."""
    sides = ((a, model_a), (b, model_b))
    return len({rev.trained(model, dataset).weights for side, model in sides for rev in side.revisions}) == 1


def _settings(side: Side, model: str, dataset: str) -> list[str]:
    """Warns where trainings of one side differ in more than their seed.

    Raises: UnpairedError if two are the same training, which would count twice.
    """
    first, *others = (revision.trained(model, dataset) for revision in side.revisions)
    found = []
    weights = {first.weights: side.revision.name}
    for revision, other in zip(side.revisions[1:], others, strict=True):
        if other.weights in weights:
            raise UnpairedError(
                f"{weights[other.weights]} and {revision.name} hold the same {model}, one training under two names. "
                "Train again with another seed: dvc exp run -S seed=2."
            )
        weights[other.weights] = revision.name
        keys = dict.fromkeys([*first.params, *other.params])
        if differing := [key for key in keys if first.params.get(key) != other.params.get(key)]:
            found.append(
                f"{side.revision.name} and {revision.name} differ in {', '.join(differing)} beside the seed: they are "
                f"no trainings of one setting."
            )
    return found


def _only(verdicts: list[dict[str, Any]], problems: Collection[str] | None) -> list[dict[str, Any]]:
    return verdicts if problems is None else [row for row in verdicts if row["problem_id"] in problems]


def _flips(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[Flip]:
    old = {row["problem_id"]: row for row in before if row["sample"] == 0}
    found = [
        Flip(row["problem_id"], row["correct"], old[row["problem_id"]]["predicted_answer"], row["predicted_answer"])
        for row in after
        if row["sample"] == 0 and row["problem_id"] in old and row["correct"] != old[row["problem_id"]]["correct"]
    ]
    return sorted(found, key=lambda flip: (flip.gained, flip.problem_id))


def _pairs(a: Side, b: Side, models: Sequence[str], datasets: Sequence[str]) -> list[tuple[str, str, str]]:
    """(model of A, model of B, dataset) to compare."""
    for side in (a, b):
        for revision in side.revisions:
            known = dict.fromkeys(model for model, _ in evaluations(revision.lock))
            if side.model is not None and side.model not in known:
                words = f"{revision.name}:{side.model}: no model {side.model!r} is known there."
                raise RevisionError(f"{words}{nearest(side.model, known)} It has evaluated: {listing(known)}.")
    has_a, has_b = a.evaluated(), b.evaluated()
    if a.model or b.model:
        model_a, model_b = a.model or b.model, b.model or a.model
        assert model_a is not None
        assert model_b is not None
        shared = [dataset for model, dataset in has_b if model == model_b and (model_a, dataset) in has_a]
        pairs = [(model_a, model_b, dataset) for dataset in shared]
    else:
        pairs = [(model, model, dataset) for model, dataset in has_b if (model, dataset) in has_a]
    told = "".join(f"\n{line}" for line in _left_out(a, b, models, datasets))
    if pairs and not (
        chosen := [p for p in pairs if (not models or p[1] in models) and (not datasets or p[2] in datasets)]
    ):
        words = ", ".join(f"{model} on {dataset}" for _, model, dataset in pairs)
        raise RevisionError(f"--model and --dataset leave nothing of what both have evaluated: {words}.{told}")
    if not pairs:
        raise RevisionError(
            f"nothing to compare: {_in_words(a, has_a)}; {_in_words(b, has_b)}. Evaluate one model on one dataset "
            f"in both (evaluate.models, evaluate.datasets).{told}"
        )
    return chosen


def _left_out(a: Side, b: Side, models: Sequence[str], datasets: Sequence[str]) -> list[str]:
    """What either side has evaluated and does not count, of what was asked for."""
    found: dict[str, None] = {}
    for side, other in ((a, b), (b, a)):
        asked = [side.model or other.model] if side.model or other.model else models
        for revision in side.revisions:
            pairs = [
                p for p in revision.outdated if (not asked or p[0] in asked) and (not datasets or p[1] in datasets)
            ]
            found |= dict.fromkeys(revision.left_out(pairs))
    return list(found)


def _in_words(side: Side, has: Sequence[tuple[str, str]]) -> str:
    words = [f"{model} on {dataset}" for model, dataset in has if side.model in (None, model)]
    return f"{side.name} has {', '.join(words) or 'no evaluation'}"


def _warnings(a: Predictions, b: Predictions) -> list[str]:
    found = []
    if a.grader_hash != b.grader_hash:
        found.append("the two were judged by different versions of the grader: `dvc repro evaluate` on the older one.")
    if a.dtype != b.dtype:
        found.append(f"the weights differ in type: {a.dtype} and {b.dtype}.")
    if a.problems_hash != b.problems_hash:
        found.append(
            f"data/split/{a.dataset} differs: the questions are the same, their reference answers may not be."
        )
    if any(a.prompts[problem] != b.prompts[problem] for problem in a.prompts.keys() & b.prompts.keys()):
        found.append("the same prompt reads otherwise (chat template, or smolmath/prompts.py), which counts too.")
    if a.made_by and b.made_by and a.made_by != b.made_by:
        one, two = (" on ".join(side.made_by.values()) for side in (a, b))
        found.append(f"the completions were made by {one} and by {two}, which round differently.")
    return found


def _what(a: Predictions, b: Predictions) -> str:
    models = a.model if a.model == b.model else f"{a.model} and {b.model}"
    return f"{models} on {a.dataset}"
