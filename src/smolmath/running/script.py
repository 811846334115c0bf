"""A stage's script: dvc.yaml says each of its arguments by name.

def main(dataset: Word, out: Place) -> None: ...

if __name__ == "__main__":
    run_script(main)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Word = Annotated[str, typer.Option()]
Place = Annotated[Path, typer.Option()]


def run_script(main: Callable[..., None]) -> None:
    """Call `main` with the command line's options, one for each of its arguments, and exit."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(help=main.__globals__["__doc__"])(main)
    app()
