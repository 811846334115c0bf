"""`smolmath compare`: two results problem by problem, or several ranked."""

import json
from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from smolmath.commands import console, fail, show


def compare(
    a: Annotated[
        str | None, typer.Argument(metavar="A", help="REVISION, REVISION:MODEL or :MODEL; several seeds: A1,A2,A3.")
    ] = None,
    b: Annotated[
        list[str] | None, typer.Argument(metavar="B...", help="Likewise; several are ranked; or the workspace.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only these models.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only these datasets.")] = None,
    flips: Annotated[int, typer.Option(min=0, help="Flipped problems to print of each model and dataset.")] = 0,
    common: Annotated[bool, typer.Option("--common", help="Where the problems differ, use the common ones.")] = False,
    power: Annotated[float | None, typer.Option(min=0.01, help="Points: how many problems show them?")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for a program.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A table for a pull request.")] = False,
) -> None:
    """Compare results problem by problem: commits, branches, tags, DVC experiments, `workspace`, or two models.

    smolmath compare main                  the workspace against a branch
    smolmath compare HEAD~3 exp-4a1c       an experiment against a commit
    smolmath compare main exp-1 exp-2      several experiments, ranked
    smolmath compare a1,a2,a3 b1,b2,b3     two settings, each trained with several seeds
    smolmath compare :base :sums           two models of the workspace
    smolmath compare --power 2.0           how many problems it takes to see two points
    """
    from smolmath.studies.comparing import show as wording
    from smolmath.studies.comparing.compare import Side, common_problems, names, with_texts
    from smolmath.studies.comparing.compare import compare as compare_sides
    from smolmath.studies.comparing.ranking import RankingError, rank, ranking_lines
    from smolmath.studies.comparing.ranking import as_json as ranked_as_json

    if a is None:
        if power is None:
            fail("name what to compare: smolmath compare A [B], or --power POINTS alone.")
        console.print(wording.power_table(power, wording.assumed()))
        return
    one, models, datasets = Side.parse(a), model or [], dataset or []
    others = [Side.parse(name) for name in b or ["workspace"]]
    asked = [name for name, value in (("flips", flips), ("power", power)) if value]
    if asked and (len(others) > 1 or any(len(side.revisions) > 1 for side in (one, *others))):
        raise RankingError(f"--{' and --'.join(asked)}: of two models alone, and here are several.")
    problems = common_problems(one, others, models, datasets) if common else None
    if len(others) > 1:
        ranking = rank(one, others, models=models, datasets=datasets, problems=problems)
        if as_json:
            print(json.dumps(ranked_as_json(ranking), indent=1, ensure_ascii=False))
        elif as_markdown:
            print("\n\n".join(wording.as_markdown(comparison) for comparison in ranking.comparisons))
        else:
            show(ranking_lines(ranking), Text)
        return
    two = others[0]
    comparison = compare_sides(one, two, models=models, datasets=datasets, problems=problems)
    revisions = one.revision, two.revision
    if as_json:
        if flips:
            with_flips = [replace(found, flips=with_texts(found, *revisions, flips)) for found in comparison.flips]
            comparison = replace(comparison, flips=with_flips)
        print(json.dumps(wording.as_json(comparison), indent=1, ensure_ascii=False))
        return
    if as_markdown:
        print(wording.as_markdown(comparison))
        return
    show(wording.lines(comparison), Text)
    for found in comparison.flips if flips else ():
        called = names(one, two, found.model_a, found.model_b)
        show(wording.flip_texts(found, with_texts(found, *revisions, flips), *called), Text)
    if power is not None:
        console.print("")
        console.print(wording.power_table(power, wording.observed(comparison)))
