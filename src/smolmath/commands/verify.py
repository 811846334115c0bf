"""`smolmath verify`: results against what dvc.lock records."""

from typing import Annotated

import typer

from smolmath.commands import fail, show
from smolmath.params.core import read_params


def verify(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Results; every one that dvc.lock records if not named.")
    ] = None,
) -> None:
    """Recompute hashes: are results what dvc.lock says, made from what it says? Exit code 1 if not, or not to be said.

    smolmath verify                        everything that is here
    smolmath verify models/legs            a model and all that it depends on
    """
    from smolmath.studies.provenance.show import findings_parts
    from smolmath.studies.provenance.verify import verify

    findings = verify(paths or [], read_params())
    bad = [finding for finding in findings if finding.status in ("wrong", "missing")]
    shown = findings if paths else [finding for finding in findings if finding.status != "ok"]
    show(findings_parts(shown) if shown else [])
    right = sum(finding.status == "ok" for finding in findings)
    if bad:
        fail(f"{len(bad)} things are wrong or cannot be said; {right} results are what dvc.lock records.")
    print(f"{right} results are what dvc.lock records.")
