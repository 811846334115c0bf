"""Plots as SVG, for light and dark pages, and as PNG. Matplotlib's object-oriented API only: no state between plots.

Text, axes and grid are drawn in `INK` and become CSS `currentColor` in the SVG, so that they follow the page; series
colours were chosen to stand at 3 : 1 or more against both white and near-black, and to differ for colour-blind eyes.
The same input gives the same bytes.
"""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from smolmath.studies.report.collect import Report
from smolmath.studies.report.findings import change, score
from smolmath.studies.report.panels import Line, Panel

INK = "#010203"  # no plot uses it otherwise, so it can be found in the SVG
INK_PNG = "#24292f"  # on white
COLOURS = ("#2f7fd8", "#d9730d", "#1a9e77", "#c2528b", "#7a6fd0", "#8a8578")
INCHES = (3.7, 2.7)
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: readable by machines, drawn in the page's font
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.alpha": 0.15,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
}
LEAST_SHARE = 10  # percentage points that an axis spans: thousandths of a flat line are no news
LEGEND_COLUMNS = 2
LEGEND_ROW_INCHES = 0.2
LEGEND = {"borderpad": 0.2, "borderaxespad": 0.2, "handlelength": 1, "handletextpad": 0.4, "columnspacing": 1}
INKED = (
    "text.color",
    "axes.edgecolor",
    "axes.labelcolor",
    "axes.titlecolor",
    "grid.color",
    "xtick.color",
    "ytick.color",
)
Draw = Callable[[Any, str], None]  # onto these axes, in this ink
# For the SVG opened by itself; in the page it takes the page's colour.
STANDALONE = "<style>:root{color:#24292f}@media(prefers-color-scheme:dark){:root{color:#e6e8eb}}</style>"


@dataclass(frozen=True)
class Plot:
    """A drawn figure. `svg` is for the page: no XML header, no namespaces, ids of its own."""

    name: str
    title: str
    caption: str
    svg: str
    svg_file: bytes
    png: bytes

    def write(self, folder: Path) -> None:
        (folder / f"{self.name}.svg").write_bytes(self.svg_file)
        (folder / f"{self.name}.png").write_bytes(self.png)


def draw_panel(phase: str, panel: Panel) -> Plot:
    """One small line plot over the steps: raw values light, smoothed ones strong."""
    size = (INCHES[0], INCHES[1] + LEGEND_ROW_INCHES * max(0, _legend_rows(panel) - 1))
    return _plot(
        f"train-{phase}-{panel.name}", f"{phase}: {panel.title}", panel.caption, partial(_draw_lines, panel), size
    )


def draw_retention(report: Report) -> Plot | None:
    """Models × datasets, accuracy and its change against the model's init; None if nothing was evaluated."""
    if not any(report.evaluations.values()):
        return None
    kinds = {found.kind for found in map(score, report.evaluations.values()) if found}
    title = f"{' or '.join(sorted(kinds, reverse=True)).capitalize()}, %"
    size = (0.3 + 0.08 * max(map(len, report.models)) + 1.75 * len(report.datasets), 0.6 + 0.72 * len(report.models))
    return _plot("retention", title, "", partial(_draw_heat_map, report), size)


def draw_pass_at_k(report: Report, dataset: str) -> Plot | None:
    """pass@k of every model over k, with its 95 % interval; None where no model has two samples or more."""
    curves = {model: found.pass_at_k for model in report.models if (found := report.evaluations[model, dataset])}
    curves = {model: points for model, points in curves.items() if len(points) > 1}
    if not curves:
        return None
    return _plot(f"pass-at-k-{dataset}", f"pass@k on {dataset}", "", partial(_draw_pass_at_k, dataset, curves), INCHES)


def _draw_pass_at_k(dataset: str, curves: dict[str, list[dict[str, float]]], axes: Any, ink: str) -> None:
    for (model, points), colour in zip(curves.items(), itertools.cycle(COLOURS), strict=False):
        ks = [point["k"] for point in points]
        value, low, high = (
            [100 * p[name] for p in points] for name in ("pass_at_k", "pass_at_k_low", "pass_at_k_high")
        )
        axes.fill_between(ks, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(ks, value, color=colour, label=model, linewidth=1.8, marker="o", markersize=3.5)
    _in_percent(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("k")
    axes.set_ylabel("problems solved")
    axes.set_title(f"pass@k on {dataset}", pad=8 + 15 * math.ceil(len(curves) / 3))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, labelcolor=ink, **LEGEND)


def _draw_lines(panel: Panel, axes: Any, ink: str) -> None:
    colours = itertools.cycle(COLOURS)
    for line in panel.lines:
        _draw_line(axes, panel, line, ink if line.total else next(colours))
    if panel.share:
        _in_percent(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # 100 % is among them
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlim(0, max(panel.steps))
    axes.set_xlabel("step")
    axes.set_ylabel(panel.unit)
    rows = _legend_rows(panel)
    axes.set_title(panel.title, pad=8 + 15 * rows)
    if rows:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=LEGEND_COLUMNS, labelcolor=ink, **LEGEND)


def _in_percent(axes: Any) -> None:
    """An axis that ends at 0 and 100 %; lines along its ends are drawn in their whole width."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    low, high = axes.get_ylim()
    spare = max(0.0, LEAST_SHARE - (high - low)) / 2
    high = min(high + spare, 100)
    low = max(min(low - spare, high - LEAST_SHARE), 0)
    axes.set_ylim(low, max(high, low + LEAST_SHARE))
    for line in axes.lines:
        line.set_clip_on(False)


def _draw_line(axes: Any, panel: Panel, line: Line, colour: str) -> None:
    scale = 100 if panel.share else 1
    measured = [i for i, value in enumerate(line.values) if value is not None]
    steps = [panel.steps[i] for i in measured]
    raw = [scale * value for value in line.values if value is not None]
    smooth = [scale * value for value in line.smooth if value is not None]
    if line.errors:
        errors = [scale * line.errors[i] for i in measured]
        most = scale if panel.share else math.inf
        low = [max(value - error, 0.0) for value, error in zip(raw, errors, strict=True)]
        high = [min(value + error, most) for value, error in zip(raw, errors, strict=True)]
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    if smooth:
        axes.plot(steps, raw, color=colour, alpha=0.45, linewidth=0.9)
    marker = "o" if len(raw) <= 30 and not smooth else None
    axes.plot(steps, smooth or raw, color=colour, label=line.label, linewidth=1.8, marker=marker, markersize=3.5)


def _draw_heat_map(report: Report, axes: Any, ink: str) -> None:
    for row in range(len(report.models)):
        for column in range(len(report.datasets)):
            _draw_cell(report, axes, ink, row, column)
    axes.set_xlim(0, len(report.datasets))
    axes.set_ylim(len(report.models), 0)
    axes.set_xticks([i + 0.5 for i in range(len(report.datasets))], [f"on {name}" for name in report.datasets])
    axes.set_yticks([i + 0.5 for i in range(len(report.models))], report.models)
    axes.xaxis.tick_top()
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _draw_cell(report: Report, axes: Any, ink: str, row: int, column: int) -> None:
    model, dataset = report.models[row], report.datasets[column]
    found = score(report.evaluations[model, dataset])
    phase = report.phases.get(model)
    trained_on = phase is not None and phase.dataset == dataset
    # Depth of one colour over the page's own background: legible with the page's ink in light and in dark.
    colour = (*matplotlib.colors.to_rgb(COLOURS[0]), 0.04 + 0.5 * found.value if found else 0.0)
    edge = ink if trained_on else "none"
    axes.add_patch(Rectangle((column + 0.02, row + 0.04), 0.96, 0.92, facecolor=colour, edgecolor=edge, linewidth=1.4))
    style = {"ha": "center", "va": "center", "color": ink}
    middle = column + 0.5
    if found is None:
        axes.text(middle, row + 0.5, "not evaluated yet", fontsize=9, **style)
        return
    against = change(report, model, dataset)
    number = f"{100 * found.value:.1f} ± {100 * found.se:.1f}"
    axes.text(middle, row + (0.36 if against else 0.5), number, fontsize=12, fontweight="bold", **style)
    if against:
        words = f"{against.size} vs {report.init_of(model)}"
        axes.text(middle, row + 0.69, words if against.sure else f"{words}\nnot clear", fontsize=9, **style)


def _legend_rows(panel: Panel) -> int:
    return math.ceil(len(panel.lines) / LEGEND_COLUMNS) if len(panel.lines) > 1 else 0


def _plot(name: str, title: str, caption: str, draw: Draw, inches: tuple[float, float]) -> Plot:
    svg = _render(name, draw, inches, INK, "svg").decode()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", svg)  # figure_1, axes_1: in every plot, and referred to by none
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    opening = svg[: svg.index(">") + 1]
    inline = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", opening) + svg[len(opening) :]
    return Plot(
        name=name,
        title=title,
        caption=caption,
        svg=inline,
        svg_file=svg.replace(opening, opening + STANDALONE, 1).encode(),
        png=_render(name, draw, inches, INK_PNG, "png"),
    )


def _render(name: str, draw: Draw, inches: tuple[float, float], ink: str, kind: str) -> bytes:
    colours = dict.fromkeys(INKED, ink)
    settings = {**STYLE, **colours, "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=inches)
        FigureCanvasAgg(figure)
        draw(figure.add_subplot(), ink)
        buffer = BytesIO()
        if kind == "svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        else:
            figure.savefig(buffer, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
