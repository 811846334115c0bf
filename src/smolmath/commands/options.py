"""Options that several commands have, each in one place."""

from typing import Annotated

import typer

Model = Annotated[
    str | None, typer.Option(help="A phase, base, a directory or a hub id; the last trained phase if not named.")
]
Host = Annotated[
    str, typer.Option(help="127.0.0.1 is this machine alone; 0.0.0.0 opens it to every network that it is in.")
]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Of a completion; evaluation's if not named.")]
AdapterOnly = Annotated[
    bool, typer.Option("--adapter-only", help="Of a LoRA phase: the adapter without the model it is put on.")
]
AdapterBase = Annotated[
    str | None, typer.Option(help="With --adapter-only: where the model that it is put on is found.")
]
License = Annotated[
    str | None, typer.Option(help="The model's licence, e.g. apache-2.0; the base's, if known, if not named.")
]
