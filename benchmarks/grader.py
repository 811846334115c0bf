"""Speed of the grader beside plain math-verify, as ratios within one run: python benchmarks/grader.py [--rows 1000].

The peer is what most projects write: `verify(parse(reference), parse(completion))`. Three workloads: GSM8K solutions
(real ones where SMOLMATH_REAL_DATA or ../shared/data has them, else sums in their style), LaTeX answers from
the labelled table of the tests, GRPO batches of 64 prompts × 16 completions. Each round clears our memos and runs
both sides in turn; figures are medians of three rounds, latencies those of the last. Then the command `smolmath grade`
with one worker and with one per core.
"""

import argparse
import importlib
import json
import logging
import os
import pkgutil
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import smolmath.answers
from smolmath.answers import grade
from smolmath.answers.judge import JUDGE

ROOT = Path(__file__).parent.parent
ROUNDS = 3
Pair = tuple[str, str]


def main(rows: int) -> None:
    logging.disable(logging.CRITICAL)  # math-verify tells of every time-out
    from math_verify import parse, verify

    def peer(completion: str, reference: str) -> bool:
        return bool(verify(parse(reference), parse(completion)))

    def ours(completion: str, reference: str) -> bool:
        return grade(completion, reference).correct

    ours(r"\boxed{\sin 1}", r"\cos 1")  # start the judge
    peer("1", "1")
    workloads = {
        "GSM8K solutions": gsm8k(rows),
        "LaTeX answers": latex(rows),
        "GRPO batch, GSM8K": grpo_batch(gsm8k(64)),
        "GRPO batch, LaTeX": grpo_batch(latex(64)),
    }
    print("workload              rows   ours/s  peer/s  ratio |  ours p50    p99  worst | peer p50    p99  worst (ms)")
    for name, pairs in workloads.items():
        figures: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(ROUNDS):
            clear_memos()
            our_times, peer_times = timed(ours, pairs), timed(peer, pairs)
            figures["ours"].append(len(pairs) / sum(our_times))
            figures["peer"].append(len(pairs) / sum(peer_times))
        our_speed, peer_speed = (statistics.median(figures[side]) for side in ("ours", "peer"))
        print(
            f"{name:20} {len(pairs):5} {our_speed:8.0f} {peer_speed:7.0f} {our_speed / peer_speed:5.1f}× | "
            f"{latencies(our_times)} | {latencies(peer_times)}"
        )
    print(f"judge: {dict(JUDGE.counts)}")
    scaling(4 * rows)


def timed(function, pairs: list[Pair]) -> list[float]:
    times = []
    for completion, reference in pairs:
        start = time.perf_counter()
        function(completion, reference)
        times.append(time.perf_counter() - start)
    return times


def latencies(times: list[float]) -> str:
    ordered = sorted(times)
    p50, p99, worst = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]
    return f"{p50 * 1000:8.3f} {p99 * 1000:6.2f} {worst * 1000:6.1f}"


def clear_memos() -> None:
    """Forget every answer seen; the square roots of small primes in the field are constants and stay."""
    for module in pkgutil.iter_modules(smolmath.answers.__path__):
        if module.name != "judge_worker":
            for value in vars(importlib.import_module(f"smolmath.answers.{module.name}")).values():
                if hasattr(value, "cache_clear") and getattr(value, "__name__", "") != "_square_root":
                    value.cache_clear()


def gsm8k(rows: int) -> list[Pair]:
    data = Path(os.environ.get("SMOLMATH_REAL_DATA", ROOT.parent / "shared" / "data")) / "gsm8k" / "test.jsonl"
    if data.exists():
        answers = [json.loads(line)["answer"] for line in data.read_text().splitlines()[:rows]]
        return [(answer, answer.split("####")[1].strip()) for answer in answers]
    print("no real GSM8K here: sums in its style")
    numbers = random.Random(0)
    sums = [(numbers.randint(2, 90), numbers.randint(2, 90), numbers.randint(2, 9)) for _ in range(rows)]
    return [
        (f"She has {a} + {b} = {a + b} eggs.\nThey bring {a + b} * {c} = {(a + b) * c} dollars.\n#### {(a + b) * c}",
         str((a + b) * c))
        for a, b, c in sums
    ]  # fmt: skip


def latex(rows: int) -> list[Pair]:
    cases = [json.loads(line) for line in (ROOT / "tests" / "answers" / "labelled.jsonl").read_text().splitlines()]
    chosen = [(case["completion"], case["reference"]) for case in cases if "\\" in case["reference"]]
    return random.Random(0).sample(chosen, min(rows, len(chosen)))


def grpo_batch(problems: list[Pair]) -> list[Pair]:
    """64 prompts, 16 completions each in the asked format: half right, most of the others the two usual mistakes."""
    choose = random.Random(0)
    pairs = []
    for worked, reference in problems[:64]:
        mistakes = [choose.choice(problems)[1], choose.choice(["7", "24", r"\frac{1}{3}", r"2\sqrt{3}", "x+2"])]
        reasoning = worked.split("####")[0].replace("\\boxed", "")[:400]
        for n in range(16):
            answer = reference if choose.random() < 0.5 else choose.choice(mistakes)
            text = f"<reasoning>\nWay {n}. {reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>"
            pairs.append((text, reference))
    return pairs


def scaling(rows: int) -> None:
    """The command with one worker and with one per core, where every row is a question for math-verify."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        lines = [
            json.dumps({"completion": rf"It is $\boxed{{\ln {n} + \ln 2}}$.", "reference": rf"\ln {2 * n}"}) + "\n"
            for n in range(3, 3 + rows)
        ]
        file.write_text("".join(lines))
        for workers in sorted({1, os.cpu_count() or 1}):
            command = [sys.executable, "-m", "smolmath.cli", "grade", str(file), "--workers", str(workers)]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds = time.perf_counter() - start
            print(f"smolmath grade, {workers} workers: {rows} symbolic answers in {seconds:.1f} s, start included")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    main(**vars(parser.parse_args()))
