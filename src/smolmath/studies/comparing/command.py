"""What `smolmath compare` does, from its arguments to what it prints."""

import json
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from smolmath.studies.comparing import show
from smolmath.studies.comparing.compare import Side, compare, names, with_texts
from smolmath.studies.comparing.ranking import RankingError, rank, ranking_lines
from smolmath.studies.comparing.ranking import as_json as ranked_as_json


def run(
    console: Console,
    a: str | None,
    others: Sequence[str],
    *,
    models: Sequence[str],
    datasets: Sequence[str],
    flips: int,
    common: bool,
    power: float | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Print B against A, several others ranked against A, or without A how many problems show `power` points.

    Args: flips: problems that changed sides to print of each model and dataset, with both completions. As JSON none
    asked for means all, without completions.
    Raises: SmolmathError if it cannot be compared.
    """
    if a is None:
        assert power is not None
        console.print(show.power_table(power, show.assumed()))
        return
    if len(others) > 1:
        if asked := [name for name, value in (("flips", flips), ("power", power), ("common", common)) if value]:
            raise RankingError(
                f"--{' and --'.join(asked)}: of two versions alone; several are ranked on what all answered."
            )
        ranking = rank(Side.parse(a), [Side.parse(b) for b in others], models=models, datasets=datasets)
        if as_json:
            print(json.dumps(ranked_as_json(ranking), indent=1, ensure_ascii=False))
        elif as_markdown:
            print("\n\n".join(show.as_markdown(comparison) for comparison in ranking.comparisons))
        else:
            show.print_parts(console, ranking_lines(ranking))
        return
    sides = Side.parse(a), Side.parse(others[0])
    comparison = compare(*sides, models=models, datasets=datasets, common=common)
    one, two = sides[0].revision, sides[1].revision
    if as_json:
        if flips:
            told = [replace(found, flips=with_texts(found, one, two, flips)) for found in comparison.flips]
            comparison = replace(comparison, flips=told)
        print(json.dumps(show.as_json(comparison), indent=1, ensure_ascii=False))
        return
    if as_markdown:
        print(show.as_markdown(comparison))
        return
    show.print_parts(console, show.lines(comparison))
    for found in comparison.flips if flips else ():
        called = names(*sides, found.model_a, found.model_b)
        show.print_parts(console, show.flip_texts(found, with_texts(found, one, two, flips), *called))
    if power is not None:
        console.print("")
        console.print(show.power_table(power, show.observed(comparison)))
