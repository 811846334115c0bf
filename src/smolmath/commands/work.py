"""`smolmath work`: what unfinished runs have kept."""

from typing import Annotated

import typer
from rich.table import Table

from smolmath.commands import console, fail
from smolmath.params.core import read_params


def work(
    clean: Annotated[bool, typer.Option("--clean", help="Remove states of other inputs than today's.")] = False,
    fingerprint: Annotated[list[str] | None, typer.Argument(help="With --clean: remove these states.")] = None,
    show: Annotated[int, typer.Option(help="Completions to print that each training sampled last.")] = 0,
) -> None:
    """List what killed or running stages have kept under .work, and remove what is of no more use."""
    import pyarrow.parquet as pq

    from smolmath.running import work
    from smolmath.training.phase.samples import as_text

    if fingerprint and not clean:
        fail("name a state only with --clean, which removes it.")
    found = work.states(read_params())
    removed = work.clean(found, fingerprints=fingerprint or []) if clean else []
    if not found:
        print("no stage has left anything under .work.")
    table = Table("stage", "fingerprint", "step", "MB", "last written", "", box=None)
    for state in found:
        status = "removed" if state in removed else state.status
        step = "" if state.step is None else str(state.step)
        table.add_row(
            state.stage, state.fingerprint, step, f"{state.megabytes:.1f}", f"{state.changed:%Y-%m-%d %H:%M}", status
        )
    if found:
        console.print(table)
    for state in found if show else []:
        if state not in removed and (path := work.newest_samples(state)):
            print(f"\n{path}\n{as_text(pq.read_table(path).slice(0, show).to_pylist())}")
