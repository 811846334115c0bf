"""Two versions' predictions paired by problem, tested, corrected for their number, and put in words."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from smolmath.evaluation.paired import Paired, UnpairedError, compare_verdicts
from smolmath.evaluation.uncertainty import holm
from smolmath.studies.revisions import (
    COMPLETION_COLUMNS,
    PROBLEM_COLUMNS,
    WORKSPACE,
    Predictions,
    Revision,
    RevisionError,
    completions_path,
    problems_path,
)
from smolmath.studies.wording import is_clear, p_text, signed

# What must be equal for a difference to be the models'. `batch_size` only seeds, and `problems` shows in the ids.
SAMPLING = ("samples", "temperature", "top_p", "max_completion_tokens")
MEASURES = {"accuracy": "greedy", "mean_at_k": "sampled"}


@dataclass(frozen=True)
class Side:
    """`REVISION` or `REVISION:MODEL`, as on the command line; without a revision, the workspace."""

    revision: Revision
    model: str | None

    @classmethod
    def parse(cls, text: str) -> "Side":
        name, _, model = text.partition(":")
        return cls(Revision(name or WORKSPACE), model or None)

    @property
    def name(self) -> str:
        return self.revision.name + (f":{self.model}" if self.model else "")


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
class Comparison:
    a: str
    b: str
    differences: list[Difference]
    same: list[tuple[str, str]]  # (model, dataset) whose verdicts are identical
    flips: list[Flips] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def compare(
    a: Side, b: Side, *, models: Sequence[str] = (), datasets: Sequence[str] = (), common: bool = False
) -> Comparison:
    """B against A on all that both have evaluated, or on the models and datasets that are named.

    Args: common: compare on the problems that both answered, where they are not the same.
    Raises: RevisionError if something is missing; UnpairedError if problems, prompt or sampling differ.
    """
    tests: list[tuple[Predictions, Predictions, Paired]] = []
    result = Comparison(a.name, b.name, [], [])
    for model_a, model_b, dataset in _pairs(a, b, models, datasets):
        before, after = a.revision.predictions(model_a, dataset), b.revision.predictions(model_b, dataset)
        refuse_other_terms(before, after)
        result.warnings.extend(w for w in _warnings(before, after) if w not in result.warnings)
        try:
            found = compare_verdicts(before.verdicts, after.verdicts, common=common)
        except UnpairedError as error:
            raise UnpairedError(f"{_what(before, after)}: {error}") from None
        if before.verdicts == after.verdicts:
            result.same.append((model_b, dataset))
            continue
        tests += [(before, after, paired) for paired in found]
        result.flips.append(Flips(model_a, model_b, dataset, _flips(before.verdicts, after.verdicts)))
    corrected = holm([paired.p for _, _, paired in tests])
    for (before, after, paired), p in zip(tests, corrected, strict=True):
        words = in_words(paired, p, len(tests), *names(a, b, before.model, after.model))
        result.differences.append(Difference(before.model, after.model, before.dataset, paired, p, words))
    return result


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
            f"{_what(a, b)}: the sampling differs (evaluate.sampling, {words}). Evaluate both with one sampling: "
            "`dvc repro` generates anew and trains nothing."
        )


def in_words(paired: Paired, p: float, tests: int, a: str, b: str) -> str:
    """The verdict, by the corrected p.

    "B is better by 3.1 ± 1.2 points on 1,319 problems, p = 0.009"
    """
    points, error = 100 * paired.difference.value, 100 * paired.difference.se
    counted = f"on {paired.n:,} problems" + (f" × {paired.k} samples" if paired.measure == "mean_at_k" else "")
    significance = p_text(p, paired.p) + (f" (corrected for {tests} tests)" if tests > 1 else "")
    if is_clear(p):
        better = b if points > 0 else a
        return f"{better} is better by {abs(points):.1f} ± {error:.1f} points {counted}, {significance}"
    low, high = 100 * paired.difference.low, 100 * paired.difference.high
    return (
        f"no clear difference: {signed(points)} ± {error:.1f} points for {b} {counted}, {significance}; 95 % interval "
        f"{signed(low)} to {signed(high)}"
    )


def names(a: Side, b: Side, model_a: str, model_b: str) -> tuple[str, str]:
    """What the two are called in words: by their revisions, by their models where these differ."""
    if a.revision.name == b.revision.name:
        return model_a, model_b
    if model_a == model_b:
        return a.revision.name, b.revision.name
    return f"{a.revision.name}:{model_a}", f"{b.revision.name}:{model_b}"


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
    has_a, has_b = a.revision.evaluated(), b.revision.evaluated()
    if a.model or b.model:
        model_a, model_b = a.model or b.model, b.model or a.model
        assert model_a is not None
        assert model_b is not None
        shared = [dataset for model, dataset in has_b if model == model_b and (model_a, dataset) in has_a]
        pairs = [(model_a, model_b, dataset) for dataset in shared]
    else:
        pairs = [(model, model, dataset) for model, dataset in has_b if (model, dataset) in has_a]
    if pairs and not (
        chosen := [p for p in pairs if (not models or p[1] in models) and (not datasets or p[2] in datasets)]
    ):
        words = ", ".join(f"{model} on {dataset}" for _, model, dataset in pairs)
        raise RevisionError(f"--model and --dataset leave nothing of what both have evaluated: {words}.")
    if not pairs:
        raise RevisionError(
            f"nothing to compare: {_in_words(a, has_a)}; {_in_words(b, has_b)}. Evaluate one model on one dataset "
            "in both (evaluate.models, evaluate.datasets)."
        )
    return chosen


def _in_words(side: Side, has: Sequence[tuple[str, str]]) -> str:
    return f"{side.name} has {', '.join(f'{model} on {dataset}' for model, dataset in has) or 'no evaluation'}"


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
