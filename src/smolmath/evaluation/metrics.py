"""Metrics of one model on one dataset: means over problems, each with its standard error and 95 % interval."""

from collections.abc import Iterable, Mapping
from typing import Any

from smolmath.evaluation import uncertainty
from smolmath.evaluation.uncertainty import Estimate
from smolmath.evaluation.verdicts import Row, by_problem, majority_right, majority_share, share_right

AVERAGE = "suite average"  # with a space: no dataset can be called so
Metrics = dict[str, Any]  # numbers, but for two lists: `pass_at_k` and `sources`


def evaluation_metrics(verdicts: Iterable[Row], sources: Mapping[str, str | None]) -> Metrics:
    """What `metrics/eval/M/D.json` holds, from verdict rows (sample 0 greedy, 1…k sampled).

    Of the greedy completion: accuracy (lenient: whatever way of committing to an answer), strict_accuracy (in the
    asked format too), format_rate, truncated, reasoning_score, reasoning_arithmetic, right_by_wrong_steps, repeated,
    tokens and tokens_p95. Of k sampled ones, where there are any: mean_at_k, maj_at_k, majority_share, and the list
    pass_at_k for 1…k; without samples the list has the greedy completion's accuracy for its one point, since DVC
    cannot plot a file without any. Each has `_se`, `_low` and `_high` beside it.
    `sources` lists each origin of the problems by itself, where there are several. Errors are over problems, not
    completions: the k samples of a problem are no k independent problems.

    Args: sources: problem id -> origin inside the dataset.
    """
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
    tokens = [float(row["tokens"]) for row in rows]
    metrics |= _named("tokens", uncertainty.mean(tokens)) | _named("tokens_p95", uncertainty.quantile_95(tokens))
    metrics["k"] = min(map(len, sampled.values()), default=0)
    if sampled:
        metrics |= _named("mean_at_k", uncertainty.mean([share_right(samples) for samples in sampled.values()]))
        metrics |= _named("maj_at_k", uncertainty.mean([majority_right(samples) for samples in sampled.values()]))
        metrics |= _named(
            "majority_share", uncertainty.mean([majority_share(samples) for samples in sampled.values()])
        )
    metrics["pass_at_k"] = pass_at_k_curve(sampled or {problem: [row] for problem, row in greedy.items()})
    if len({sources.get(problem) for problem in greedy}) > 1:
        metrics["sources"] = _by_source(greedy, sampled, sources)
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


def _by_source(
    greedy: Mapping[str, Row], sampled: Mapping[str, list[Row]], sources: Mapping[str, str | None]
) -> list[Metrics]:
    found = []
    for source in sorted({sources.get(problem) or "" for problem in greedy}):
        problems = [problem for problem in greedy if (sources.get(problem) or "") == source]
        entry: Metrics = {"source": source or "(none)", "n": len(problems)}
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
