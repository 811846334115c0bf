"""What does the pipeline itself cost? A repro with nothing to do beside DVC's own, and the start-up of every stage.

    python benchmarks/overhead.py               # in a checkout where `make demo` has run
    python benchmarks/overhead.py --rounds 1    # a smoke run

The peer of the repro is a pipeline of as many stages that do nothing, in an empty folder, in turns with ours. A
stage's start-up is the time from `python stages/X.py` to its first line of work: the interpreter and its imports. What
stages that compute import only then, torch and TRL, stands beside it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from smolmath.params.core import read_params
from smolmath.running.graph import load_stages

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": ""}
LATER = {  # what a stage imports once it has its GPU
    "train": "import smolmath.kernels, smolmath.training.grpo.trainer, smolmath.training.phase.loop",
    "generate": "import smolmath.kernels, smolmath.engines.transformers",
    "difficulty": "import smolmath.kernels, smolmath.engines.transformers",
}


def main(options: argparse.Namespace) -> int:
    count = len(load_stages(read_params(ROOT / "params.yaml"), ROOT / "dvc.yaml"))
    if "up to date" not in dvc(ROOT, "status"):
        print("error: this checkout is not up to date: make demo", file=sys.stderr)
        return 1
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="smolmath-overhead-") as folder:
        empty = Path(folder)
        dvc(empty, "init", "--no-scm", "--quiet")
        stages = "".join(f"  stage{i}:\n    cmd: echo {i} > {i}.txt\n    outs: [{i}.txt]\n" for i in range(count))
        (empty / "dvc.yaml").write_text(f"stages:\n{stages}")
        dvc(empty, "repro", "--quiet")
        for _ in range(options.rounds):
            ours.append(seconds(lambda: dvc(ROOT, "repro")))
            theirs.append(seconds(lambda: dvc(empty, "repro")))
    print(f"\n`dvc repro` with nothing to do, {count} stages; medians of {options.rounds}\n")
    print("| pipeline | seconds | ratio |\n|---|---|---|")
    print(f"| empty | {median(theirs):.2f} | 1 |")
    print(f"| smolmath | {median(ours):.2f} | {median(ours) / median(theirs):.2f}× |")
    print("\n| stage script | start-up, s | with torch, s |\n|---|---|---|")
    for script in sorted((ROOT / "stages").glob("*.py")):
        begun = median(seconds(lambda s=script: python(str(s), "--help")) for _ in range(options.rounds))
        code = LATER.get(script.stem)
        full = median(seconds(lambda c=code: python("-c", c)) for _ in range(options.rounds)) if code else None
        print(f"| {script.stem} | {begun:.2f} | {'' if full is None else f'{full:.1f}'} |")
    return 0


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)


def seconds(action) -> float:  # type: ignore[no-untyped-def]  # any callable
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    sys.exit(main(parser.parse_args()))
