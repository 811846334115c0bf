"""A GRPO step of smolmath beside a plain TRL script of the same training: seconds a step, and do both learn the same?

    python benchmarks/training.py                        # the demo's phase `sums`, 3 rounds
    python benchmarks/training.py --steps 4 --rounds 1   # a smoke run
    python benchmarks/training.py --tail                 # passes of 16 rows, few of them long
    python benchmarks/training.py --params FILE --phase NAME --steps 4   # any params file's, such as a real model's

The peer is what a good notebook would write: TRL's trainer with the phase's own settings and rewards, without
validation, checkpoints or anything that watches. Ours is the stage, by the command that dvc.yaml has for it, in a
scratch copy of the project, with all of that on. Both have the same micro-batch, run in turns, each as a process of
its own, and are timed by the same clock, which is hung into transformers' Trainer from outside.

`--tail` is what cutting passes to what they hold is for: at the base's own lengths (a rate of next to nothing keeps
them) the 95th percentile is more than twice the median, and TRL pads every pass to the step's longest completion.

A step lasts from its beginning to that of the next, so that whatever happens between the two is in it; validation,
which happens every few steps, is taken out of the median and shown beside it. The mean leaves nothing out.
"""

import argparse
import functools
import hashlib
import importlib
import itertools
import json
import math
import runpy
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from learning import copy_project, demo_params, dvc, environment
from ruamel.yaml import YAML

PHASE = "sums"
SIDES = ("peer", "ours")
NAMES = {"peer": "TRL alone", "ours": "smolmath"}
WARM_UP = 2  # steps: the first allocations, and whatever is imported late
BAR = 1.03
TAIL_BAR = 0.77  # of TRL's seconds: 1.3 times as fast
TAIL_MICRO_BATCH = 16
VALIDATION = "ValidationCallback"  # whose seconds are no part of a step
# No entropy: TRL's depends on which rows meet in a pass.
CURVE = ("loss", "grad_norm", "reward", "reward_std", "completions/mean_length")

ROUNDING = 1e-4  # of a logged value, relative or absolute: sums in another order, and a few steps of Adam on them


def main(steps: int | None, rounds: int, *, tail: bool, file: Path | None, name: str) -> int:
    with tempfile.TemporaryDirectory(prefix="smolmath-training-") as scratch:
        folder = Path(scratch)
        params = YAML(typ="safe").load(file.read_text(encoding="utf-8")) if file else demo_params()
        phase = params["phases"][name]
        params["phases"] = {name: phase}
        params["datasets"] = {phase["dataset"]: params["datasets"][phase["dataset"]]}
        params["evaluate"] |= {"models": [name], "datasets": [phase["dataset"]]}
        if tail:
            phase["grpo"]["learning_rate"] = 1.0e-8
            params["hardware"]["micro_batch"] = TAIL_MICRO_BATCH
        if steps:
            phase["grpo"]["max_steps"] = steps
        copy_project(folder, params)
        dvc(folder, "repro", "-q", "base", f"split@{phase['dataset']}")
        runs: dict[str, list[dict]] = {side: [] for side in SIDES}
        for number, side in itertools.product(range(rounds), SIDES):
            print(f"round {number + 1} of {rounds}: {NAMES[side]}", file=sys.stderr, flush=True)
            runs[side].append(measured(side, folder, name))
        # Of the first round: one entry for each fingerprint.
        (entry,) = (folder / "journal" / f"train@{name}").glob("*.json")
        activities = json.loads(entry.read_text())["seconds_by_activity"]
    completions = phase["prompts_per_step"] * phase["grpo"]["num_generations"]
    what = f"{completions} completions, phase {name} of {file.name if file else 'the demo'}"
    what += f", passes of {params['hardware']['micro_batch'] or completions}"
    report(runs, what, activities, bar=TAIL_BAR if tail else BAR)
    return 0


def measured(side: str, folder: Path, phase: str) -> dict:
    """What `timed` noted of one run in a process of its own; `outside` are its seconds before and after the steps."""
    out = folder / f"{side}.json"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--out", str(out), "--phase", phase],
        cwd=folder,
        env=environment() | {"PYTHONPATH": "src"},  # as dvc.yaml has it
        capture_output=True,
        text=True,
    )
    ended = time.perf_counter()
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    run = json.loads(out.read_text())
    # Both processes read one monotonic clock.
    run["outside"] = [run["begins"][0] - started, ended - run["begins"][-1]]
    return run


def report(runs: dict[str, list[dict]], what: str, activities: dict[str, float], *, bar: float) -> None:
    counts = {len(run["begins"]) - 1 for side in SIDES for run in runs[side]}
    rounds, steps = len(runs["peer"]), min(counts)
    medians = {side: median_step(runs[side], steps) for side in SIDES}
    by_round = [
        median_step([run], steps) / median_step([beside], steps)
        for run, beside in zip(runs["ours"], runs["peer"], strict=True)
    ]
    lengths = sorted(tokens for side in SIDES for run in runs[side] for tokens in run["lengths"])
    p50, p95 = (lengths[int(share * len(lengths))] for share in (0.5, 0.95))
    print(
        f"\nSeconds of an optimiser step of {what}: {steps} steps, {rounds} rounds, without the first {WARM_UP}. "
        f"Tokens of a completion: median {p50}, 95th percentile {p95} ({p95 / p50:.1f} times)\n"
    )
    print("| script | median | ratio | mean, all included | before the steps | after |")
    print("|---|---|---|---|---|---|")
    for side in SIDES:
        before, after = (statistics.median(run["outside"][end] for run in runs[side]) for end in (0, 1))
        mean = statistics.mean(second for run in runs[side] for second in whole_steps(run)[:steps][WARM_UP:])
        print(
            f"| {NAMES[side]} | {medians[side]:.3f} | {medians[side] / medians['peer']:.3f} | {mean:.3f} "
            f"| {before:.1f} | {after:.1f} |"
        )
    met = "met" if medians["ours"] / medians["peer"] <= bar else "not met"
    print(f"\nRatio by round: {', '.join(f'{ratio:.3f}' for ratio in by_round)}. The bar, {bar}, is {met}.")
    watched = {
        name: statistics.median(sum(run["callbacks"].get(name, [])) for run in runs["ours"])
        for name in sorted({name for run in runs["ours"] for name in run["callbacks"]})
    }
    print("smolmath's callbacks, seconds in all steps: " + listed(watched, 2))
    print("Its own journal, seconds of round 1: " + listed(activities, 1))
    print(sameness(runs))


def listed(seconds: dict[str, float], digits: int) -> str:
    return ", ".join(f"{name} {took:.{digits}f}" for name, took in seconds.items())


def median_step(runs: list[dict], steps: int) -> float:
    """Step n of every run is the same work: median over runs first, then over steps."""
    own = [own_steps(run)[:steps] for run in runs]
    return statistics.median([statistics.median(times) for times in zip(*own, strict=True)][WARM_UP:])


def whole_steps(run: dict) -> list[float]:
    return [following - begin for begin, following in itertools.pairwise(run["begins"])]


def own_steps(run: dict) -> list[float]:
    """Seconds of each step without validation."""
    whole = whole_steps(run)
    validation = run["callbacks"].get(VALIDATION, [0.0] * len(whole))
    return [step - taken for step, taken in zip(whole, validation, strict=True)]


def sameness(runs: dict[str, list[dict]]) -> str:
    """Whether a side repeats itself to the bit, and how long both learn the same.

    Ours computes fewer tokens in another order, and sums round otherwise. A sampled token that falls the other way for
    it ends the likeness: from there on these are two trainings from the same distribution.
    """
    for side, name in NAMES.items():
        if len({(str(run["curve"]), run["weights"]) for run in runs[side]}) > 1:
            return f"The runs of {name} DIFFER among themselves."
    ours, peer = runs["ours"][0]["curve"], runs["peer"][0]["curve"]
    alike = itertools.takewhile(
        lambda pair: all(math.isclose(x, y, rel_tol=ROUNDING, abs_tol=ROUNDING) for x, y in zip(*pair, strict=True)),
        zip(ours, peer, strict=True),
    )
    count = len(list(alike))
    what = f"{', '.join(CURVE[:-1])} and {CURVE[-1]}"
    if not count:
        return f"The trainings DIFFER from step 1 on: {ours[0]} where the peer has {peer[0]}."
    return (
        f"Each side repeats itself to the last bit. Both have the same {what} within {ROUNDING:g} in the first "
        f"{count} of {len(peer)} steps."
    )


# From here on: what runs in the measured processes.


def run_side(side: str, out: Path, phase: str) -> None:
    importlib.import_module("smolmath.kernels")  # before torch: both sides compute with the same kernels
    params = YAML(typ="safe").load(Path("params.yaml").read_text())
    noted = timed(functools.partial({"peer": peer, "ours": ours}[side], params, phase))
    if side == "ours" and params["phases"][phase]["validation"] and VALIDATION not in noted["callbacks"]:
        raise SystemExit(f"no callback is named {VALIDATION}: {sorted(noted['callbacks'])}. Say which one validates.")
    out.write_text(json.dumps(noted))


def timed(train: Callable[[], None]) -> dict[str, Any]:
    """Call `train` and note of the trainer that it makes: begins of steps, seconds in our callbacks, curve, weights.

    Returns: begins: of each step, and of what comes after the last; callbacks: class (and `checkpoints`) -> seconds in
    each step; curve: the logged values of `CURVE` for each step; weights: their sha256; lengths: of all completions.
    """
    import transformers
    import trl

    begins: list[float] = []
    spent: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    noted: dict[str, Any] = {}

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            begins.append(time.perf_counter())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            begins.append(time.perf_counter())

    def watched(name: str, method: Callable) -> Callable:
        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            step, start = len(begins) - 1, time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                spent[name][step] += time.perf_counter() - start

        return called

    untimed = transformers.Trainer.train

    def timed_train(self: Any, *args: Any, **kwargs: Any) -> Any:
        for callback in self.callback_handler.callbacks:
            if type(callback).__module__.startswith("smolmath"):
                for event in (name for name in dir(type(callback)) if name.startswith("on_")):
                    setattr(callback, event, watched(type(callback).__name__, getattr(callback, event)))
        self._save_checkpoint = watched("checkpoints", self._save_checkpoint)
        self.add_callback(Clock())
        result = untimed(self, *args, **kwargs)
        noted["curve"] = [[row.get(name) for name in CURVE] for row in self.state.log_history if "loss" in row]
        digest = hashlib.sha256()
        for _, weights in sorted(self.model.state_dict().items()):
            digest.update(weights.detach().float().cpu().numpy().tobytes())
        noted["weights"] = digest.hexdigest()
        return result

    lengths: list[int] = []
    generate = trl.GRPOTrainer._generate_single_turn

    def noted_lengths(self: Any, *args: Any, **kwargs: Any) -> Any:
        completions, *rest = generate(self, *args, **kwargs)
        lengths.extend(map(len, completions))
        return completions, *rest

    trl.GRPOTrainer._generate_single_turn = noted_lengths
    transformers.Trainer.train = timed_train
    train()
    steps = range(len(begins) - 1)
    callbacks = {name: [by_step.get(step, 0.0) for step in steps] for name, by_step in spent.items()}
    return {"begins": begins, "callbacks": callbacks, "lengths": lengths, **noted}


def ours(params: dict, phase: str) -> None:
    """The phase's stage, by its own command; benchmarks/gpu.py calls it for another phase."""
    from smolmath.running.graph import load_stages

    command = shlex.split(load_stages(params)[f"train@{phase}"].cmd)
    script = next(i for i, word in enumerate(command) if word.endswith(".py"))
    sys.argv = command[script:]
    sys.path.insert(0, str(Path(command[script]).parent))
    try:
        runpy.run_path(command[script], run_name="__main__")
    except SystemExit as ended:  # a stage's script ends its process
        if ended.code:
            raise


def peer(params: dict, name: str) -> None:
    """The same training as a script of its own; of smolmath it has the rewards, which are the same work for both."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from smolmath.rewards import reward_functions

    phase = params["phases"][name]
    grpo, lora = phase["grpo"], phase["lora"]
    completions = phase["prompts_per_step"] * grpo["num_generations"]
    micro_batch = params["hardware"]["micro_batch"] or completions
    adapter = lora and LoraConfig(
        task_type="CAUSAL_LM",
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["target_modules"],
    )
    torch.set_num_threads(params["hardware"]["threads"])
    model = AutoModelForCausalLM.from_pretrained("models/base", dtype=torch.float32, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained("models/base", trust_remote_code=False)

    def prompt(row: dict) -> dict:
        system = {"role": "system", "content": params["prompt"]["system"]}
        return {"prompt": [system, {"role": "user", "content": row["question"]}]}

    problems = datasets.Dataset.from_parquet(f"data/split/{phase['dataset']}/train.parquet", cache_dir="peer-cache")
    problems = problems.sort("id").map(prompt).select_columns(["prompt", "reference_answer", "reasoning"])

    def knowing_the_end(reward: Callable) -> Callable:
        @functools.wraps(reward)
        def scored(*, completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
            finished = [ids[-1] == tokenizer.eos_token_id for ids in completion_ids]
            return reward(completion_ids=completion_ids, finished=finished, **columns)

        return scored

    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[knowing_the_end(reward) for reward in reward_functions(list(phase["rewards"]))],
        args=GRPOConfig(
            output_dir="peer",
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=completions // micro_batch,
            reward_weights=list(phase["rewards"].values()),
            seed=params["seed"],
            data_seed=params["seed"],
            bf16=params["model"]["dtype"] == "bfloat16",
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **grpo,
        ),
        train_dataset=problems,
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.train()
    trainer.save_model("peer/model")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="optimiser steps instead of the demo's (for a smoke run)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tail", action="store_true", help="few long completions among short ones, in small passes")
    parser.add_argument(
        "--params", dest="file", type=Path, help="params file instead of the demo's, with absolute paths"
    )
    parser.add_argument("--phase", default=PHASE, help="phase of it")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.out, options.phase)
    else:
        sys.exit(main(options.steps, options.rounds, tail=options.tail, file=options.file, name=options.phase))
