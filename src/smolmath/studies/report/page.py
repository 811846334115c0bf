"""The page: what was collected and drawn, through the template, into one self-contained file."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from smolmath.running.journal import write_whole
from smolmath.studies.comparing.compare import MEASURES
from smolmath.studies.formulas import formulas_script
from smolmath.studies.report.collect import Report, StageFacts, collect
from smolmath.studies.report.completions import packed
from smolmath.studies.report.findings import average_change, change, findings
from smolmath.studies.report.panels import panels, smoothing_note
from smolmath.studies.report.plots import Plot, draw_panel, draw_pass_at_k, draw_retention
from smolmath.studies.results import Evaluation
from smolmath.studies.wording import METHODS, duration, p_text, percent, repro, signed, visible

TEMPLATE = "index.html.j2"
# Journal keys with a column of their own or a table of their own; the rest of an entry's plain values are its notes.
JOURNAL_COLUMNS = {"stage", "fingerprint", "seconds", "peak_memory_mb", "energy_wh", "machine", "packages"}


@dataclass(frozen=True)
class PhaseCurves:
    """A phase's small multiples; `problem` says what is missing, else it is empty."""

    name: str
    title: str
    note: str
    plots: list[Plot]
    problem: str


def write_report(out: Path = Path("reports")) -> Path:
    """Render the report of the working directory into `out`/index.html and `out`/plots; returns the page's path.

    Plots of an earlier report are removed: another recipe's would be taken for this one's.

    Raises: ParamsError, RecordsError or ReportError naming the file that cannot be read.
    """
    report = collect()
    retention = draw_retention(report)
    curves = [_phase_curves(report, name) for name in report.phases]
    passes = [plot for dataset in report.datasets if (plot := draw_pass_at_k(report, dataset))]
    html = render(report, retention, passes, curves)
    folder = out / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.svg"), *folder.glob("*.png")]:
        old.unlink()
    for plot in [*([retention] if retention else []), *passes, *(plot for phase in curves for plot in phase.plots)]:
        plot.write(folder)
    write_whole(out / "index.html", html)
    return out / "index.html"


def render(report: Report, retention: Plot | None, passes: list[Plot], curves: list[PhaseCurves]) -> str:
    """The page's HTML. Everything but the plots, which we drew, is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
    )
    environment.filters |= {"percent": percent, "signed": signed, "duration": duration, "thousands": "{:,}".format}
    environment.filters |= {"p_text": p_text, "coded": coded}
    completions = packed(report.browsed, report.tags)
    return environment.get_template(TEMPLATE).render(
        report=report,
        findings=findings(report),
        retention=retention,
        passes=passes,
        curves=curves,
        interval=interval,
        measured=measured,
        against=report.against,
        measures=MEASURES,
        breakdowns=[found for dataset in report.datasets for found in breakdowns(report, dataset)],
        change=partial(change, report, measure="accuracy"),
        average_change=partial(average_change, report),
        completions=completions.text if any(one.models for one in report.browsed) else "",
        formulas=Markup(formulas_script()) if completions.formulas else "",
        energy=sum(stage.entry.get("energy_wh") or 0 for stage in report.stages if stage.entry),
        machines=facts_by_value(report.stages, "machine"),
        packages=facts_by_value(report.stages, "packages"),
        notes=notes,
        repro=repro,
        total_s=sum(stage.entry.get("seconds", 0) for stage in report.stages if stage.entry),
    )


@dataclass(frozen=True)
class Breakdown:
    """One dataset's evaluations in parts: part -> a cell for each of `models`, None where it has no such problem."""

    title: str
    head: str  # what the parts are
    value: str  # key of a cell
    models: list[str]
    rows: dict[str, list[dict[str, Any] | None]]


def breakdowns(report: Report, dataset: str) -> list[Breakdown]:
    """By source and level, where a dataset has several; and how often majorities are right, where it was sampled."""
    found: dict[str, Evaluation] = {
        model: evaluation for model in report.models if (evaluation := report.evaluations[model, dataset])
    }
    of_lists = (
        (f"{dataset} by source", "source", "accuracy", {model: e.sources for model, e in found.items()}),
        (f"{dataset} by level", "level", "accuracy", {model: e.levels for model, e in found.items()}),
        (f"{dataset} by majority", "up_to", "maj_at_k", {model: e.calibration for model, e in found.items()}),
    )
    return [_breakdown(*one) for one in of_lists if any(one[-1].values())]


def _breakdown(title: str, part: str, value: str, lists: dict[str, list[dict[str, Any]]]) -> Breakdown:
    cells = {model: {cell[part]: cell for cell in cells} for model, cells in lists.items() if cells}
    known = dict.fromkeys(name for of_model in cells.values() for name in of_model)
    names = sorted(known) if part == "up_to" else known
    head = "majority has up to" if part == "up_to" else part
    shown = {name: f"{100 * name:.0f}\N{NO-BREAK SPACE}%" if part == "up_to" else str(name) for name in names}
    return Breakdown(title, head, value, list(cells), {shown[n]: [c.get(n) for c in cells.values()] for n in names})


def coded(text: str) -> Markup:
    """coded("run `dvc repro`") -> "run <code>dvc repro</code>"; whatever else is in it stays text."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def measured(report: Report, dataset: str) -> str:
    """256 problems, k = 4: what the models were evaluated on; where they differ, each number."""
    found = [evaluation for model in report.models if (evaluation := report.evaluations[model, dataset])]
    problems = " or ".join(f"{n:,}" for n in dict.fromkeys(one.n for one in found))
    k = " or ".join(str(k) for k in dict.fromkeys(one.k for one in found) if k)
    return f"{problems} problems{f', k = {k}' if k else ''}" if found else ""


def interval(low: float, high: float) -> str:
    """interval(0.694, 0.799) -> "69.4–79.9"."""
    return f"{100 * low:.1f}–{100 * high:.1f}"


def facts_by_value(stages: Iterable[StageFacts], section: str) -> dict[str, dict[str, list[str]]]:
    """Fact -> its value as text -> the stages that ran with it: one value, unless stages ran on different boxes."""
    found: dict[str, dict[str, list[str]]] = {}
    for stage in stages:
        for name, value in ((stage.entry or {}).get(section) or {}).items():
            if value is not None:
                found.setdefault(name.replace("_", " "), {}).setdefault(str(value), []).append(stage.stage)
    return found


def notes(entry: dict[str, Any]) -> list[str]:
    """What a stage wrote into its journal beside time and machine; no zeros (not resumed), no settings in bulk."""
    return [
        f"{name.replace('_', ' ')} {value}"
        for name, value in entry.items()
        if name not in JOURNAL_COLUMNS and isinstance(value, str | int | float) and value != 0
    ]


def _phase_curves(report: Report, name: str) -> PhaseCurves:
    phase, curve = report.phases[name], report.curves[name]
    title = f"{name}: {METHODS[phase.method]} on {phase.dataset}, from {phase.init}"
    if curve is None:
        return PhaseCurves(name, title, "", [], f"Not trained yet: run `{repro(f'train@{name}')}`.")
    drawn = [draw_panel(name, panel) for panel in panels(phase, curve, _validation_problems(report, name))]
    if not drawn:
        return PhaseCurves(
            name, title, "", [], f"metrics/train/{name}.csv holds no steps: run `{repro(f'train@{name}')}`."
        )
    return PhaseCurves(name, title, smoothing_note(len(curve.steps)), drawn, "")


def _validation_problems(report: Report, name: str) -> int | None:
    """How many problems each validation accuracy was measured on: what the phase asks for, if the side has as many."""
    phase = report.phases[name]
    sides = next((rows.sides for rows in report.data if rows.dataset == phase.dataset), None)
    if phase.validation is None or sides is None:
        return None
    return min(phase.validation.problems, sides["validation"])
