"""The commands that use a trained model, a file each; smolmath.cli gathers them with those of the pipeline."""

import sys
from typing import NoReturn

import typer
from rich.console import Console

console = Console()


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(1)
