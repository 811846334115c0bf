"""From raw files to shards of problems: every row is kept, rejected with a reason, or counted as not selected.

One process reads the files in batches, worker processes examine them (examine.py), and here, where all rows pass in
order, duplicates are found and the rest is written. Batches, order and bytes depend on the files alone, not on how
many workers there are; memory holds a few batches and the keys of what was seen.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smolmath import tables
from smolmath.datasets import Layout, choose_layout
from smolmath.errors import SmolmathError
from smolmath.examine import DETAIL_CHARS, REASONS, TRAINED_ON, Examined, Examiner, Rejection, Work, storable
from smolmath.filters.duplicates import FirstSeen, NearDuplicates
from smolmath.filters.overlap import OverlapIndex
from smolmath.params.datasets import DatasetParams
from smolmath.params.process import ProcessParams
from smolmath.problems import normalise_question
from smolmath.progress import progress
from smolmath.records import (
    PROBLEMS,
    REJECTED,
    ShardWriter,
    TableWriter,
    read_batches,
    read_manifest,
    shards,
    write_manifest,
)
from smolmath.workers import ordered_map

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
    workers: int = 1,
    other: tuple[Path, DatasetParams] | None = None,
) -> dict[str, Any]:
    """Write shards, rejected.parquet and manifest.json of one dataset; returns the manifest.

    Args: key: dataset key in params.yaml. raw: folder that fetch wrote. out: empty folder to write into. workers:
    processes; no byte hangs on them. other: raw folder and params of the dataset that contamination is looked for in.
    Raises: LayoutError, TableError for files that can't be read; EmptyDatasetError if no row is kept.
    """
    # What is evaluated comes first: of two near duplicates the one that may be trained on is dropped.
    order = {"test": 0, "validation": 1}
    files = sorted(read_manifest(raw)["files"], key=lambda file: (order.get(file["side"], 2), file["path"]))
    layouts = _layouts(key, raw, files, dataset, traces=params.trace != "solution")
    rows = sum(file["rows"] for file in files)
    workers = workers if rows >= WORTH_WORKERS else 1
    examiner = Examiner(key, params, layouts, overlap=_overlap_index(params, other))
    if params.limit is not None:
        works = _works(raw, files, layouts)
        examiner = replace(examiner, thresholds=_limit_thresholds(examiner, works, params.limit, workers))
    merger = _Merger(out, params.shard_rows, files, params.near_duplicates)
    with progress(f"process {key}", rows, "rows") as advance:
        for examined in ordered_map(examiner, _works(raw, files, layouts), workers=workers):
            merger.add(examined)
            advance(examined.rows)
    merger.close()
    manifest: dict[str, Any] = {
        "dataset": key,
        "rows": merger.counts,
        "rejected_by_reason": {reason: merger.reasons[reason] for reason in REASONS if merger.reasons[reason]},
        "with_reasoning": merger.with_reasoning,
        "layouts": {name: layout.name for name, layout in layouts.items()},
        "sides": {file["path"]: file["side"] for file in files},
        "files": merger.written,
    }
    assert rows == sum(merger.counts.values()) - merger.counts["raw"] == merger.counts["raw"], manifest
    if not merger.counts["kept"]:
        raise EmptyDatasetError(
            f"datasets.{key}: none of {rows} rows is left after filtering ({manifest['rejected_by_reason']}, "
            f"{merger.counts['not_selected']} not selected). Change `process` or the dataset's layout."
        )
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


def _works(raw: Path, files: list[dict[str, Any]], layouts: Mapping[str, Layout]) -> Iterator[Work]:
    for file in files:
        for batch in tables.read_batches(raw / file["path"], layouts[file["path"]].columns):
            yield Work(file["path"], file["side"], batch)


def _limit_thresholds(examiner: Examiner, works: Iterator[Work], limit: int, workers: int) -> dict[str | None, float]:
    """For each side the draw of its `limit`-th lowest question; a first pass over the rows, only with a limit."""
    lowest: dict[str | None, npt.NDArray[np.float64]] = {}
    for side, draws in ordered_map(examiner.draws, works, workers=workers):
        lowest[side] = np.unique(np.concatenate([lowest.get(side, np.empty(0)), draws]))[:limit]
    return {side: float(draws[-1]) for side, draws in lowest.items() if len(draws)}


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


class _Merger:
    """All examined rows in order: finds duplicates, writes what is kept and what is rejected, and counts."""

    def __init__(self, out: Path, shard_rows: int, files: list[dict[str, Any]], near_duplicates: float | None) -> None:
        self.shards = ShardWriter(out, PROBLEMS, shard_rows)
        self.counts = {"raw": 0, "kept": 0, "rejected": 0, "not_selected": 0}
        self.reasons: Counter[str] = Counter()
        self.with_reasoning = 0
        self._names = [file["path"] for file in files]
        self._starts = np.cumsum([0, *(file["rows"] for file in files)])
        self._rejected = TableWriter(out / "rejected.parquet", REJECTED)
        self._seen: dict[str | None, FirstSeen] = {}
        self._near = None if near_duplicates is None else NearDuplicates(int(self._starts[-1]), near_duplicates)

    def add(self, examined: Examined) -> None:
        numbers = examined.problems["raw_row"].to_numpy()
        places = (numbers + self._starts[self._names.index(examined.file)]).astype(np.uint32)
        same = self._seen.setdefault(examined.side, FirstSeen()).add(examined.ids, places)
        near = np.full(len(same), -1)
        if self._near is not None and examined.near is not None:
            near[same < 0] = self._near.add(
                examined.near[same < 0], places[same < 0], droppable=examined.side in TRAINED_ON
            )
        doubled = (same >= 0) | (near >= 0)
        rejected = list(examined.rejected)
        for index in np.flatnonzero(doubled):
            reason, of = ("duplicate", same[index]) if same[index] >= 0 else ("near_duplicate", near[index])
            rejected.append((int(numbers[index]), reason, f"of {self._place(of)}"))
        kept = examined.problems.filter(pa.array(~doubled))
        self.shards.add(kept)
        self._write_rejected(examined.file, sorted(rejected))
        self.with_reasoning += kept.num_rows - kept["reasoning"].null_count
        self.counts["raw"] += examined.rows
        self.counts["kept"] += kept.num_rows
        self.counts["rejected"] += len(rejected)
        self.counts["not_selected"] += examined.not_selected

    def _place(self, row: int) -> str:
        file = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"{self._names[file]} row {row - self._starts[file]}"

    def close(self) -> None:
        self.shards.close()
        self._rejected.close()

    @property
    def written(self) -> list[dict[str, Any]]:
        return [*self.shards.written, self._rejected.entry()]

    def _write_rejected(self, file: str, rejected: list[Rejection]) -> None:
        self.reasons.update(reason for _, reason, _ in rejected)
        columns = {
            "raw_file": [file] * len(rejected),
            "raw_row": [number for number, _, _ in rejected],
            "reason": [reason for _, reason, _ in rejected],
            "detail": [storable(detail[:DETAIL_CHARS]) for _, _, detail in rejected],
        }
        self._rejected.add(pa.RecordBatch.from_pydict(columns, schema=REJECTED))


def shown(manifest: dict[str, Any], out: Path) -> str:
    """What became of the rows, and the first three problems, for the terminal."""
    rows = manifest["rows"]
    lines = [f"{manifest['dataset']}: " + ", ".join(f"{rows[name]:,} {name.replace('_', ' ')}" for name in rows)]
    lines += [f"  rejected as {reason}: {count:,}" for reason, count in manifest["rejected_by_reason"].items()]
    lines.append(f"  with a worked solution: {manifest['with_reasoning']:,}")
    for problem in next(read_batches(shards(out)[0], PROBLEMS)).slice(0, 3).to_pylist():
        lines.append(f"  {problem['id']}")
        for name in ("question", "reasoning", "reference_answer"):
            text = " ".join(str(problem[name] or "–").split())
            lines.append(f"    {name.replace('_', ' '):16}  {text if len(text) <= 92 else text[:90] + ' …'}")
    return "\n".join(lines)
