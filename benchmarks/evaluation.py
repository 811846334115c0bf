"""How fast are completions made for an evaluation, and do the engines agree? Beside a plain loop, in one run.

    python benchmarks/evaluation.py                                            # the shipped base, on its own problems
    python benchmarks/evaluation.py --model FOLDER --problems gsm8k/test.jsonl # a real model on real ones
    python benchmarks/evaluation.py --problem-count 4 --tokens 16 --rounds 1   # a smoke run

The peer is `evaluate_model` as notebooks have it: one prompt at a time, the model as transformers loads it, here with
the same limit of new tokens. Each side is a process of its own, in turns, `--rounds` times; start (imports, weights,
engine) is told apart. vLLM takes part where it is installed (`make test-vllm` makes an environment of it for a CPU).

Agreement: of the greedy completions of two processes, of a second pass with the prompts in the opposite order, and of
the sides with each other; then the paired difference in accuracy between transformers and vLLM.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from smolmath.answers import grade
from smolmath.evaluation.paired import compare_verdicts
from smolmath.params.core import load_section, read_params
from smolmath.params.prompt import PromptParams
from smolmath.prompts import Message, chat_prompt
from smolmath.running.params import HardwareParams

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("peer", "transformers", "vllm")
# A vLLM engine that shares a CPU with everything else, as in `make test-vllm`.
CPU_VLLM = {
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


def main(options: argparse.Namespace) -> int:
    sides = [side for side in SIDES if side != "vllm" or importlib.util.find_spec("vllm")]
    if "vllm" not in sides:
        print("vllm is left out: it is not installed in this environment", file=sys.stderr)
    problems = read_problems(options.problems, options.problem_count)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory(prefix="smolmath-evaluation-") as scratch:
        Path(scratch, "problems.json").write_text(json.dumps(problems))
        for _ in range(options.rounds):
            for side in sides:
                runs[side].append(measured(side, options, Path(scratch)))
    print(f"\n{len(problems)} problems, at most {options.tokens} tokens each; medians of {options.rounds}\n")
    print("| side | start, s | generation, s | tokens/s | ratio to the peer |\n|---|---|---|---|---|")
    peer = median(run["seconds"] for run in runs["peer"])
    for side, found in runs.items():
        seconds = median(run["seconds"] for run in found)
        start = median(run["start"] for run in found)
        speed = median(run["tokens"] / run["seconds"] for run in found)
        print(f"| {side} | {start:.1f} | {seconds:.1f} | {speed:.0f} | {peer / seconds:.1f}× |")
    print("\n| greedy completions that are the same | of | |\n|---|---|---|")
    for what, one, two in agreements(runs):
        same = sum(a == b for a, b in zip(one, two, strict=True))
        print(f"| {what} | {len(one)} | {same} |")
    print("\n| accuracy | right |\n|---|---|")
    verdicts = {side: judged(found[0]["completions"], problems) for side, found in runs.items()}
    for side, rows in verdicts.items():
        print(f"| {side} | {sum(row['correct'] for row in rows)} of {len(rows)} |")
    if "vllm" in sides:
        (found,) = compare_verdicts(verdicts["transformers"], verdicts["vllm"])
        low, high = 100 * found.difference.low, 100 * found.difference.high
        print(f"\nvllm − transformers: {100 * found.difference.value:+.1f} points, 95 % {low:+.1f} to {high:+.1f}")
    return 0


def read_problems(path: Path | None, count: int) -> list[dict[str, str]]:
    """The first `count` of GSM8K's jsonl, or as many sums as the demo has them."""
    if path is not None:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:count]]
        return [{"question": row["question"], "reference": row["answer"].rsplit("####", 1)[1].strip()} for row in rows]
    import reasoning_gym

    options = {"min_terms": 3, "max_terms": 6, "min_digits": 1, "max_digits": 1}
    made = reasoning_gym.create_dataset("chain_sum", size=count, seed=99, **options)
    return [{"question": row["question"], "reference": row["answer"]} for row in made]


def measured(side: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    out = scratch / "out.json"
    command = [sys.executable, __file__, "--side", side, "--scratch", str(scratch), "--tokens", str(options.tokens)]
    command += ["--model", str(options.model), "--batch", str(options.batch), "--dtype", options.dtype]
    subprocess.run(command, check=True, env=os.environ | CPU_VLLM, stdout=sys.stderr)
    run = dict(json.loads(out.read_text()))
    print(f"{side}: start {run['start']:.1f} s, generation {run['seconds']:.1f} s", file=sys.stderr, flush=True)
    return run


def agreements(runs: dict[str, list[dict[str, Any]]]) -> list[tuple[str, list[str], list[str]]]:
    """(what, one side's texts, the other's)."""
    texts = {side: [[one["text"] for one in run["completions"]] for run in found] for side, found in runs.items()}
    found = []
    for side in [side for side in texts if side != "peer"]:
        reverse = [one["text"] for one in runs[side][0]["reversed"]]
        found.append((f"{side}, prompts in the opposite order", texts[side][0], reverse))
        found += [(f"{side}, two processes", *texts[side][:2])] if len(texts[side]) > 1 else []
    others = [side for side in texts if side != "transformers"]
    return found + [(f"{side} and transformers", texts[side][0], texts["transformers"][0]) for side in others]


def judged(completions: Sequence[dict[str, Any]], problems: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "problem_id": str(index),
            "sample": 0,
            "correct": grade(one["text"], problem["reference"], finished=one["finished"]).correct,
        }
        for index, (one, problem) in enumerate(zip(completions, problems, strict=True))
    ]


# From here on: what runs in the measured processes.


def run_side(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    problems = json.loads((options.scratch / "problems.json").read_text())
    prompt = load_section(read_params(ROOT / "params.yaml"), "prompt", PromptParams)
    chats = [chat_prompt(problem["question"], prompt) for problem in problems]
    generate = peer(options) if options.side == "peer" else engine(options)
    begun = time.perf_counter()
    completions = generate(chats)
    seconds = time.perf_counter() - begun
    noted: dict[str, Any] = {"start": begun - started, "seconds": seconds, "completions": completions}
    if options.side != "peer":
        noted["reversed"] = generate(chats[::-1])[::-1]
    noted["tokens"] = sum(completion["tokens"] for completion in completions)
    (options.scratch / "out.json").write_text(json.dumps(noted))


Generate = Callable[[list[list[Message]]], list[dict[str, Any]]]


def peer(options: argparse.Namespace) -> Generate:
    """The notebook's loop."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"  # as `hardware.device: auto` has it
    model = AutoModelForCausalLM.from_pretrained(options.model, trust_remote_code=False).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model, trust_remote_code=False)

    def generate(chats: list[list[Message]]) -> list[dict[str, Any]]:
        completions = []
        for chat in chats:
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(device)
            with torch.no_grad():
                output = model.generate(
                    **inputs, max_new_tokens=options.tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
                )
            ids = output[0, inputs["input_ids"].shape[1] :]
            text = tokenizer.decode(ids, skip_special_tokens=True)
            completions.append({"text": text, "tokens": len(ids), "finished": len(ids) < options.tokens})
        return completions

    return generate


def engine(options: argparse.Namespace) -> Generate:
    """The engine, fed as the stage feeds it: batches of prompts of like length."""
    import smolmath.kernels  # noqa: F401  # before torch
    from smolmath.engines import Sampling, load_engine

    hardware = load_section(read_params(ROOT / "params.yaml"), "hardware", HardwareParams)
    hardware = hardware.model_copy(update={"engine": options.side, "threads": None, "gpu_memory": 0.1})
    loaded = load_engine(options.model, dtype=options.dtype, hardware=hardware)
    greedy = Sampling(0.0, 1.0, 1, options.tokens, seed=0)

    def generate(chats: list[list[Message]]) -> list[dict[str, Any]]:
        order = sorted(range(len(chats)), key=lambda i: loaded.count_tokens(loaded.render(chats[i])))
        completions: dict[int, dict[str, Any]] = {}
        for start in range(0, len(order), options.batch):
            batch = order[start : start + options.batch]
            for index, (one,) in zip(batch, loaded.generate([chats[i] for i in batch], greedy), strict=True):
                completions[index] = {"text": one.text, "tokens": one.tokens, "finished": one.finish_reason == "stop"}
        return [completions[i] for i in range(len(chats))]

    return generate


def options_of(doc: str, *, batch: int) -> argparse.ArgumentParser:
    """A parser with the model, the problems and their limits; benchmarks/harness.py takes the same."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "bases" / "calc", help="model directory")
    parser.add_argument("--problems", type=Path, help="GSM8K's jsonl; sums of the demo's kind if not named")
    parser.add_argument("--problem-count", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128, help="limit of new tokens")
    parser.add_argument("--batch", type=int, default=batch, help="prompts at a time")
    return parser


if __name__ == "__main__":
    parser = options_of(__doc__, batch=32)
    parser.add_argument("--dtype", default="bfloat16", help="of the engines' weights")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        run_side(chosen)
    else:
        sys.exit(main(chosen))
