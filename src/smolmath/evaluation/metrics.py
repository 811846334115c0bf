"""Metrics of one model on one dataset: means over problems, each with its standard error and 95 % interval."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from smolmath.evaluation import uncertainty
from smolmath.evaluation.uncertainty import Estimate
from smolmath.evaluation.verdicts import Row, by_problem, majority_right, majority_share, share_right

AVERAGE = "suite average"  # with a space: no dataset can be called so
Metrics = dict[str, Any]  # numbers, but for the lists `pass_at_k`, `calibration`, `sources` and `levels`


def evaluation_metrics(verdicts: Iterable[Row], problems: Mapping[str, Row]) -> Metrics:
    """What `metrics/eval/M/D.json` holds, from verdict rows (sample 0 greedy, 1…k sampled).

    Of the greedy completion: accuracy (lenient: whatever way of committing to an answer), strict_accuracy (in the
    asked format too), format_rate, truncated, reasoning_score, reasoning_arithmetic, right_by_wrong_steps, repeated,
    mixes_scripts, all_variants_right, tokens and tokens_p95. Of k sampled ones, where there are any: mean_at_k,
    maj_at_k, majority_share, and the lists calibration and pass_at_k, the latter for 1…k; without samples it has the
    greedy completion's accuracy for its one point, since DVC cannot plot a file without any. Each has `_se`, `_low`
    and `_high` beside it.
    `sources` and `levels` list each origin of the problems, and each level, by itself, where there are several.
    Errors are over problems, not completions: the k samples of a problem are no k independent problems.

    Args: problems: id -> the problem, of which its source and its traits count.
    """
    traits = partial(_traits, problems)
    greedy, sampled = by_problem(verdicts)
    rows = list(greedy.values())
    metrics: Metrics = {"n": len(rows)}
    for name, column in {"accuracy": "correct", "strict_accuracy": "strict", "format_rate": "formatted"}.items():
        metrics |= _named(name, uncertainty.share([row[column] for row in rows]))
    metrics |= _named("truncated", uncertainty.share([not row["finished"] for row in rows]))
    scores = [row["reward_reasoning_steps"] for row in rows if row.get("reward_reasoning_steps") is not None]
    if scores:  # problems without a worked solution have none
        metrics |= _named("reasoning_score", uncertainty.mean(scores))
    computing = [row for row in rows if row.get("equations")]
    if computing:
        sound = [row["wrong_equations"] == 0 for row in computing]
        metrics |= _named("reasoning_arithmetic", uncertainty.share(sound))
    if right := [row for row in computing if row["correct"]]:
        metrics |= _named("right_by_wrong_steps", uncertainty.share([row["wrong_equations"] > 0 for row in right]))
    if repeated := [row["repeated"] for row in rows if row.get("repeated") is not None]:
        metrics |= _named("repeated", uncertainty.mean(repeated))
    if any(row.get("mixes_scripts") for row in rows):  # few models ever do
        metrics |= _named("mixes_scripts", uncertainty.share([bool(row.get("mixes_scripts")) for row in rows]))
    if families := _families(greedy, traits("variant_of", greedy)):
        metrics |= {"seeds": len(families)} | _named("all_variants_right", uncertainty.share(families))
    tokens = [float(row["tokens"]) for row in rows]
    metrics |= _named("tokens", uncertainty.mean(tokens)) | _named("tokens_p95", uncertainty.quantile_95(tokens))
    metrics["k"] = min(map(len, sampled.values()), default=0)
    if sampled:
        metrics |= _named("mean_at_k", uncertainty.mean([share_right(samples) for samples in sampled.values()]))
        metrics |= _named("maj_at_k", uncertainty.mean([majority_right(samples) for samples in sampled.values()]))
        metrics |= _named(
            "majority_share", uncertainty.mean([majority_share(samples) for samples in sampled.values()])
        )
    if metrics["k"] > 1:
        metrics["calibration"] = _calibration([*sampled.values()])
    metrics["pass_at_k"] = pass_at_k_curve(sampled or {problem: [row] for problem, row in greedy.items()})
    for what in ("source", "level"):
        found = traits(what, greedy)
        if len({*found.values()}) > 1:
            metrics[f"{what}s"] = _by(what, found, greedy, sampled)
    return metrics


def averaged(evaluations: Mapping[str, Metrics]) -> Metrics:
    """The mean greedy accuracy of a model over several datasets; empty for a single one."""
    if len(evaluations) < 2:
        return {}
    ends = ("", "_se", "_low", "_high")
    parts = [Estimate(*(found[f"accuracy{end}"] for end in ends)) for found in evaluations.values()]
    return _named("accuracy", uncertainty.suite_average(parts))


def pass_at_k_curve(sampled: Mapping[str, list[Row]]) -> list[Metrics]:
    """A point for each k from 1 to what every problem has: the chance that k samples hold a right one."""
    counts = [(len(samples), sum(row["correct"] for row in samples)) for samples in sampled.values()]
    return [
        {"k": k, **_named("pass_at_k", uncertainty.mean([uncertainty.pass_at_k(n, c, k) for n, c in counts]))}
        for k in range(1, min(n for n, _ in counts) + 1)
    ]


def _traits(problems: Mapping[str, Row], name: str, ids: Iterable[str]) -> dict[str, str]:
    """Problem id -> what stands in that column of its problem, empty where nothing does."""
    return {problem: str(problems.get(problem, {}).get(name) or "") for problem in ids}


def _families(greedy: Mapping[str, Row], seeds: Mapping[str, str]) -> list[bool]:
    """Of each problem that was asked in several variants, itself one of them, whether all are right."""
    right = defaultdict[str, list[bool]](list)
    for problem, row in greedy.items():
        right[seeds[problem] or problem].append(bool(row["correct"]))
    return [all(variants) for variants in right.values() if len(variants) > 1]


def _calibration(sampled: Sequence[Sequence[Row]]) -> list[Metrics]:
    """By quarters of the majority's share: how many problems have it, and how often the majority is right there."""
    quarters = defaultdict[int, list[float]](list)
    for samples in sampled:
        quarters[max(1, math.ceil(4 * majority_share(samples)))].append(majority_right(samples))
    return [
        {"up_to": quarter / 4, "n": len(right), **_named("maj_at_k", uncertainty.mean(right))}
        for quarter, right in sorted(quarters.items())
    ]


def _by(
    what: str, names: Mapping[str, str], greedy: Mapping[str, Row], sampled: Mapping[str, list[Row]]
) -> list[Metrics]:
    """Args: names: problem id -> its source, or its level."""
    found = []
    # Levels as they are counted, 2 before 10.
    for name in sorted({*names.values()}, key=lambda name: (len(name) if what == "level" else 0, name)):
        problems = [problem for problem in greedy if names[problem] == name]
        entry: Metrics = {what: name or "(none)", "n": len(problems)}
        entry |= _named("accuracy", uncertainty.share([greedy[problem]["correct"] for problem in problems]))
        if sampled.keys() >= {*problems}:
            entry |= _named("mean_at_k", uncertainty.mean([share_right(sampled[problem]) for problem in problems]))
        found.append(entry)
    return found


def _named(name: str, estimate: Estimate) -> Metrics:
    values = {
        name: estimate.value,
        f"{name}_se": estimate.se,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
    }
    return {key: round(value, 6) for key, value in values.items()}
