"""Does the demo learn? GRPO from the shipped base with several seeds, on held-out problems, with standard errors.

    python benchmarks/learning.py                      # seeds 1 2 3, the table that stands in the README
    python benchmarks/learning.py --seeds 1 --steps 3 --problems 16   # a smoke run

Each seed is a scratch copy of the project with another `seed` and nothing else changed, run by DVC itself up to the
evaluation of the GRPO phase. "Before" is the model that the phase starts from, on the same problems.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
PHASE, DATASET = "sums", "sums"


def main(seeds: list[int], steps: int | None, problems: int | None) -> int:
    rows = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="smolmath-learning-") as folder:
            rows.append((seed, *run_seed(Path(folder), seed, steps, problems)))
    print(f"\nSampled accuracy at temperature 1 on {DATASET}, before and after GRPO (phase {PHASE})\n")
    print("| seed | problems | before | after | gain |")
    print("|---|---|---|---|---|")
    for seed, before, after in rows:
        gain = after["mean_at_k"] - before["mean_at_k"]
        # The two are independent draws on the same problems; pairing would only make this error smaller.
        error = (after["mean_at_k_se"] ** 2 + before["mean_at_k_se"] ** 2) ** 0.5
        print(
            f"| {seed} | {after['n']} × {after['k']} | {shown(before)} | {shown(after)} | {gain:+.3f} ± {error:.3f} |"
        )
    return 0


def run_seed(folder: Path, seed: int, steps: int | None, problems: int | None) -> tuple[dict, dict]:
    """The metrics of the model before and after the phase, from a scratch copy of the project under `folder`."""
    for name in ("dvc.yaml", "stages", "src", "bases", ".dvcignore"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    yaml = YAML()
    params = yaml.load((ROOT / "recipes" / "demo.yaml").read_text())
    params["seed"] = seed
    init = params["phases"][PHASE]["init"]
    params["evaluate"]["models"], params["evaluate"]["datasets"] = [init, PHASE], [DATASET]
    params["phases"] = {PHASE: params["phases"][PHASE]}
    if steps:
        params["phases"][PHASE]["grpo"]["max_steps"] = steps
    if problems:
        params["evaluate"]["sampling"]["problems"] = problems
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=folder, env=environment, check=True)
    print(f"seed {seed}: dvc repro", file=sys.stderr, flush=True)
    subprocess.run([*dvc, "repro", "-q"], cwd=folder, env=environment, check=True)
    before, after = (
        json.loads((folder / "metrics" / "eval" / model / f"{DATASET}.json").read_text()) for model in (init, PHASE)
    )
    return before, after


def shown(metrics: dict) -> str:
    return f"{metrics['mean_at_k']:.3f} ± {metrics['mean_at_k_se']:.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, help="GRPO steps instead of the demo's (for a smoke run)")
    parser.add_argument("--problems", type=int, help="test problems instead of the demo's (for a smoke run)")
    sys.exit(main(**vars(parser.parse_args())))
