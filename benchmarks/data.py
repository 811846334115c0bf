"""process + split beside the plain `datasets` version of the same work: rows per second, and peak memory.

    python benchmarks/data.py --data FOLDER --rows 50000,200000 --contamination FOLDER   # parquet in OpenR1's columns
    python benchmarks/data.py --rows 2000                                                # makes its own small rows

The peer is what a notebook would write: load_dataset, map to question, reference answer and solution, filter what
math-verify cannot parse, drop repeated questions, train_test_split, to_parquet. `same steps` is ours with every filter
off that the peer lacks; `all filters` adds traces, near duplicates, contamination and the rest. Each runs as a process
of its own with two workers, imports included; memory is the sum of all its processes' proportional set sizes.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

WORKERS = 2
PART_ROWS = 10_000  # of a file of made-up rows
VARIANTS = ("peer", "same steps", "all filters")


def peer(files: list[Path], out: Path) -> int:
    """The plain version; returns the rows written."""
    import datasets
    from math_verify import parse

    datasets.disable_progress_bars()
    rows = datasets.load_dataset(
        "parquet",
        data_files=[str(file) for file in files],
        columns=["problem", "solution", "answer"],
        cache_dir=str(out / "cache"),
        split="train",
    )
    rows = rows.map(to_problem, remove_columns=rows.column_names, num_proc=WORKERS)
    rows = rows.filter(
        lambda row: bool(row["question"] and row["reference_answer"] and parse(f"${row['reference_answer']}$")),
        num_proc=WORKERS,
    )
    seen: set[str] = set()
    rows = rows.filter(lambda row: not (row["id"] in seen or seen.add(row["id"])))
    sides = rows.train_test_split(test_size=0.2, seed=0)
    held_out = sides["test"].train_test_split(test_size=0.5, seed=0)
    for name, side in (("train", sides["train"]), ("validation", held_out["train"]), ("test", held_out["test"])):
        side.to_parquet(out / f"{name}.parquet")
    return len(rows)


def to_problem(row: dict) -> dict:
    question, answer = (row["problem"] or "").strip(), (row["answer"] or "").strip()
    key = hashlib.sha256(" ".join(question.lower().split()).encode()).hexdigest()[:16]
    return {"id": key, "question": question, "reference_answer": answer, "reasoning": row["solution"]}


def ours(files: list[Path], out: Path, *, everything: bool, other: Path | None) -> int:
    """process and split as their stages call them; returns the rows kept."""
    from smolmath.data.split import split_dataset
    from smolmath.params.split import SplitParams

    manifest = processed(files, out, everything=everything, other=other, workers=WORKERS)
    (out / "split").mkdir()
    split_dataset(
        "bench", out / "processed", out / "split", ["bench"],
        SplitParams(seed=0, validation_fraction=0.1, test_fraction=0.1),
    )  # fmt: skip
    return int(manifest["rows"]["kept"])


def processed(
    files: list[Path], out: Path, *, everything: bool, other: Path | None, shard_rows: int = 50_000, **how: Any
) -> dict[str, Any]:
    """process as its stage calls it, into out/processed/bench; returns the manifest.

    Args: everything: every filter, or those alone that the peer has too. how: workers and more, as `process_dataset`.
    """
    from smolmath.data.process import process_dataset
    from smolmath.data.tables import count_rows
    from smolmath.params.datasets import FilesDataset
    from smolmath.params.process import ContaminationParams, ProcessParams
    from smolmath.records import write_manifest

    params = ProcessParams(
        shard_rows=shard_rows,
        fraction=1.0,
        limit=None,
        trace="shortest" if everything else "solution",
        max_row_chars=500_000 if everything else 10**9,
        question_chars=[1, 4_000 if everything else 10**9],
        max_question_tokens=512 if everything else None,
        tokenizer=str(Path(__file__).parent.parent / "bases" / "calc" / "tokenizer.json"),
        control_characters="reject",
        mojibake="reject" if everything else "keep",
        scripts=["LATIN", "GREEK"] if everything else None,
        multiple_choice="resolve" if everything else "keep",
        near_duplicates=0.8 if everything else None,
        contamination=ContaminationParams(dataset="other", ngram=13 if everything else None, share=0.8),
    )
    dataset = FilesDataset(source="files", path="raw")
    raw, made = out / "raw", out / "processed" / "bench"
    raw.mkdir(parents=True)
    made.mkdir(parents=True)
    for file in files:
        (raw / file.name).symlink_to(file.resolve())
    write_manifest(raw, {"files": [{"path": f.name, "side": None, "rows": count_rows(f)} for f in files]})
    return process_dataset("bench", raw, made, dataset, params, other=(other, dataset) if other else None, **how)


def contaminating(folder: Path, out: Path) -> Path:
    """`folder`/test.jsonl (GSM8K's test side) as a raw dataset, if it is there; else one made-up problem."""
    out.mkdir(parents=True)
    rows = folder / "test.jsonl"
    if rows.is_file():
        shutil.copyfile(rows, out / "test.jsonl")
    else:
        (out / "test.jsonl").write_text('{"question": "What is one and one?", "answer": "#### 2"}\n', encoding="utf-8")
    count = (out / "test.jsonl").read_text(encoding="utf-8").count("\n")
    (out / "manifest.json").write_text(json.dumps({"files": [{"path": "test.jsonl", "side": "test", "rows": count}]}))
    return out


def small_rows(folder: Path, rows: int) -> Path:
    """Parquet in the columns of OpenR1: sums with a solution and two generations."""
    rng = random.Random(0)
    folder.mkdir()
    for first in range(0, rows, PART_ROWS):
        part = [small_row(number, rng) for number in range(first, min(first + PART_ROWS, rows))]
        name = f"part-{first // PART_ROWS:03d}.parquet"
        pq.write_table(pa.Table.from_pylist(part), folder / name, row_group_size=1000)
    return folder


def small_row(number: int, rng: random.Random) -> dict:
    a, b = rng.randint(10, 10**6), rng.randint(10, 10**6)
    think = f"<think>\n{'Let me add these. ' * rng.randint(20, 200)}\n</think>\n\n\\boxed{{{a + b}}}"
    return {
        "problem": f"Problem {number}: what is ${a} + {b}$?",
        "solution": f"${a} + {b} = {a + b}$",
        "answer": str(a + b),
        "generations": [think, think + " "],
        "correctness_math_verify": [True, True],
    }


def measured(variant: str, data: Path, rows: int, contamination: Path) -> tuple[float, float, int]:
    """(seconds, peak MB over all processes, rows kept) of one run in a process of its own."""
    with tempfile.TemporaryDirectory(dir=data.parent) as scratch:
        command = [sys.executable, __file__, "--data", str(data), "--rows", str(rows), "--variant", variant]
        command += ["--scratch", scratch, "--contamination", str(contamination)]
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": scratch, "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent / "src")
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(process.pid, peak))
        watcher.start()
        said, errors = process.communicate()
        seconds = time.perf_counter() - started
        watcher.join()
        if process.returncode:
            raise SystemExit(f"{variant} failed:\n{errors[-3000:]}")
        return seconds, peak[0], int(said.split()[-1])


def watch(pid: int, peak: list[float]) -> None:
    """Largest sum of the proportional set sizes of a process and its children, in MB, looked at ten times a second."""
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for process in [root, *root.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:  # ended between the two calls
                    continue
            peak[0] = max(peak[0], total / 1e6)
            time.sleep(0.1)
    except psutil.NoSuchProcess:
        return


def chosen(data: Path, rows: int) -> list[Path]:
    """The folder's files from the first on, until they hold `rows` rows."""
    files, have = [], 0
    for file in sorted(data.glob("*.parquet")):
        if have < rows:
            files.append(file)
            have += pq.read_metadata(file).num_rows
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of parquet in OpenR1's columns; made up if not given")
    parser.add_argument(
        "--rows", default="50000,200000", help="of each table; the second shows how time and memory grow"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contamination", type=Path, default=Path("nowhere"), help="folder that holds a test.jsonl")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        files = chosen(options.data, int(options.rows))
        if options.variant == "peer":
            print(peer(files, options.scratch))
        else:
            everything = options.variant == "all filters"
            other = contaminating(options.contamination, options.scratch / "other") if everything else None
            print(ours(files, options.scratch, everything=everything, other=other))
        return
    counts = [int(rows) for rows in options.rows.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or small_rows(Path(scratch) / "data", max(counts))
        for count in counts:
            table(data, count, options.variants.split(","), options.rounds, options.contamination)


def table(data: Path, count: int, variants: list[str], rounds: int, contamination: Path) -> None:
    """Every variant in turns, so that a slow minute of the machine falls on all of them."""
    rows = sum(pq.read_metadata(file).num_rows for file in chosen(data, count))
    runs: dict[str, list[tuple[float, float, int]]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            runs[variant].append(measured(variant, data, count, contamination))
    print(f"{rows:,} rows, {WORKERS} worker processes, medians of {rounds}")
    print(f"{'':14}{'seconds':>9}{'rows/s':>10}{'ratio':>8}{'peak MB':>9}{'kept':>10}")
    base = statistics.median(seconds for seconds, _, _ in runs[variants[0]])
    for variant in variants:
        seconds = statistics.median(run[0] for run in runs[variant])
        peak = statistics.median(run[1] for run in runs[variant])
        kept = runs[variant][0][2]
        print(
            f"{variant:14}{seconds:9.1f}{rows / seconds:10,.0f}{base / seconds:8.1f}{peak:9.0f}{kept:10,}", flush=True
        )


if __name__ == "__main__":
    main()
