"""`smolmath recipe`: complete params files, to list, compare and use."""

from typing import Annotated

import typer
from rich.table import Table

from smolmath.commands import console
from smolmath.params.core import read_params

app = typer.Typer(help="Complete params files: list them, compare them, put one in place.", no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """The recipes there are."""
    from smolmath.running.recipes import recipes

    table = Table("recipe", "what it is", box=None)
    for name, purpose in recipes().items():
        table.add_row(name, purpose)
    console.print(table)


@app.command("diff")
def show_differences(name: str) -> None:
    """What `recipe use NAME` would change in params.yaml."""
    from smolmath.running.recipes import differences, recipe_path

    _print_changes(differences(read_params(), read_params(recipe_path(name))))


@app.command("use")
def use(
    name: str,
    prune: Annotated[bool, typer.Option(help="And `smolmath prune`: what the new params no longer name.")] = False,
) -> None:
    """Put a recipe in place of params.yaml."""
    from smolmath.running import leftovers
    from smolmath.running.recipes import use_recipe

    _print_changes(use_recipe(name))
    params = read_params()
    if left := leftovers.prune(params) if prune else leftovers.leftovers(params):
        print(f"{'Removed' if prune else 'Left over from before (smolmath prune removes it)'}: {left}")


def _print_changes(changes: list[tuple[str, str, str]]) -> None:
    if not changes:
        print("params.yaml already holds these values.")
        return
    for key, old, new in changes:  # a line each: a table would cut long keys where the terminal is narrow
        print(f"{key}: {old} → {new}")
