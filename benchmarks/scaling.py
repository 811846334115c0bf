"""From one worker to two, and what a row costs: rows per second, and a model that predicts larger runs.

    python benchmarks/scaling.py process --data FOLDER --verify 225129     # parquet in OpenR1's columns
    python benchmarks/scaling.py process --ray                             # on Ray too; makes its own rows

Each activity is run at the given sizes with one worker and with two, each run in a process of its own, imports
included. Of the runs with one worker every part of the work is fitted by a line, seconds = start + rows × cost. With
N workers a run takes start + rows × cost / N, what starting two takes being what is left of their runs: short runs
give no slope of their own, because their last pieces leave a worker idle. `--verify ROWS` runs so many and says how
far off the prediction was. With more than one round the runs take turns, so that a slow minute of the machine falls
on all of them, and medians count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from data import chosen, contaminating, processed, small_rows

PREDICTED = 225_129  # rows of OpenR1-Math-220k, config `all`
SHARD_ROWS = 5_000
Parts = dict[str, float]  # seconds by part of the work


@dataclass(frozen=True)
class Load:
    """One run of an activity."""

    workers: int
    on: str  # local or ray
    data: Path  # the rows to work on
    scratch: Path  # an empty folder


def process(load: Load) -> Parts:
    """The stage `process` with every filter, contamination by GSM8K's or a made-up problem included."""
    import smolmath.data.process

    smolmath.data.process.WORTH_WORKERS = 0  # so that small sizes are shared out as well
    seconds: Parts = {}
    other = contaminating(load.data, load.scratch / "other")
    how = {"workers": load.workers, "on": load.on, "state": load.scratch / "state", "seconds": seconds}
    # Small shards: a small run too has several to share out, as a large one has of the usual 50,000 rows.
    processed(
        sorted(load.data.glob("*.parquet")), load.scratch, everything=True, other=other, shard_rows=SHARD_ROWS, **how
    )
    return seconds


def first_rows(data: Path, rows: int, folder: Path) -> Path:
    """A folder with the first rows of the parquet files of `data`: the same files, but the last one cut off."""
    folder.mkdir(parents=True)
    left = rows
    for file in chosen(data, rows):
        if (held := pq.read_metadata(file).num_rows) <= left:
            (folder / file.name).symlink_to(file.resolve())
        else:
            table = pq.ParquetFile(file)
            with pq.ParquetWriter(folder / file.name, table.schema_arrow) as writer:
                cut = left
                for batch in table.iter_batches(1000):
                    writer.write_batch(batch.slice(0, cut))
                    if (cut := cut - batch.num_rows) <= 0:
                        break
        left -= held
    if left > 0:
        raise SystemExit(f"{data} holds {rows - left:,} rows, {rows:,} were asked for.")
    if (data / "test.jsonl").is_file():
        (folder / "test.jsonl").symlink_to((data / "test.jsonl").resolve())
    return folder


@dataclass(frozen=True)
class Activity:
    """Something that is shared out among workers."""

    run: Callable[[Load], Parts]
    take: Callable[[Path, int, Path], Path]  # (data, rows, folder to make) -> a folder with so many of them
    make: Callable[[Path, int], Path]  # a folder with so many made-up rows


ACTIVITIES = {"process": Activity(process, first_rows, small_rows)}


def measured(activity: str, load: Load) -> Parts:
    """Seconds by part of one run in a process of its own; `rest` is its imports and its end."""
    with tempfile.TemporaryDirectory(dir=load.scratch) as scratch:
        command = [sys.executable, __file__, activity, "--data", str(load.data), "--scratch", scratch]
        command += ["--once", f"{load.workers},{load.on}"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent / "src")}
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{activity} on {load} failed:\n{done.stderr[-3000:]}")
        parts: Parts = json.loads(done.stdout.splitlines()[-1])
        return parts | {"rest": seconds - sum(parts.values())}


def fitted(runs: dict[int, list[Parts]]) -> dict[str, tuple[float, float]]:
    """(seconds per row, seconds to start) of every part: a line through its medians. Args: runs: by rows."""
    names = {name for several in runs.values() for parts in several for name in parts}
    medians = {n: [statistics.median(p.get(n, 0.0) for p in several) for several in runs.values()] for n in names}
    lines = {name: np.polyfit(list(runs), seconds, 1) for name, seconds in medians.items()}
    return {name: (float(slope), float(start)) for name, (slope, start) in lines.items()}


def total(several: list[Parts]) -> float:
    return statistics.median(sum(parts.values()) for parts in several)


def report(
    name: str, on: str, sizes: Sequence[int], rounds: int, data: Path, verify: int | None, scratch: Path
) -> None:
    """Measure one activity and print its table, its model and how well the model predicts."""
    folders = {rows: ACTIVITIES[name].take(data, rows, scratch / on / str(rows)) for rows in sizes}
    runs: dict[int, dict[int, list[Parts]]] = defaultdict(lambda: defaultdict(list))  # workers -> rows -> runs
    for _ in range(rounds):
        for rows, folder in folders.items():
            for workers in (1, 2):
                runs[workers][rows].append(measured(name, Load(workers, on, folder, scratch)))
    print(f"{name} ({on}), medians of {rounds}")
    print(f"{'rows':>10}{'1 worker: s':>14}{'rows/s':>9}{'2 workers: s':>15}{'rows/s':>9}{'1 → 2':>8}")
    for rows in sizes:
        one, two = (total(runs[workers][rows]) for workers in (1, 2))
        print(f"{rows:10,}{one:14.1f}{rows / one:9,.0f}{two:15.1f}{rows / two:9,.0f}{one / two:7.2f}×")
    lines = fitted(runs[1])
    print(f"\n{'with 1 worker':14}{'to start: s':>13}{'a row: ms':>11}")
    for part, (slope, start) in sorted(lines.items(), key=lambda line: -line[1][0]):
        print(f"{part:14}{start:13.2f}{1000 * slope:11.4f}")
    cost = sum(slope for slope, _ in lines.values())
    start = statistics.median(total(runs[2][rows]) - rows * cost / 2 for rows in sizes)
    print(f"with 2 workers: seconds = {start:.1f} + rows × {1000 * cost:.3f} ms / 2")
    predicted = start + (verify or PREDICTED) * cost / 2
    print(f"predicted for {verify or PREDICTED:,} rows with 2 workers: {predicted:.0f} s", flush=True)
    if verify:
        folder = ACTIVITIES[name].take(data, verify, scratch / on / "verify")
        one, two = (total([measured(name, Load(workers, on, folder, scratch))]) for workers in (1, 2))
        print(f"measured: {two:.0f} s, the prediction is {predicted / two - 1:+.0%} off")
        print(f"with 1 worker: {one:.0f} s, 1 → 2: {one / two:.2f}×", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("activities", nargs="*", help=f"of {', '.join(ACTIVITIES)}; all if none is named")
    parser.add_argument("--data", type=Path, help="folder of rows for the activity; made up if not given")
    parser.add_argument("--rows", default="20000,60000", help="sizes that the model is fitted to")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--verify", type=int, metavar="ROWS", help="run so many, against the prediction")
    parser.add_argument("--ray", action="store_true", help="on Ray too")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.activities) - set(ACTIVITIES):
        parser.error(f"no activity is called {', '.join(sorted(unknown))}. There are: {', '.join(ACTIVITIES)}.")
    names = options.activities or list(ACTIVITIES)
    if options.once:
        workers, on = options.once.split(",")
        load = Load(int(workers), on, options.data, options.scratch)
        print(json.dumps(ACTIVITIES[names[0]].run(load)))
        return
    sizes = sorted({int(rows) for rows in options.rows.split(",")})
    if len(sizes) < 2:
        parser.error("--rows names one size, and a line takes two.")
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            made = Path(scratch) / name
            data = options.data or ACTIVITIES[name].make(made, max([*sizes, options.verify or 0]))
            for on in ("local", "ray") if options.ray else ("local",):
                report(name, on, sizes, options.rounds, data, options.verify, Path(scratch) / f"{name}-runs")


if __name__ == "__main__":
    main()
