"""`smolmath report`: one page of what the pipeline has written."""

from pathlib import Path
from typing import Annotated

import typer


def report(out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("reports")) -> None:
    """Render reports/index.html from what the pipeline has written."""
    from smolmath.studies.report.page import write_report

    page = write_report(out)
    print(f"wrote {page}")
