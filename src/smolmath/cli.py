"""The command line `smolmath`. Commands import what they need when they run: `smolmath check` must not load torch."""

from importlib.metadata import version
from typing import Annotated

import typer

from smolmath.commands import (
    Commands,
    agent,
    chat,
    check,
    compare,
    export,
    grade,
    inspect,
    page,
    prune,
    push,
    recipe,
    report,
    serve,
    solve,
    synthesize,
    tune,
    verify,
    work,
)

app = typer.Typer(
    cls=Commands,
    help="Turn a small language model into a math reasoner, reproducibly.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold tokens
)
for command in (
    check.check, report.report, compare.compare, grade.grade, inspect.inspect, verify.verify, prune.prune, work.work,
    tune.tune, solve.solve, chat.chat, synthesize.synthesize, agent.agent, serve.serve, page.page, export.export,
    push.push,
):  # fmt: skip
    app.command()(command)
app.add_typer(recipe.app, name="recipe")


def print_version(asked: bool) -> None:
    if asked:
        print(f"smolmath {version('smolmath')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    app()
