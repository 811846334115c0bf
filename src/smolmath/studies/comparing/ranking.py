"""Several versions against one, ranked: which of the experiments is best, and is it by chance?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from rich.text import Text

from smolmath.errors import SmolmathError
from smolmath.evaluation.uncertainty import holm
from smolmath.studies.comparing.compare import (
    MEASURES,
    Average,
    Comparison,
    Difference,
    Problems,
    Side,
    compare,
    corrected_averages,
    in_words,
    names,
)
from smolmath.studies.comparing.show import as_json as comparison_as_json
from smolmath.studies.wording import is_clear, p_text, signed

LINE = "{:<26}{:>7}{:>14}{:>16}{:>13}{:>9}"


class RankingError(SmolmathError):
    """What can be asked of two versions and not of several."""


@dataclass(frozen=True)
class Ranking:
    """Each version against `a`; every p is corrected for all tests of the ranking."""

    a: str
    comparisons: list[Comparison]

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(warning for found in self.comparisons for warning in found.warnings))


def rank(
    a: Side,
    others: Sequence[Side],
    *,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    problems: Problems | None = None,
) -> Ranking:
    """Args and Raises: as `compare`."""
    found = [compare(a, b, models=models, datasets=datasets, problems=problems) for b in others]
    tests = [(b, difference) for b, one in zip(others, found, strict=True) for difference in one.differences]
    corrected = iter(holm([difference.paired.p for _, difference in tests]))
    averages = _averages(a, others, found)
    comparisons = []
    for b, one, average in zip(others, found, averages, strict=True):
        differences = []
        for difference in one.differences:
            p = next(corrected)
            called = names(a, b, difference.model_a, difference.model_b)
            verdict = in_words(difference.paired, p, len(tests), *called)
            differences.append(replace(difference, p_corrected=p, verdict=verdict))
        comparisons.append(replace(one, differences=differences, averages=average))
    return Ranking(a.name, comparisons)


def _averages(a: Side, others: Sequence[Side], found: Sequence[Comparison]) -> list[list[Average]]:
    """Of each version; of none where they are of other datasets than another's, which no ranking can be by."""
    if len({tuple(sorted(average.parts)) for one in found for average in one.averages}) > 1:
        return [[] for _ in found]
    told = [(a, b, average) for b, one in zip(others, found, strict=True) for average in one.averages]
    corrected = iter(corrected_averages(told))
    return [[next(corrected) for _ in one.averages] for one in found]


def ranking_lines(ranking: Ranking) -> list[Text]:
    """A block for each of A's models, dataset and measure, the best first; averages before all. Fits 86 columns."""
    parts = [Text(f"A: {ranking.a}", style="bold")]
    rows = [(found.b, row) for found in ranking.comparisons for row in found.rows]
    order = sorted(rows, key=lambda row: (_key(row[1]), -row[1].paired.after))
    for key, block in groupby(order, key=lambda row: _key(row[1])):
        entries = list(block)
        paired = entries[0][1].paired
        _, model, dataset, measure = key
        where = f"{model} on {dataset}" if all(d.model_b == model for _, d in entries) else f"on {dataset}"
        parts.append(Text(f"\n{where}, {MEASURES[measure]}, {paired.n:,} problems", style="bold"))
        parts.append(Text(LINE.format("", "share", "to A", "95 %", "better/worse", "p"), style="dim"))
        rival = [(b, d) for b, d in entries if d.paired.after > d.paired.before]
        parts += [Text(_row(b, d), style=_style(d)) for b, d in rival]
        parts.append(Text(LINE.format(_cut(ranking.a), f"{100 * paired.before:.1f}", "", "", "", "").rstrip()))
        parts += [Text(_row(b, d), style=_style(d)) for b, d in entries if (b, d) not in rival]
        parts += [Text(f"  {b}: {d.verdict}", style="dim") for b, d in entries if isinstance(d, Average) and d.clear]
    same = [(found.b, model, dataset) for found in ranking.comparisons for model, dataset in found.same]
    parts += [Text(f"{b}: {m} on {d}: every verdict is that of {ranking.a}.", style="dim") for b, m, d in same]
    parts.append(Text("\nGreen and red: clearly better or worse than A, p < 0.05, corrected for all of these tests."))
    return [*parts, *(Text(f"warning: {warning}", style="yellow") for warning in ranking.warnings)]


def as_json(ranking: Ranking) -> dict[str, Any]:
    return {"a": ranking.a, "ranked": [comparison_as_json(found) for found in ranking.comparisons]}


def _row(name: str, difference: Difference) -> str:
    paired, e = difference.paired, difference.paired.difference
    return LINE.format(
        _cut(name),
        f"{100 * paired.after:.1f}",
        f"{signed(100 * e.value)} ± {100 * e.se:.1f}",
        f"{signed(100 * e.low)} to {signed(100 * e.high)}",
        f"{paired.gained} / {paired.lost}",
        p_text(difference.p_corrected, paired.p).removeprefix("p = ").removeprefix("p "),
    )


def _key(difference: Difference) -> tuple[bool, str, str, str]:
    where = difference.model_a, difference.dataset, difference.paired.measure
    return not isinstance(difference, Average), *where


def _style(difference: Difference) -> str:
    if not is_clear(difference.p_corrected):
        return ""
    return "green" if difference.paired.difference.value > 0 else "red"


def _cut(name: str) -> str:
    return name if len(name) <= 25 else f"{name[:24]}…"
