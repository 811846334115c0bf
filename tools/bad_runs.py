"""Real runs that go wrong, and their pictures, for docs/reading-a-run.md.

    python tools/bad_runs.py              # every run, one after the other: a minute or two each on two idle cores
    python tools/bad_runs.py rate constant --steps 10  # some of them, as the page has them
    python tools/bad_runs.py good         # the demo's own curve, metrics/train/sums.csv, as it is now
    python tools/bad_runs.py --draw       # the pictures alone, from the curves in docs/runs

A run is the demo's GRPO phase with one mistake, by `dvc repro` in a scratch copy of the project. Its curve goes into
docs/runs/NAME.csv, pictures of it (drawn by the report's code) into docs/images/run-NAME-PANEL.svg. The page's numbers
are made of the same curves, by `python -m tests.pages`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))  # this checkout's smolmath, whatever is installed

from smolmath.params.phases import load_phase_params  # noqa: E402 (the path above comes first)
from smolmath.studies.report.collect import read_curve  # noqa: E402
from smolmath.studies.report.panels import panels  # noqa: E402
from smolmath.studies.report.plots import draw_panel  # noqa: E402

CURVES, IMAGES = ROOT / "docs" / "runs", ROOT / "docs" / "images"
STEPS = 20


def rate(phase: dict[str, Any]) -> None:
    """A learning rate a hundred times too high."""
    phase["grpo"]["learning_rate"] *= 100


def constant(phase: dict[str, Any]) -> None:
    """A reward that every completion of this model earns."""
    phase["rewards"] = {"integer": 1.0, "correctness": 0.0}


def short(phase: dict[str, Any]) -> None:
    """A limit that cuts worked answers off and lets the others through."""
    phase["grpo"]["max_completion_length"] = 12


MISTAKES = {run.__name__: run for run in (rate, constant, short)}
# Which of the report's panels the page shows of each.
SHOWN = {
    "good": ("reward", "tokens", "entropy"),
    "rate": ("reward", "shares", "entropy"),
    "constant": ("reward", "validation", "shares"),
    "short": ("reward", "validation", "shares"),
}


def main(names: list[str], steps: int, draw: bool, curves: Path, images: Path) -> None:
    if not draw:
        with tempfile.TemporaryDirectory(prefix="smolmath-runs-") as scratch:
            for name in names:
                place = ROOT
                if name in MISTAKES:
                    print(f"{name}: {MISTAKES[name].__doc__}", flush=True)
                    place = Path(scratch, name)
                    train(place, params_of(name, steps), Path(scratch, "cache"))
                curves.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(place / "metrics" / "train" / "sums.csv", curves / f"{name}.csv")
    images.mkdir(parents=True, exist_ok=True)
    for name in names:
        draw_run(name, steps, curves, images)


def params_of(name: str, steps: int = STEPS) -> dict[str, Any]:
    """The demo's params with its GRPO phase alone; of a bad run with the mistake, and looked at every five steps."""
    params = YAML(typ="safe", pure=True).load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    params["datasets"] = {"sums": params["datasets"]["sums"]}
    params["phases"] = {"sums": params["phases"]["sums"]}
    params["evaluate"] |= {"models": ["base", "sums"], "datasets": ["sums"]}
    if name in MISTAKES:
        phase = params["phases"]["sums"]
        phase["grpo"]["max_steps"] = steps
        phase["validation"]["every_steps"] = 5
        phase["preflight"] = "warn"  # it would stop some of them, rightly
        MISTAKES[name](phase)
    return dict(params)


def train(folder: Path, params: dict[str, Any], cache: Path) -> None:
    """The phase, in a scratch copy of the project; Git stays out of it."""
    folder.mkdir()
    for name in ("dvc.yaml", "stages", "src", "bases", ".dvcignore"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment = kept | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}
    for arguments in (["init", "--no-scm", "-q"], ["cache", "dir", "-q", str(cache)], ["repro", "-q", "train@sums"]):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, check=True)


def draw_run(name: str, steps: int, curves: Path, images: Path) -> None:
    params = params_of(name, steps)
    curve = read_curve(curves / f"{name}.csv")
    drawn = panels(load_phase_params(params, "sums"), curve, params["phases"]["sums"]["validation"]["problems"])
    for panel in chosen(drawn, SHOWN[name]):
        (images / f"run-{name}-{panel.name}.svg").write_bytes(draw_panel(name, panel).svg_file)


def chosen(drawn: Iterable[Any], names: Iterable[str]) -> list[Any]:
    by_name = {panel.name: panel for panel in drawn}
    return [by_name[name] for name in names]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SHOWN), help=f"of {', '.join(SHOWN)}; all if none")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--draw", action="store_true", help="from the curves that are there")
    parser.add_argument("--curves", type=Path, default=CURVES)
    parser.add_argument("--images", type=Path, default=IMAGES)
    main(**vars(parser.parse_args()))
