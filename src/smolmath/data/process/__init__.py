"""From raw files to shards of problems: every row is kept, rejected with a reason, or counted as not selected.

Files are cut into pieces (pieces.py) that workers read, examine (examine.py) and spill (spills.py). What duplicates
are found by comes together here and is shared out by hash (merging.py); then workers write the shards (writing.py).
Each step is a function of its item alone, and items depend on the files alone: no byte depends on who does the work,
nor on how often a part of it had to be done again.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smolmath.data import tables
from smolmath.data.examine import REASONS, Examiner, Work
from smolmath.data.filters.overlap import OverlapIndex
from smolmath.data.layouts import Layout, choose_layout
from smolmath.data.problems import normalise_question
from smolmath.data.process.merging import Decision, Partitions
from smolmath.data.process.pieces import Piece, cut
from smolmath.data.process.spills import Examination, Spills
from smolmath.data.process.writing import Plan, write
from smolmath.errors import SmolmathError
from smolmath.params.datasets import DatasetParams
from smolmath.params.process import ProcessParams
from smolmath.records import PROBLEMS, REJECTED, read_batches, read_manifest, shards, write_manifest
from smolmath.running.progress import progress
from smolmath.running.workers import pool

WORTH_WORKERS = 10_000  # rows below which starting processes takes longer than the work


class EmptyDatasetError(SmolmathError):
    """Nothing was left after filtering."""


def process_dataset(
    key: str,
    raw: Path,
    out: Path,
    dataset: DatasetParams,
    params: ProcessParams,
    *,
    workers: int | None = 1,
    on: str = "local",
    state: Path | None = None,
    other: tuple[Path, DatasetParams] | None = None,
    seconds: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Write shards, rejected.parquet and manifest.json of one dataset; returns the manifest.

    Args:
        key: dataset key in params.yaml.
        raw: folder that fetch wrote.
        out: empty folder to write into.
        workers, on: as of `workers.pool`; no byte depends on them.
        state: folder of these inputs alone, in which a run that was killed has left what it had done; None: nothing
            is kept.
        other: raw folder and params of the dataset that contamination is looked for in.
        seconds: filled in, by activity.

    Raises: LayoutError, TableError for files that can't be read; EmptyDatasetError if no row is kept.
    """
    # What is evaluated comes first: of two near duplicates the one that may be trained on is dropped.
    order = {"test": 0, "validation": 1}
    files = [file | ({"side": "test"} if dataset.use == "test" else {}) for file in read_manifest(raw)["files"]]
    files.sort(key=lambda file: (order.get(file["side"], 2), file["path"]))
    rows = sum(file["rows"] for file in files)
    seconds = {} if seconds is None else seconds
    with _timed(seconds, "plan"):
        layouts = _layouts(key, raw, files, dataset, traces=params.trace != "solution")
        pieces = cut(raw, files, {name: layout.columns for name, layout in layouts.items()})
        examiner = Examiner(key, params, layouts, overlap=_overlap_index(params, other))
    if rows < WORTH_WORKERS:
        workers, on = 1, "local"
    with _spills(state, out, examiner.schema) as spills, pool(workers, on=on) as processes:
        if params.limit is not None:
            with _timed(seconds, "select"):
                draws = processes.map(Drawing(raw, examiner, params.limit), pieces)
                examiner = replace(examiner, thresholds=_limit_thresholds(draws, params.limit))
        with _timed(seconds, "examine"), progress(f"process {key}", rows, "rows") as advance:
            examined = Partitions(rows)
            for outcome in processes.map(Examination(raw, spills, examiner), pieces):
                examined.add(outcome)
                advance(outcome.rows)
        with _timed(seconds, "merge"):
            ends = np.cumsum([file["rows"] for file in files]).tolist()
            decision = Decision(
                [(file["side"], end) for file, end in zip(files, ends, strict=True)], params.near_duplicates
            )
            dropped = np.sort(np.concatenate([*processes.map(decision, examined)]), order="row")
        with _timed(seconds, "write"):
            plan = Plan(pieces, np.array(examined.rows), np.array(examined.problems), dropped)
            (rejected, reasons), *written = processes.map(partial(write, out, spills), plan.files(params.shard_rows))
            for left in out.glob(".*.part"):  # by a worker that died over it
                left.unlink()
    counts = {
        "raw": sum(examined.rows),
        "kept": sum(entry["rows"] for entry, _ in written),
        "rejected": rejected["rows"],
        "not_selected": examined.not_selected,
    }
    manifest: dict[str, Any] = {
        "dataset": key,
        "rows": counts,
        "rejected_by_reason": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
        "mended_latex": examined.mended,
        "with_reasoning": sum(facts["with_reasoning"] for _, facts in written),
        "layouts": {name: layout.name for name, layout in layouts.items()},
        "sides": {file["path"]: file["side"] for file in files},
        "files": [*(entry for entry, _ in written), rejected],
    }
    assert rows == sum(counts.values()) - counts["raw"] == counts["raw"], manifest
    if not counts["kept"]:
        raise EmptyDatasetError(_nothing_left(key, manifest, out / "rejected.parquet", state))
    write_manifest(out, manifest)
    return manifest


def _layouts(
    key: str, raw: Path, files: list[dict[str, Any]], dataset: DatasetParams, *, traces: bool
) -> dict[str, Layout]:
    return {
        file["path"]: choose_layout(
            tables.column_names(raw / file["path"]),
            name=dataset.layout,
            columns=dataset.columns,
            where=f"datasets.{key}: {file['path']}",
            traces=traces,
            more=tables.kind_of(raw / file["path"]) == ".jsonl",  # a row need not have every key
        )
        for file in files
    }


def _nothing_left(key: str, manifest: dict[str, Any], rejected: Path, state: Path | None) -> str:
    """What became of all rows, and of one of them; all are in a file that outlives the stage."""
    rows, counts = manifest["rows"], dict(manifest["rejected_by_reason"])
    if rows["not_selected"]:
        counts["not_selected"] = rows["not_selected"]
    what = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    message = f"datasets.{key}: none of {rows['raw']:,} rows is left ({what})."
    if rows["rejected"]:
        first = next(read_batches(rejected, REJECTED)).slice(0, 1).to_pylist()[0]
        message += " The first, {raw_file} row {raw_row}, is {reason}: {detail!r}.".format(**first)
    if state is not None:
        message += f" All are in {shutil.copyfile(rejected, state / rejected.name)}."
    return f"{message} Change `process`, or the dataset's layout or columns; `smolmath inspect` shows its rows."


@dataclass(frozen=True)
class Drawing:
    """The lowest draws of a piece, with its side; a first pass over the rows, only with a limit."""

    raw: Path
    examiner: Examiner
    limit: int

    def __call__(self, piece: Piece) -> tuple[str | None, npt.NDArray[np.float64]]:
        works = (Work(piece.file, piece.side, batch) for batch in piece.batches(self.raw))
        return piece.side, _lowest([self.examiner.draws(work) for work in works], self.limit)


def _limit_thresholds(
    draws: Iterable[tuple[str | None, npt.NDArray[np.float64]]], limit: int
) -> dict[str | None, float]:
    """For each side the draw of its `limit`-th lowest question."""
    lowest: dict[str | None, npt.NDArray[np.float64]] = {}
    for side, found in draws:
        lowest[side] = _lowest([lowest.get(side, found), found], limit)
    return {side: float(found[-1]) for side, found in lowest.items() if len(found)}


def _lowest(draws: list[npt.NDArray[np.float64]], limit: int) -> npt.NDArray[np.float64]:
    return np.unique(np.concatenate([np.empty(0), *draws]))[:limit]


def _overlap_index(params: ProcessParams, other: tuple[Path, DatasetParams] | None) -> OverlapIndex | None:
    """The n-grams of all of the other dataset: which of its rows `split` will hold out is not known here."""
    ngram = params.contamination.ngram
    if other is None or ngram is None:
        return None
    raw, dataset = other
    files = sorted(read_manifest(raw)["files"], key=lambda file: str(file["path"]))
    layouts = _layouts(params.contamination.dataset, raw, files, dataset, traces=False)
    questions = (
        (f"{params.contamination.dataset}, {file['path']} row {number}", normalise_question(question))
        for file in files
        for number, row, _ in tables.read_rows(raw / file["path"], layouts[file["path"]].columns)
        if row is not None
        and isinstance(question := layouts[file["path"]].read(row).question, str)
        and len(question) <= params.question_chars[1]
    )
    return OverlapIndex(ngram, questions)


@contextmanager
def _spills(state: Path | None, out: Path, schema: pa.Schema) -> Iterator[Spills]:
    with nullcontext(state) if state else TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        spills = Spills(Path(folder) / "pieces", schema)
        spills.folder.mkdir(parents=True, exist_ok=True)
        yield spills


@contextmanager
def _timed(seconds: dict[str, float], activity: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[activity] = round(time.monotonic() - started, 3)


def shown(manifest: dict[str, Any], out: Path) -> str:
    """What became of the rows, and the first three problems, for the terminal."""
    rows = manifest["rows"]
    lines = [f"{manifest['dataset']}: " + ", ".join(f"{rows[name]:,} {name.replace('_', ' ')}" for name in rows)]
    lines += [f"  rejected as {reason}: {count:,}" for reason, count in manifest["rejected_by_reason"].items()]
    if manifest["mended_latex"]:
        lines.append(f"  with LaTeX that JSON had read as escapes, mended: {manifest['mended_latex']:,}")
    lines.append(f"  with a worked solution: {manifest['with_reasoning']:,}")
    for problem in next(read_batches(shards(out)[0], PROBLEMS)).slice(0, 3).to_pylist():
        lines.append(f"  {problem['id']}")
        for name in ("question", "reasoning", "reference_answer"):
            text = " ".join(str(problem[name] or "–").split())
            lines.append(f"    {name.replace('_', ' '):16}  {text if len(text) <= 92 else text[:90] + ' …'}")
    return "\n".join(lines)
