"""The command line, a file a command: what a person can mend becomes a line and an exit code in one place, here.

A command raises: a SmolmathError or an OSError for what a person must change. It does not catch Ctrl-C; what is left
after one is said by `interruptible`.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from smolmath.errors import SmolmathError

console = Console()


class Commands(TyperGroup):
    """The group of all commands, and where their errors end."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `… | head`, which typer ends quietly
            raise
        except SmolmathError as error:
            fail(str(error))
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error))
        except KeyboardInterrupt as stop:
            print("".join(["\ninterrupted", *(f": {word}" for word in stop.args), "."]), file=sys.stderr)
            raise typer.Exit(130) from None  # as shells expect


@contextmanager
def interruptible(left: str) -> Iterator[None]:
    """Say after Ctrl-C in the body what is left, without a full stop."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(left) from None


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    if root := root_above():
        print(f"Run it in the project's root: cd {root}", file=sys.stderr)
    raise typer.Exit(1)


def root_above() -> Path | None:
    """The root of the project that holds this folder, if it is not that root itself."""
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)
    return None if found == here else found


def show(parts: Iterable[Any], unbroken: type | tuple[()] = ()) -> None:
    """Print tables and lines as they are: what a dataset or a model holds is no markup.

    Args: unbroken: lines of this type are not broken at the terminal's width.
    """
    for part in parts:
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, unbroken))
