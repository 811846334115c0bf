"""The commands that use a trained model, a file each; smolmath.cli gathers them with those of the pipeline."""

import sys
from typing import NoReturn

import typer
from rich.console import Console

console = Console()


def interrupted(told: str = "\ninterrupted.") -> NoReturn:
    """The end after Ctrl-C, with the code that shells expect."""
    print(told, file=sys.stderr)
    raise typer.Exit(130)


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(1)
