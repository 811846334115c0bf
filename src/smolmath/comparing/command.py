"""What `smolmath compare` does, from its arguments to what it prints."""

import json
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from smolmath.comparing import show
from smolmath.comparing.compare import Side, compare, names, with_texts


def run(
    console: Console,
    a: str | None,
    b: str,
    *,
    models: Sequence[str],
    datasets: Sequence[str],
    flips: int,
    common: bool,
    power: float | None,
    as_json: bool,
) -> None:
    """Print B against A, or without A how many problems show a difference of `power` points.

    Args: flips: problems that changed sides to print of each model and dataset, with both completions. As JSON none
    asked for means all, without completions.
    Raises: SmolmathError if it cannot be compared.
    """
    if a is None:
        assert power is not None
        console.print(show.power_table(power, show.assumed()))
        return
    sides = Side.parse(a), Side.parse(b)
    comparison = compare(*sides, models=models, datasets=datasets, common=common)
    one, two = sides[0].revision, sides[1].revision
    if as_json:
        if flips:
            told = [replace(found, flips=with_texts(found, one, two, flips)) for found in comparison.flips]
            comparison = replace(comparison, flips=told)
        print(json.dumps(show.as_json(comparison), indent=1, ensure_ascii=False))
        return
    show.print_parts(console, show.lines(comparison))
    for found in comparison.flips if flips else ():
        called = names(*sides, found.model_a, found.model_b)
        show.print_parts(console, show.flip_texts(found, with_texts(found, one, two, flips), *called))
    if power is not None:
        console.print("")
        console.print(show.power_table(power, show.observed(comparison)))
