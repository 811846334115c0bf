"""Does it learn? Every way of training with several seeds, on held-out problems, with standard errors and p values.

    python benchmarks/learning.py                                       # the first five variants, seeds 1 2 3
    python benchmarks/learning.py --variants lora --seeds 1             # some of them
    python benchmarks/learning.py --variants grpo resample fours fours-resample   # does redrawing flat groups pay?
    python benchmarks/learning.py --variants smollm2 --smollm2 FOLDER   # a real model, from its model directory
    python benchmarks/learning.py --seeds 1 --steps 2 --problems 8      # a smoke run

A variant is the demo's params with some other values; a run is a scratch copy of the project with these params and a
seed, trained and evaluated by DVC itself; all share a DVC cache, so that what several need (the base's completions) is
made once. "Before" is the base, sampled as often on the same problems. A gain's error
and p value are of the differences per problem; p is of an exact sign-flip test, which assumes nothing of how these are
distributed.

A second table says what a gain has cost: completions that GRPO has drawn, and seconds of its steps (generation,
grading, training), which say something on an idle machine alone.
"""

import argparse
import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from smolmath.evaluation.uncertainty import mean_and_se

ROOT = Path(__file__).resolve().parent.parent


def grpo(params: dict) -> None:
    """The demo's own phase."""
    params["phases"] = {"sums": params["phases"]["sums"]}


def resample(params: dict) -> None:
    """The same with dynamic sampling. Few of the demo's groups of 16 are flat before its last steps."""
    grpo(params)
    params["phases"]["sums"]["resample"] = {"rounds": 2}


def fours(params: dict) -> None:
    """As many completions, in groups of 4, of which many are flat."""
    grpo(params)
    params["phases"]["sums"]["prompts_per_step"] = 32
    params["phases"]["sums"]["grpo"]["num_generations"] = 4


def fours_resample(params: dict) -> None:
    fours(params)
    params["phases"]["sums"]["resample"] = {"rounds": 2}


def lora(params: dict) -> None:
    """The same with adapters instead of all weights, which take a higher learning rate."""
    grpo(params)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    params["phases"]["sums"]["lora"] = {"r": 16, "alpha": 32, "dropout": 0.0, "target_modules": modules}
    params["phases"]["sums"]["grpo"]["learning_rate"] = 1.0e-3


def sft(params: dict) -> None:
    """Worked sums for the base, with the settings by which the demo teaches legs."""
    params["phases"] = {"taught": params["phases"]["legs"] | {"dataset": "sums", "init": "base"}}


def sft_grpo(params: dict) -> None:
    """The one, then the other. After the whole of `sft` 98 % are right, and no group has a spread to learn from."""
    sums = params["phases"]["sums"] | {"init": "taught", "preflight": "warn"}
    sft(params)
    params["phases"]["taught"]["sft"] = params["phases"]["taught"]["sft"] | {"max_steps": 10}
    params["phases"]["sums"] = sums


def smollm2(params: dict) -> None:
    """SmolLM2-135M-Instruct adds and subtracts digits, which it gets right in two of five samples.

    Asked for a format it answers without one; two turns of a conversation before the question show it. They stand in
    the system message, since a prompt has no other place for them, and on numbers that no problem has.
    """
    question = "State the final answer to the following arithmetic problem: "  # reasoning-gym's words
    turns = "".join(
        f"<|im_end|>\n<|im_start|>user\n{question}{sum_} =<|im_end|>\n<|im_start|>assistant\n"
        f"<reasoning>\n{sum_} = {result}\n</reasoning>\n<answer>\n{result}\n</answer>"
        for sum_, result in (("14 + 3", 17), ("19 - 5", 14))
    )
    options = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    # 2,000 rows are nearly all of the 200 problems that there are, each kept once; half are held out.
    params["datasets"] = {"digits": params["datasets"]["sums"] | {"rows": 2000, "options": options}}
    params["process"]["contamination"]["dataset"] = "digits"
    params["split"] |= {"validation_fraction": 0.05, "test_fraction": 0.5}
    params["prompt"]["system"] = "Reply in this form." + turns
    params["model"] = {"source": "files", "path": "", "dtype": "float32"}  # the path is an option of this script
    params["phases"] = {
        "digits": params["phases"]["sums"]
        | {
            "dataset": "digits",
            "max_prompt_tokens": 192,
            "prompts_per_step": 2,
            "validation": None,
            "rewards": {"correctness": 1.0, "strict_format": 1.0},
            "grpo": {
                "max_steps": 16,
                "num_generations": 8,
                "max_completion_length": 40,
                "learning_rate": 2.0e-5,
                "lr_scheduler_type": "constant_with_warmup",
                "warmup_steps": 3,
                "adam_beta2": 0.99,
                "gradient_checkpointing": False,
            },
        }
    }
    params["hardware"]["micro_batch"] = 8  # 4 GB of memory; 32 sequences at once took 9
    params["evaluate"]["sampling"] |= {"problems": 60, "max_completion_tokens": 40, "batch_size": 20}


VARIANTS = {
    "grpo": grpo,
    "lora": lora,
    "sft": sft,
    "sft-grpo": sft_grpo,
    "smollm2": smollm2,
    "resample": resample,
    "fours": fours,
    "fours-resample": fours_resample,
}
# What is counted in a completion. The demo's model keeps the format whenever it works a sum out, and only then.
SHARES = {"correct": tuple(VARIANTS), "formatted": ("smollm2",)}


def main(variants: list[str], seeds: list[int], steps: int | None, problems: int | None, folder: Path | None) -> int:
    if "smollm2" in variants and folder is None:
        print("smollm2 is skipped: give it the model's directory by --smollm2", file=sys.stderr, flush=True)
        variants = [name for name in variants if name != "smollm2"]
    print("\nShare of sampled completions for held-out problems, before and after training\n")
    print("| variant | seed | share | problems | before | after | gain | p |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    costs = []
    with tempfile.TemporaryDirectory(prefix="smolmath-learning-") as scratch:
        cache = Path(scratch, "cache")
        for name, seed in itertools.product(variants, seeds):
            params = demo_params() | {"seed": seed}
            VARIANTS[name](params)
            if name == "smollm2" and folder is not None:
                params["model"]["path"] = str(folder.resolve())
            shorten(params, steps, problems)
            print(f"{name}, seed {seed}: dvc repro", file=sys.stderr, flush=True)
            copy = Path(scratch, f"{name}-{seed}")
            before, after = trained(copy, params, cache)
            for share in (share for share, counted in SHARES.items() if name in counted):
                row = [name, str(seed), share, *compared(before, after, share)]
                print(f"| {' | '.join(row)} |", flush=True)
            if any(phase["method"] == "grpo" for phase in params["phases"].values()):
                gain = sum(changes(before, after, "correct")) / len(after)
                costs.append([name, str(seed), *per_cost(gain, *cost(copy, params["phases"]))])
    if costs:
        print("\nWhat a gain in right completions cost GRPO\n")
        print("| variant | seed | gain | completions | per 1,000 | flat groups | seconds of steps | per minute |")
        print("|---|---|---|---|---|---|---|---|")
        for row in costs:
            print(f"| {' | '.join(row)} |")
    return 0


def cost(folder: Path, phases: dict) -> tuple[int, float, float]:
    """(completions drawn, share of the groups trained on that were flat, seconds of the steps), of all GRPO phases."""
    completions, flat, seconds = 0.0, [], 0.0
    for name, phase in phases.items():
        if phase["method"] != "grpo":
            continue
        step = phase["prompts_per_step"] * phase["grpo"]["num_generations"]
        for row in csv.DictReader((folder / "metrics" / "train" / f"{name}.csv").open(encoding="utf-8")):
            completions += float(row.get("drawn_completions") or step)
            flat.append(float(row["zero_spread_groups"]))
        (journal,) = (folder / "journal" / f"train@{name}").glob("*.json")
        spent = json.loads(journal.read_text(encoding="utf-8"))["seconds_by_activity"]
        seconds += spent["generate"] + spent["grade"] + spent["train"]
    return int(completions), sum(flat) / len(flat), seconds


def per_cost(gain: float, completions: int, flat: float, seconds: float) -> list[str]:
    """The second table's cells from gain on."""
    each = 1000 * gain / completions, 60 * gain / seconds
    return [f"{gain:+.3f}", f"{completions:,}", f"{each[0]:+.4f}", f"{flat:.0%}", f"{seconds:.0f}", f"{each[1]:+.3f}"]


def demo_params() -> dict:
    return YAML(typ="safe").load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))


def shorten(params: dict, steps: int | None, problems: int | None) -> None:
    """For a smoke run."""
    for phase in params["phases"].values() if steps else ():
        phase[phase["method"]]["max_steps"] = steps
    if problems:
        params["evaluate"]["sampling"]["problems"] = problems


def copy_project(folder: Path, params: dict) -> None:
    """A scratch copy of the project with other params, ready for DVC; Git stays out of it."""
    for name in ("dvc.yaml", "stages", "src", "bases", ".dvcignore"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    dvc(folder, "init", "--no-scm", "-q")


def dvc(folder: Path, *arguments: str) -> None:
    """Its stages' output goes to stderr, so that a table on stdout stays whole."""
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, cwd=folder, env=environment(), check=True, stdout=sys.stderr)


def environment() -> dict[str, str]:
    """Ours, in which stages find this environment's python and no DVC that may have called us is remembered."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}


def trained(folder: Path, params: dict, cache: Path) -> list[list[dict]]:
    """Verdicts on the sampled completions of the base and of the last phase's model."""
    folder.mkdir()
    last, phase = list(params["phases"].items())[-1]
    params["evaluate"] |= {"models": ["base", last], "datasets": [phase["dataset"]]}
    copy_project(folder, params)
    dvc(folder, "cache", "dir", "-q", str(cache))
    dvc(folder, "repro", "-q")
    files = [folder / "results" / "verdicts" / model / f"{phase['dataset']}.parquet" for model in ("base", last)]
    return [[row for row in pq.read_table(file).to_pylist() if row["sample"] > 0] for file in files]


def compared(before: list[dict], after: list[dict], share: str) -> tuple[str, ...]:
    """The table's cells from problems to p."""
    counts = [per_problem(verdicts, share) for verdicts in (before, after)]
    samples = len(after) // len(counts[1])
    differences = changes(before, after, share)
    gain, error = mean_and_se([difference / samples for difference in differences])
    shown = ["{:.3f} ± {:.3f}".format(*mean_and_se([n / samples for n in count.values()])) for count in counts]
    return f"{len(differences)} × {samples}", *shown, f"{gain:+.3f} ± {error:.3f}", f"{sign_flip(differences):.1g}"


def changes(before: list[dict], after: list[dict], share: str) -> list[int]:
    """Of each problem: how many more of its completions have `share`."""
    old, new = (per_problem(verdicts, share) for verdicts in (before, after))
    return [new[problem] - count for problem, count in old.items()]


def per_problem(verdicts: list[dict], share: str) -> dict[str, int]:
    """Problem -> how many of its completions have `share`."""
    counts: dict[str, int] = defaultdict(int)
    for row in verdicts:
        counts[row["problem_id"]] += row[share]
    return counts


def sign_flip(differences: Sequence[int]) -> float:
    """Two-sided p of paired differences: how often their sum is as far from 0 if each sign is a fair coin's.

    Exact, over all 2^n assignments of signs, by the distribution of the sum. With differences of -1, 0 and 1 it is
    McNemar's exact test.

    >>> sign_flip([1, 1, 1, 1, 0, -1])  # 4 or 5 of 5 coins, either way: 2 * (5 + 1) / 2^5
    0.375
    """
    ways = {0: 1}
    for difference in differences:
        following: dict[int, int] = defaultdict(int)
        for total, count in ways.items():
            following[total + difference] += count
            following[total - difference] += count
        ways = following
    extreme = sum(count for total, count in ways.items() if abs(total) >= abs(sum(differences)))
    return extreme / 2 ** len(differences)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)[:5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, help="steps of every phase instead of the variant's (for a smoke run)")
    parser.add_argument("--problems", type=int, help="test problems instead of the variant's (for a smoke run)")
    parser.add_argument(
        "--smollm2", dest="folder", type=Path, help="model directory of SmolLM2-135M-Instruct, for variant smollm2"
    )
    sys.exit(main(**vars(parser.parse_args())))
