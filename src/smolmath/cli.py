"""The command line `smolmath`. Commands import what they need when they run: `smolmath check` must not load torch."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from smolmath.commands import agent, chat, console, export, fail, join, page, push, serve, solve, synthesize
from smolmath.errors import SmolmathError
from smolmath.params.core import ParamsError, read_params
from smolmath.running.workers import available_cores
from smolmath.tags import DEFAULT_TAGS, Tags

app = typer.Typer(
    help="Turn a small language model into a math reasoner, reproducibly.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold tokens
)
recipe_app = typer.Typer(
    help="Complete params files: list them, compare them, put one in place.", no_args_is_help=True
)
app.add_typer(recipe_app, name="recipe")


@app.command()
def check() -> None:
    """Say everything that is wrong with params.yaml, also what DVC itself cannot parse."""
    from smolmath.running.check import check_params

    try:
        mistakes = check_params(read_params())
    except ParamsError as error:
        mistakes = str(error).splitlines()
    if mistakes:
        fail("params.yaml:\n  " + "\n  ".join(mistakes))
    print("params.yaml is sound.")


@app.command()
def report(out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("reports")) -> None:
    """Render reports/index.html from what the pipeline has written."""
    from smolmath.studies.report.page import write_report

    try:
        page = write_report(out)
    except SmolmathError as error:
        fail(str(error))
    print(f"wrote {page}")


@app.command()
def compare(
    a: Annotated[str | None, typer.Argument(metavar="A", help="REVISION, REVISION:MODEL or :MODEL.")] = None,
    b: Annotated[
        list[str] | None, typer.Argument(metavar="B...", help="Likewise; several are ranked; or the workspace.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only these models.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only these datasets.")] = None,
    flips: Annotated[int, typer.Option(min=0, help="Flipped problems to print of each model and dataset.")] = 0,
    common: Annotated[bool, typer.Option("--common", help="Where the problems differ, use the common ones.")] = False,
    power: Annotated[float | None, typer.Option(min=0.01, help="Points: how many problems show them?")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for a program.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A table for a pull request.")] = False,
) -> None:
    """Compare results problem by problem: commits, branches, tags, DVC experiments, `workspace`, or two models.

    smolmath compare main                  the workspace against a branch
    smolmath compare HEAD~3 exp-4a1c       an experiment against a commit
    smolmath compare main exp-1 exp-2      several experiments, ranked
    smolmath compare :base :sums           two models of the workspace
    smolmath compare --power 2.0           how many problems it takes to see two points
    """
    from smolmath.studies.comparing import command

    if a is None and power is None:
        fail("name what to compare: smolmath compare A [B], or --power POINTS alone.")
    try:
        command.run(
            console, a, b or ["workspace"], models=model or [], datasets=dataset or [], flips=flips, common=common,
            power=power, as_json=as_json, as_markdown=as_markdown,
        )  # fmt: skip
    except SmolmathError as error:
        fail(str(error))


@app.command()
def grade(
    file: Annotated[Path, typer.Argument(help="A .jsonl, .parquet or .csv of completions and references.")],
    out: Annotated[Path | None, typer.Option(help="Where the verdicts go; FILE.graded.jsonl if not named.")] = None,
    completion: Annotated[str | None, typer.Option(help="Column of the completions.")] = None,
    reference: Annotated[str | None, typer.Option(help="Column of the reference answers.")] = None,
    label: Annotated[str | None, typer.Option(help="Column that says which are right, for a confusion table.")] = None,
    finished: Annotated[str | None, typer.Option(help="Column that says which were not cut off.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = available_cores(),
    reasoning_tag: str = DEFAULT_TAGS.reasoning,
    answer_tag: str = DEFAULT_TAGS.answer,
) -> None:
    """Grade a file of completions: the predicted answer, how it was found, and whether it is right."""
    from smolmath.commands.grading import grade_file, summary_tables

    out = out or file.with_name(f"{file.name}.graded.jsonl")
    columns = {"completion": completion, "reference": reference, "label": label, "finished": finished}
    try:
        summary = grade_file(file, out, columns=columns, workers=workers, tags=Tags(reasoning_tag, answer_tag))
    except (SmolmathError, OSError) as error:
        fail(str(error))
    for table in summary_tables(summary):
        console.print(table, "")
    for line in summary.unreadable[:5]:
        print(f"not graded: {line}")
    if len(summary.unreadable) > 5:
        print(f"not graded: {len(summary.unreadable) - 5} more rows")
    print(f"wrote {out}")


@app.command()
def inspect(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A result, a data file or folder, or a hub id.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to look at.")] = 2000,
    config: Annotated[str | None, typer.Option(help="Of a hub dataset that has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A result's whole trail, for a program.")] = False,
) -> None:
    """Look at a result's trail, or at a dataset before it is named in params.yaml.

    smolmath inspect models/legs           commit, params, data, stages, machine and packages behind a result
    smolmath inspect rows.jsonl            a dataset's columns, three rows, layout, how many answers can be verified
    """
    from smolmath.commands.inspection import inspect_dataset, inspection_tables
    from smolmath.running.lockfile import workspace_lock
    from smolmath.studies.provenance import show
    from smolmath.studies.provenance.trail import is_place_of_results, producer, trail

    try:
        lock = workspace_lock()
        dataset = target.startswith("data/") and producer(lock, Path(target).as_posix()) is not None
        if as_json or (is_place_of_results(lock, target) and not dataset):
            found = trail(target)
            if as_json:
                print(json.dumps(show.as_json(found), indent=1, ensure_ascii=False))
                return
            parts = show.trail_parts(found)
        else:
            parts = inspection_tables(inspect_dataset(target, rows, config))
    except SmolmathError as error:
        fail(str(error))
    for part in parts:
        console.print(part, markup=False, highlight=False)


@app.command()
def verify(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Results; every one that dvc.lock records if not named.")
    ] = None,
) -> None:
    """Recompute hashes: are results what dvc.lock says, made from what it says? Exit code 1 if not, or not to be said.

    smolmath verify                        everything that is here
    smolmath verify models/legs            a model and all that it hangs on
    """
    from smolmath.studies.provenance import show
    from smolmath.studies.provenance.verify import verify

    try:
        findings = verify(paths or [], read_params())
    except SmolmathError as error:
        fail(str(error))
    bad = [finding for finding in findings if finding.status in ("wrong", "missing")]
    shown = findings if paths else [finding for finding in findings if finding.status != "ok"]
    for part in show.findings_parts(shown) if shown else []:
        console.print(part, markup=False, highlight=False)
    right = sum(finding.status == "ok" for finding in findings)
    if bad:
        fail(f"{len(bad)} things are wrong or cannot be said; {right} results are what dvc.lock records.")
    print(f"{right} results are what dvc.lock records.")


@app.command()
def work(
    clean: Annotated[bool, typer.Option("--clean", help="Remove states of other inputs than today's.")] = False,
    fingerprint: Annotated[list[str] | None, typer.Argument(help="With --clean: remove these states.")] = None,
    show: Annotated[int, typer.Option(help="Completions to print that each training sampled last.")] = 0,
) -> None:
    """List what killed or running stages have kept under .work, and remove what is of no more use."""
    import pyarrow.parquet as pq

    from smolmath.running import work
    from smolmath.training.phase.samples import as_text

    if fingerprint and not clean:
        fail("name a state only with --clean, which removes it.")
    try:
        found = work.states(read_params())
        removed = work.clean(found, fingerprints=fingerprint or []) if clean else []
    except SmolmathError as error:
        fail(str(error))
    if not found:
        print("no stage has left anything under .work.")
    table = Table("stage", "fingerprint", "step", "MB", "last written", "", box=None)
    for state in found:
        status = "removed" if state in removed else state.status
        step = "" if state.step is None else str(state.step)
        table.add_row(
            state.stage, state.fingerprint, step, f"{state.megabytes:.1f}", f"{state.changed:%Y-%m-%d %H:%M}", status
        )
    if found:
        console.print(table)
    for state in found if show else []:
        if state not in removed and (path := work.newest_samples(state)):
            print(f"\n{path}\n{as_text(pq.read_table(path).slice(0, show).to_pylist())}")


@app.command()
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

    try:
        params = read_params()
        asked = {key: value for key, value in (("trials", trials), ("jobs", jobs)) if value is not None}
        wanted = read_search(search, params).model_copy(update=asked)
        with open_tuning(name or search.stem, wanted, params, say) as tuning:
            try:
                tuning.run()
            except KeyboardInterrupt:
                print("\ninterrupted: what is queued goes on; the same command takes it up again.")
            for part in study_parts(tuning):
                console.print(part, markup=False, highlight=False)
    except SmolmathError as error:
        fail(str(error))


@recipe_app.command("list")
def recipe_list() -> None:
    """The recipes there are."""
    from smolmath.running.recipes import recipes

    table = Table("recipe", "what it is", box=None)
    for name, purpose in recipes().items():
        table.add_row(name, purpose)
    console.print(table)


@recipe_app.command("diff")
def recipe_diff(name: str) -> None:
    """What `recipe use NAME` would change in params.yaml."""
    from smolmath.running.recipes import differences, recipe_path

    try:
        _print_changes(differences(read_params(), read_params(recipe_path(name))))
    except ParamsError as error:
        fail(str(error))


@recipe_app.command("use")
def recipe_use(
    name: str,
    prune: Annotated[
        bool, typer.Option(help="Remove what the new params no longer name, dvc.lock entries too.")
    ] = False,
) -> None:
    """Put a recipe in place of params.yaml."""
    from smolmath.running import recipes

    try:
        _print_changes(recipes.use_recipe(name))
        params = read_params()
        left = recipes.prune(params) if prune else recipes.leftovers(params)
    except ParamsError as error:
        fail(str(error))
    if left:
        outs = sorted(out for outs in left.values() for out in outs)
        done = "Removed" if prune else f"Left over from before (smolmath recipe use {name} --prune removes them)"
        print(f"{done}: {len(left)} stages of dvc.lock, {', '.join(outs)}")


def _print_changes(changes: list[tuple[str, str, str]]) -> None:
    if not changes:
        print("params.yaml already holds these values.")
        return
    for key, old, new in changes:  # a line each: a table would cut long keys where the terminal is narrow
        print(f"{key}: {old} → {new}")


app.command()(solve.solve)
app.command()(chat.chat)
app.command()(synthesize.synthesize)
app.command()(agent.agent)
app.command()(serve.serve)
app.command()(page.page)
app.command()(export.export)
app.command()(push.push)
app.command()(join.join)

if __name__ == "__main__":
    app()
