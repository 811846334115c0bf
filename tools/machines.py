"""The README's two commands on machines of other kinds: a fresh clone for each, and a table of what passed.

    make test-machines                  # every cell: about 8 minutes each on two idle cores
    make test-machines CELLS="3.13 busy"

A cell is a Python and some settings at once; where one fails, run it again with fewer. Pythons are taken from PATH
(python3.12), or from where PYTHONS names them: PYTHONS="3.12=/opt/python3.12/bin/python3".
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Cell:
    """A kind of machine."""

    python: str  # 3.12
    what: str
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "smolmath"  # that the clone lies in
    umask: int = 0o022
    without: tuple[str, ...] = ()  # programs that are not there
    hidden: bool = False  # in the background of a shell that is gone: no SIGINT, nothing to read from
    busy: int = 0  # processes that compute beside it
    demo: bool = False


CELLS = {
    "3.11": Cell("3.11", "python 3.11, as it is", demo=True),
    "3.12": Cell("3.12", "python 3.12, other projects on PYTHONPATH, no bytecode kept",
                 {"PYTHONPATH": "{decoys}", "PYTHONDONTWRITEBYTECODE": "1"}),
    "3.13": Cell("3.13", "python 3.13, a path with a space and ñ", folder="a ñ/smolmath", demo=True),
    "foreign": Cell("3.11", "LANG=C, TZ=Asia/Kathmandu, umask 077",
                    {"LANG": "C", "LC_ALL": "C", "TZ": "Asia/Kathmandu"}, umask=0o077),
    "bare": Cell("3.11", "nohup, no input, no Chromium", hidden=True,
                 without=("chromium", "chromium-browser", "google-chrome")),
    "busy": Cell("3.11", "load 6 beside it", busy=6),
}  # fmt: skip


def main(names: list[str]) -> int:
    """Run the cells, print the table; the number of those that failed."""
    if unknown := set(names) - set(CELLS):
        raise SystemExit(f"no cells: {', '.join(sorted(unknown))}. There are: {', '.join(CELLS)}.")
    rows, failed = [], 0
    for name in names or CELLS:
        cell = CELLS[name]
        if (python := python_of(cell.python)) is None:
            rows.append([name, cell.what, "", f"no python{cell.python} here", ""])
            continue
        with tempfile.TemporaryDirectory(prefix="smolmath-machine-") as scratch:
            demo, tests, seconds = run(cell, python, Path(scratch))
        failed += not (demo in ("", "passed") and re.fullmatch(r"\d+ passed(, \d+ skipped)?", tests))
        rows.append([name, cell.what, demo, tests, f"{seconds / 60:.0f}"])
        print(" · ".join(rows[-1]), file=sys.stderr, flush=True)
    for row in [["cell", "machine", "make demo", "make test", "minutes"], ["---"] * 5, *rows]:
        print(f"| {' | '.join(row)} |")
    return failed


def python_of(version: str) -> str | None:
    named = dict(pair.split("=", 1) for pair in os.environ.get("PYTHONS", "").split())
    return named.get(version) or shutil.which(f"python{version}")


def run(cell: Cell, python: str, scratch: Path) -> tuple[str, str, float]:
    """(how the demo ended, the tests' last line, seconds)."""
    clone = scratch / cell.folder
    clone.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    decoys = scratch / "decoys"
    (decoys / "smolmath").mkdir(parents=True)
    for name in ("smolmath/__init__.py", "datasets.py", "records.py", "typing_extensions.py"):
        (decoys / name).write_text("raise RuntimeError('of another project')\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment |= {name: value.format(decoys=decoys) for name, value in cell.environment.items()}
    if cell.without:
        environment["PATH"] = str(path_without(cell.without, scratch / "bin"))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cell.busy)]
    began = time.monotonic()
    try:
        demo = ""
        if cell.demo:
            demo = "passed" if make(cell, "demo", python, clone, environment)[0] == 0 else "failed"
        _, printed = make(cell, "test", python, clone, environment)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    last = re.findall(r"^(\d.*) in [\d.]+s", printed, re.MULTILINE)
    if not last or "failed" in last[-1] or "error" in last[-1]:
        print(printed[-20_000:], file=sys.stderr)
    return demo, last[-1] if last else "no tests ran", time.monotonic() - began


def make(cell: Cell, target: str, python: str, clone: Path, environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["make", target, f"PYTHON={python}"],
        cwd=clone,
        env=environment,
        umask=cell.umask,
        stdin=subprocess.DEVNULL if cell.hidden else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if cell.hidden else None,
    )
    return done.returncode, done.stdout


def path_without(programs: tuple[str, ...], folder: Path) -> Path:
    """A folder with a link to every program on PATH but these."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).glob("*") if Path(place).is_dir() else ():
            link = folder / program.name
            if program.name not in programs and not link.is_symlink():
                link.symlink_to(program)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
