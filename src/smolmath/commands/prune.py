"""`smolmath prune`: what params.yaml no longer names."""

from typing import Annotated

import typer

from smolmath.params.core import read_params


def prune(dry: Annotated[bool, typer.Option("--dry", help="Only say what would go.")] = False) -> None:
    """Remove what params.yaml no longer names: entries of dvc.lock, results, metrics, the journal of no run.

    DVC's cache keeps the results, until `dvc gc`, and Git what was committed.
    """
    from smolmath.running import leftovers

    params = read_params()
    found = leftovers.leftovers(params) if dry else leftovers.prune(params)
    print(f"{'Would remove' if dry else 'Removed'}: {found}" if found else "Nothing is left over.")
