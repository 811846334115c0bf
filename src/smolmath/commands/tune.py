"""`smolmath tune`: a search for better values."""

from pathlib import Path
from typing import Annotated

import typer

from smolmath.commands import show
from smolmath.params.core import read_params


def tune(
    search: Annotated[Path, typer.Argument(metavar="SEARCH.yaml", help="What to try: see searches/.")],
    name: Annotated[str | None, typer.Option(help="Of study and experiments; the file's if not named.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Instead of the file's number.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Experiments at the same time.")] = None,
) -> None:
    """Search for better values: each trial is a DVC experiment, judged on the validation side. Goes on where it was.

    smolmath tune searches/demo.yaml
    smolmath tune searches/demo.yaml --trials 16 --jobs 2
    """
    from smolmath.studies.tuning.search import read_search
    from smolmath.studies.tuning.show import study_parts
    from smolmath.studies.tuning.study import open_tuning

    def say(line: str) -> None:
        print(line, flush=True)

    params = read_params()
    asked = {key: value for key, value in (("trials", trials), ("jobs", jobs)) if value is not None}
    wanted = read_search(search, params).model_copy(update=asked)
    with open_tuning(name or search.stem, wanted, params, say) as tuning:
        try:
            tuning.run()
        except KeyboardInterrupt:  # and the trials that have ended are shown
            print("\ninterrupted: what is queued goes on; the same command takes it up again.")
        show(study_parts(tuning), str)  # commands are to be copied
