"""Grading and generation in one process and in several: speed, start-up, and a cost model held against a longer run.

    python benchmarks/scaling_evaluation.py                            # 1 and 2 of each, five minutes on two cores
    python benchmarks/scaling_evaluation.py --rows 400 --problems 32   # a smoke run

Grading: `grade_completions` over groups of five completions in a worked text, of integers and formulas of five kinds
in turn, no two problems alike. Generation: `generate_batches` of the shipped base on sums, sampled as the demo has it,
a CPU thread for each engine: 1 → 2 engines is 1 → 2 cores. Every run is a process of its own.

The model is seconds = start + completions × c / processes. Start and c come from the runs with the most processes, and
predict one of three times the size. c depends on the length of prompts and completions: measure it on a few hundred
problems of one's own with the real model, then multiply.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LONGER = 3  # times the size: the run that is predicted
SAMPLES = 5  # completions of a problem that are graded


@dataclass(frozen=True)
class Run:
    """One measured run; times in seconds."""

    completions: int
    seconds: float  # from the call to its return
    start: float  # of them, until all processes can work
    tokens: int = 0  # of the completions that were generated


def grading(rows: int, workers: int) -> float:
    """Seconds to grade so many completions in so many processes, their start included."""
    return measured("grading", rows, workers).seconds


def evaluation(problems: int, engines: int) -> float:
    """Seconds to answer so many problems with so many engines, their start included."""
    return measured("evaluation", problems, engines).seconds


def measured(kind: str, size: int, processes: int) -> Run:
    """A run in a fresh process: what one has memorised is no help to the next."""
    command = [sys.executable, __file__, "--measure", kind, str(size), str(processes)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=True, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def main(options: argparse.Namespace) -> None:
    for kind, unit, size in (("grading", "workers", options.rows), ("evaluation", "engines", options.problems)):
        runs = {count: measured(kind, size, count) for count in options.counts}
        print(f"\n| {kind}: {unit} | completions | start, s | s | completions/s after the start | ratio |")
        print("|---|---|---|---|---|---|")
        speeds = {count: run.completions / (run.seconds - run.start) for count, run in runs.items()}
        for count, run in runs.items():
            ratio = speeds[count] / speeds[options.counts[0]]
            figures = f"{run.completions:,} | {run.start:.1f} | {run.seconds:.1f} | {speeds[count]:.1f} | {ratio:.2f}×"
            print(f"| {count} | {figures} |")
        most = options.counts[-1]
        cost = most / speeds[most]
        longer = measured(kind, LONGER * size, most)
        predicted = runs[most].start + longer.completions * cost / most
        print(f"\nseconds = {runs[most].start:.1f} + completions × {1000 * cost:.2f} ms / {unit}")
        if tokens := runs[most].tokens:
            print(f"(completions of {tokens / runs[most].completions:.0f} tokens in the mean)")
        print(
            f"{longer.completions:,} completions, {most} {unit}: predicted {predicted:.1f} s, measured "
            f"{longer.seconds:.1f} s ({predicted / longer.seconds - 1:+.0%})",
            flush=True,
        )


# From here on: what runs in the measured processes.


def measure_grading(rows: int, workers: int) -> Run:
    import smolmath.evaluation.judging as evaluation
    from smolmath.tags import DEFAULT_TAGS

    problems, completions = graded_rows(rows)
    evaluation.WORTH_WORKERS = 0
    evaluation.CHUNK = chunk = min(evaluation.CHUNK, rows // 20)
    came: list[float] = []

    @contextmanager
    def progress(*_: Any) -> Iterator[Any]:
        yield lambda n: came.append(time.perf_counter() - began)

    evaluation.progress = progress  # type: ignore[assignment]
    began = time.perf_counter()
    evaluation.grade_completions(completions, problems, DEFAULT_TAGS, workers=workers)
    seconds = time.perf_counter() - began
    # The first result comes after the start (processes, imports, a judge in each) and one chunk's work; the others
    # have then done theirs.
    work_of_chunk = (seconds - came[0]) * workers * chunk / (rows - workers * chunk)
    return Run(rows, seconds, came[0] - work_of_chunk)


def graded_rows(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Problems and `count` completions; right, wrong, and right in another form."""
    choose = random.Random(0)
    problems, completions = [], []
    for number, (reference, same, wrong) in enumerate(_answers(count // SAMPLES, choose)):
        problem = f"{number:016x}"
        worked = f"Step by step: 3 * {number} = {3 * number}, and {number} + 4 = {number + 4}.\n" * 6
        problems.append({"id": problem, "question": "What is it?", "reference_answer": reference, "reasoning": worked})
        for sample in range(SAMPLES):
            answer = choose.choice([reference, same, wrong, str(choose.randint(2, 9))])
            completions.append(
                {
                    "problem_id": problem,
                    "sample": sample,
                    "prompt": "",
                    "completion": f"<reasoning>\n{worked}</reasoning>\n<answer>\n{answer}\n</answer>",
                    "finish_reason": "stop",
                    "tokens": 100,
                }
            )
    return problems, completions


def _answers(count: int, choose: random.Random) -> Iterator[tuple[str, str, str]]:
    """(reference answer, the same in other words, a wrong one)."""
    for number in range(count):
        a, b = number + 2, choose.randint(2, 99)
        yield (
            (str(a * b), f"{a * b}.0", str(a * b + 1)),
            (rf"\frac{{{a}}}{{{b}}}", f"{a}/{b}", f"{b}/{a}"),
            (str(a + b), rf"\boxed{{{a + b}}}", str(a - b)),
            (rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b}}}", rf"{b}\sqrt{{{a}}}"),
            (str(b * b), f"${b * b}$", str(b)),
            (rf"x^2 + {a + b}x + {a * b}", f"(x+{a})(x+{b})", f"(x+{a})(x-{b})"),
            (str(7 * a), f"{7 * a} apples", str(7 * a + 2)),
            (rf"\left({a}, {b}\right]", rf"{a} < x \le {b}", rf"\left[{a}, {b}\right]"),
            (str(3 * b), f"{3 * b}", str(2 * b)),
            (rf"\ln {a * b}", rf"\ln {a} + \ln {b}", rf"\ln {a + b}"),
        )[number % 10]


def measure_evaluation(problems: int, engines: int) -> Run:
    from benchmarks.evaluation import read_problems

    import smolmath.kernels  # noqa: F401  # before torch
    from smolmath.engines.transformers import ChatReader, load_tokenizer
    from smolmath.evaluation.generation import generate_batches, read_completions
    from smolmath.evaluation.several import SeveralEngines
    from smolmath.params.core import load_section, read_params
    from smolmath.params.evaluate import SamplingParams
    from smolmath.params.prompt import PromptParams
    from smolmath.running.params import HardwareParams

    params = read_params(ROOT / "recipes" / "demo.yaml")
    box = {"device": "cpu", "engine": "transformers", "engines": engines, "threads": engines}
    hardware = load_section(params, "hardware", HardwareParams).model_copy(update=box)
    asked = [{"id": f"{i:016x}", "question": row["question"]} for i, row in enumerate(read_problems(None, problems))]
    with tempfile.TemporaryDirectory(prefix="smolmath-scaling-") as scratch:
        state, loaded = Path(scratch, "state"), Path(scratch, "loaded")
        loaded.mkdir()
        model = ROOT / "bases" / "calc"
        load = partial(load_noting, loaded, model)
        began = time.time()
        reads = ChatReader(load_tokenizer(model)) if engines > 1 else None
        engine = load(hardware=hardware) if reads is None else SeveralEngines(load, reads, hardware)
        batches = generate_batches(
            engine,
            asked,
            prompt=load_section(params, "prompt", PromptParams),
            sampling=load_section(params, "evaluate.sampling", SamplingParams),
            seed=1,
            state=state,
            what=f"{engines} engines",
        )
        seconds = time.time() - began
        start = max(float(path.read_text()) for path in loaded.iterdir()) - began
        rows = read_completions(batches)
    return Run(len(rows), seconds, start, sum(row["tokens"] for row in rows))


def load_noting(folder: Path, model: Path, *, hardware: Any) -> Any:
    """The engine; notes when it was ready."""
    from smolmath.engines import load_engine

    engine = load_engine(model, dtype="float32", hardware=hardware)
    (folder / str(os.getpid())).write_text(str(time.time()))
    return engine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="completions to grade")
    parser.add_argument("--problems", type=int, default=768, help="problems to answer, five completions each")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2], help="processes, the most last")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        kind, size, processes = chosen.measure
        measure = {"grading": measure_grading, "evaluation": measure_evaluation}[kind]
        print(json.dumps(asdict(measure(int(size), int(processes)))))
    else:
        main(chosen)
