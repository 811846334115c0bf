"""A study on the terminal: its trials, the best with its interval, whether it is clearly the best, how to apply it."""

import math
import shlex
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from smolmath.evaluation import uncertainty
from smolmath.studies.tuning.search import as_overrides
from smolmath.studies.tuning.study import Trial, Tuning, as_text, estimate_text
from smolmath.studies.tuning.trials import Outcome
from smolmath.studies.wording import is_clear, p_text, signed


def study_parts(tuning: Tuning) -> list[Any]:
    """What to print when a search has ended, or was interrupted."""
    trials = tuning.trials()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("trial", "validation", "95 %", "step", "values"):
        table.add_column(title, no_wrap=title != "values", justify="right" if title == "step" else "left")
    for trial in trials:
        table.add_row(trial.experiment, *_cells(trial), as_text(trial.values))
    parts: list[Any] = [f"\n{tuning.name}: validation {tuning.metric} of phase {tuning.search.phase}", table]
    return [*parts, "", *verdict(trials, tuning)]


def verdict(trials: Sequence[Trial], tuning: Tuning) -> list[str]:
    """The best in words, against the next best and against the values of params.yaml, paired by problem.

    The best was picked by the same problems, so p is corrected for every pair of trials that might have been picked.
    """
    done = [trial for trial in trials if trial.outcome]
    if not done:
        return ["no trial has a result: nothing to apply."]
    best = done[0]
    assert best.outcome is not None
    lines = [f"best: {best.experiment}, {estimate_text(best.outcome)}: {as_text(best.values)}"]
    others = [t for t in done[1:] if t.experiment != best.experiment]
    first = next((t for t in done if t.number == 0), None)
    rivals = {t.number: t for t in (others[:1] + ([first] if first and first.experiment != best.experiment else []))}
    pairs = math.comb(len(done), 2)
    for rival in rivals.values():
        assert rival.outcome is not None
        lines.append(f"      {_against(best.outcome, rival.outcome, tuning.metric, pairs)} {rival.experiment}")
    lines.append("The best of several looks better than it is: what counts is the test side, once it is evaluated:")
    if tuning.search.fixed or tuning.search.train_only:  # the experiment has those too, or lacks what follows
        lines.append(
            f"      dvc exp run {shlex.join(as_overrides(tuning.params, best.values))} && smolmath compare HEAD"
        )
    else:
        lines.append(f"      dvc exp apply {best.experiment} && dvc repro && smolmath compare HEAD")
        lines.append(f"      dvc exp branch {best.experiment} NAME    # or as a branch; `dvc exp show` lists all")
    return [
        *lines,
        "One training a side does not show what another seed would change. Three a side can tell it from the setting:",
        "      dvc exp run --queue --name before -S seed=1,2,3",
        f"      dvc exp run --queue --name after -S seed=1,2,3 {shlex.join(as_overrides(tuning.params, best.values))}",
        "      dvc queue start",
        "      smolmath compare before-1,before-2,before-3 after-1,after-2,after-3    # once the queue has run",
    ]


def _against(best: Outcome, other: Outcome, metric: str, pairs: int) -> str:
    shared = best.by_question.keys() & other.by_question.keys()
    one, two = ([found.by_question[q] for q in sorted(shared)] for found in (other, best))
    if metric == "accuracy":
        difference = uncertainty.paired_share([v == 1 for v in one], [v == 1 for v in two])
        p = uncertainty.mcnemar(
            sum(b > a for a, b in zip(one, two, strict=True)), sum(a > b for a, b in zip(one, two, strict=True))
        )
    else:
        difference = uncertainty.paired_mean(one, two)
        p = uncertainty.bootstrap_p([b - a for a, b in zip(one, two, strict=True)])
    p = min(1.0, p * pairs)
    clear = "clearly better than" if is_clear(p) else "not clearly better than"
    words = f"{signed(100 * difference.value)} ± {100 * difference.se:.1f} points"
    if metric != "accuracy":
        words = f"{difference.value:+.3f} ± {difference.se:.3f}"
    corrected = f" (corrected for {pairs} pairs)" if pairs > 1 else ""
    return f"{words}, {p_text(p)}{corrected}: {clear}"


def _cells(trial: Trial) -> tuple[str, str, str]:
    if trial.outcome is None:
        reached = "" if trial.reached is None else f" at {trial.reached:.3f}"
        return f"{trial.state}{reached}", "", ""
    e = trial.outcome.estimate
    return f"{e.value:.3f} ± {e.se:.3f}", f"{e.low:.3f} to {e.high:.3f}", str(trial.outcome.step)
