"""`smolmath inspect`: a result's trail, or a dataset before it is used."""

import json
from pathlib import Path
from typing import Annotated

import typer

from smolmath.commands import show


def inspect(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A result, a data file or folder, or a hub id.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to look at.")] = 2000,
    config: Annotated[str | None, typer.Option(help="Of a hub dataset that has several.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Read a dataset by these, e.g. '{question: [Body, Question], reference_answer: Answer}'."),
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Read a dataset by this layout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A result's whole trail, for a program.")] = False,
) -> None:
    """Look at a result's trail, or at a dataset before it is named in params.yaml.

    smolmath inspect models/legs           commit, params, data, stages, machine and packages behind a result
    smolmath inspect rows.jsonl            a dataset's columns, three rows, how they are read, how many can be verified

    Where no layout fits, the `columns` to paste into params.yaml are proposed; --columns shows what they read.
    """
    from smolmath.commands.inspection import inspect_dataset, inspection_tables
    from smolmath.running.lockfile import producer, workspace_lock
    from smolmath.studies.provenance.show import as_json as trail_json
    from smolmath.studies.provenance.show import trail_parts
    from smolmath.studies.provenance.trail import is_place_of_results, trail

    lock = workspace_lock()
    dataset = target.startswith("data/") and producer(lock, Path(target).as_posix()) is not None
    if as_json or (is_place_of_results(lock, target) and not dataset):
        found = trail(target)
        if as_json:
            print(json.dumps(trail_json(found), indent=1, ensure_ascii=False))
            return
        parts = trail_parts(found)
    else:
        parts = inspection_tables(inspect_dataset(target, rows, config, columns=columns, layout=layout))
    show(parts)
