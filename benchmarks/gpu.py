"""GRPO on a GPU: how fast is our run beside a plain TRL script and what the device could do, and which setting pays?

    python benchmarks/gpu.py                             # on a GPU: every side, 3 rounds; about an hour on a fast one
    python benchmarks/gpu.py --only peer ours vllm-sleep # some of them
    python benchmarks/gpu.py --small                     # a smoke run on a CPU, a minute; the default without a GPU
    python benchmarks/gpu.py --memory                    # computed memory by micro-batch; needs no GPU

Nothing is downloaded: the model has Qwen2.5-0.5B's shape and random weights, prompts and completions are of made-up
words, with the lengths of GSM8K (gpu_parts/world.py); every completion is made to end where its drawn length says.

`peer` is TRL alone with the classic notebook's settings, `ours` the train stage with recipes/gsm8k-classic.yaml, each
other side `ours` with one setting changed (`VARIANTS`). Each is a process of its own, in turns. `--json` keeps all.
docs/gpu-speed.md says what the columns mean; gpu_parts/costs.py has the formulas of FLOPs and bounds.
"""

import argparse
import copy
import dataclasses
import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gpu_parts.costs import QWEN2_5_0_5B, Machine
from gpu_parts.memory import memory_table
from gpu_parts.table import Figures, figures, markdown, reason
from gpu_parts.world import PHASE, SMALL, make_world, params_of_the_run
from learning import copy_project, environment
from ruamel.yaml import YAML

from smolmath.running.devices import VISIBLE, visible_gpus

GRPO = f"phases.{PHASE}.grpo"
# name -> what is other than in recipes/gsm8k-classic.yaml. A test holds that each differs from it.
VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "vllm-off": {"hardware.vllm": "off"},
    "vllm-sleep": {"hardware.vllm": "colocate", "hardware.vllm_sleep": True},
    "micro-8": {"hardware.micro_batch": 8},
    "micro-32": {"hardware.micro_batch": 32},
    "micro-64": {"hardware.micro_batch": 64},
    "checkpointing": {f"{GRPO}.gradient_checkpointing": True},
    "eager": {"hardware.attention": "eager"},
    "flash": {"hardware.attention": "flash_attention_2"},
    "liger": {f"{GRPO}.use_liger_kernel": True},
    "compile": {f"{GRPO}.torch_compile": True},
    "pad-64": {f"{GRPO}.pad_to_multiple_of": 64},
    "unfused": {f"{GRPO}.optim": "adamw_torch"},
    "fp32": {"model.dtype": "float32"},
    "generate-2": {f"{GRPO}.steps_per_generation": 2},
    "generate-4": {f"{GRPO}.steps_per_generation": 4},
}
SIDES = ("peer", "peer-fp32", *VARIANTS)
SMOKE = ("peer", "ours", "flash", "generate-2")
PASSES = {  # tokens of a recipe's longest sequence
    "GSM8K classic, 256 + 200": 456,
    "GSM8K, 256 + 512": 768,
    "OpenR1, 512 + 2,048": 2560,
}
MICRO_BATCHES = (4, 8, 16, 32, 64)
SKIPPED, SKIPPED_SMALL = 4, 1  # steps at least: allocations, late imports, torch.compile


def main(options: argparse.Namespace) -> int:
    small = options.small or not visible_gpus()
    names = options.only or (SMOKE if small else SIDES)
    rounds, steps = options.rounds or (1 if small else 3), options.steps or (2 if small else 8)
    shape = SMALL if small else QWEN2_5_0_5B
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="smolmath-gpu-") as scratch:
        folder = Path(scratch)
        params = params_of_the_run(small=small, steps=steps)
        if params["hardware"]["vllm"] != "off" and importlib.util.find_spec("vllm") is None:
            print("vllm is not installed (`make setup VLLM=1`): all sides generate with transformers", file=sys.stderr)
            params["hardware"]["vllm"] = "off"
        copy_project(folder, params)
        make_world(folder, params, small=small)
        machine = in_a_process(folder, "machine", small)
        if isinstance(machine, str):
            raise SystemExit(f"the device could not be measured: {machine}")
        for number, name in itertools.product(range(rounds), names):
            if name in failed:
                continue
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            changed = with_changes(params, VARIANTS.get(name, {}))
            skipped, period = warm_up(changed, small)
            changed["phases"][PHASE]["grpo"]["max_steps"] = skipped + -(-steps // period) * period
            with (folder / "params.yaml").open("w", encoding="utf-8") as file:
                YAML(typ="safe", pure=True).dump(changed, file)
            noted = in_a_process(folder, name, small)
            if isinstance(noted, str):
                failed[name] = noted
            else:
                runs[name].append(noted)
    found: dict[str, Figures | str] = {}
    for name in names:
        changed = with_changes(params, VARIANTS.get(name, {}))
        skipped, period = warm_up(changed, small)
        found[name] = failed.get(name) or figures(
            runs[name],
            skipped=skipped,
            period=period,
            shape=shape,
            machine=Machine(machine["bytes_per_s"], machine["flops_per_s"]),
            weight_bytes=bytes_of_a_weight(name, changed),
        )
    what = "a small model on a CPU, which says nothing of a GPU" if small else "Qwen2.5-0.5B's shape"
    print(
        f"\n{what}; {steps} steps, medians of {rounds} rounds; hardware.vllm: {params['hardware']['vllm']}; "
        f"{machine['device']}, torch {machine['torch']}: copies {machine['bytes_per_s'] / 1e9:.3g} GB/s, multiplies "
        f"{machine['flops_per_s'] / 1e12:.3g} TFLOP/s\n"
    )
    print(markdown(found))
    if options.json:
        sides = {name: one if isinstance(one, str) else dataclasses.asdict(one) for name, one in found.items()}
        kept = {
            "machine": machine,
            "shape": dataclasses.asdict(shape),
            "sides": sides,
            "changes": VARIANTS,
            "runs": runs,
        }
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    return 1 if any(isinstance(found.get(name), str) for name in ("peer", "ours")) else 0


def bytes_of_a_weight(name: str, params: dict[str, Any]) -> int:
    """While it generates: the peers compute in bf16, and so does vLLM, by the type of models/base."""
    wide = params["model"]["dtype"] == "float32" and params["hardware"]["vllm"] == "off"
    return 4 if wide and not name.startswith("peer") else 2


def with_changes(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values under dotted keys."""
    changed = copy.deepcopy(params)
    for dotted, value in changes.items():
        *sections, key = dotted.split(".")
        section = changed
        for name in sections:
            section = section[name]
        section[key] = value
    return changed


def warm_up(params: dict[str, Any], small: bool) -> tuple[int, int]:
    """(steps that are not counted, steps that one generation is trained on); the one is a multiple of the other."""
    period = params["phases"][PHASE]["grpo"].get("steps_per_generation", 1)
    least = SKIPPED_SMALL if small else SKIPPED
    return -(-least // period) * period, period


def in_a_process(folder: Path, side: str, small: bool) -> dict[str, Any] | str:
    """What the side's process noted, or why it could not run; what else it wrote goes to stderr."""
    out = folder / "noted.json"
    out.unlink(missing_ok=True)
    visible = "" if small else visible_gpus()[0]  # the peer trains on all that it sees, ours on one
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--json", str(out)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": "src", "HF_HUB_OFFLINE": "1", VISIBLE: visible},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        return dict(json.loads(out.read_text()))
    why = reason(done.stdout)
    print(f"{side}: {why}\n{done.stdout[-3000:]}", file=sys.stderr, flush=True)
    return why


def run_side(side: str, out: Path) -> None:
    """In the measured process, whose working directory is the scratch project."""
    importlib.import_module("smolmath.kernels")  # before torch
    if side == "machine":
        from gpu_parts.machine import measured_machine

        noted = measured_machine()
    else:
        from gpu_parts.sides import run

        noted = run(side, YAML(typ="safe").load(Path("params.yaml").read_text()))
    out.write_text(json.dumps(noted))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SIDES, help="these sides")
    parser.add_argument("--steps", type=int, help="measured optimiser steps of a run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--small", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--json", type=Path, help="file for everything that was noted")
    parser.add_argument("--memory", action="store_true", help="computed memory by micro-batch, and nothing else")
    parser.add_argument("--side", choices=(*SIDES, "machine"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.json)
    elif options.memory:
        print(memory_table(QWEN2_5_0_5B, PASSES, MICRO_BATCHES))
    else:
        sys.exit(main(options))
