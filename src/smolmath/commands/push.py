"""`smolmath push`: a model and its card to the Hugging Face hub."""

import sys
from typing import Annotated

import typer

from smolmath.commands import interruptible
from smolmath.commands.options import AdapterBase, AdapterOnly, License, Model


def push(
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="USER/NAME; made if it isn't there.")],
    model: Model = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files, bytes and card; send nothing.")] = False,
    adapter_only: AdapterOnly = False,
    base: AdapterBase = None,
    license: License = None,
    revision: Annotated[str | None, typer.Option(help="A branch to commit to instead of main.")] = None,
) -> None:
    """Publish a model on the Hugging Face hub: weights, tokenizer, chat template, and a card made of its trail.

    smolmath push USER/NAME --dry-run              every file with its bytes, and the card
    smolmath push USER/NAME --model sums           that phase

    Log in before: `hf auth login`, or HF_TOKEN.
    """
    with interruptible("the commit, which is sent last, was not made; the same command goes on"):
        from smolmath.params.core import read_params
        from smolmath.using.publishing import hub
        from smolmath.using.publishing.bundle import bundle
        from smolmath.using.publishing.show import files_in_words, warn
        from smolmath.using.solving.models import find_model

        hub.check_repo_id(repo_id)
        if base:
            hub.check_base(base)
        params = read_params()
        found = find_model(model, params)
        made = bundle(found, params, called=repo_id, adapter_only=adapter_only, base=base, licence=license)
        warn(made.warnings)
        print(files_in_words(made.files), flush=True)
        if dry_run:
            print(f"\n{made.card}\nnothing was sent: a push would put these files into {repo_id}.")
            return
        done = hub.push(
            repo_id,
            made.files,
            private=private,
            branch=revision,
            message=f"{found.name}, by smolmath push",
            say=lambda line: print(line, file=sys.stderr),
        )
    for name in done.removed:
        print(f"removed {name}, which an earlier push had left")
    print(f"{'pushed to' if done.changed else 'nothing has changed in'} {done.url} (commit {done.commit[:12]})")
