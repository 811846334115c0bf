"""From raw files to shards of problems: every row is kept, rejected with a reason, or counted as not selected."""

import hashlib
import heapq
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.answers import is_verifiable
from smolmath.datasets import Layout, choose_layout
from smolmath.datasets.candidates import Candidate
from smolmath.errors import SmolmathError
from smolmath.params.datasets import Dataset
from smolmath.params.process import ProcessParams
from smolmath.problems import normalise_question, problem_id
from smolmath.progress import progress
from smolmath.records import PROBLEMS, REJECTED, read_manifest, write_manifest, write_table
from smolmath.tables import column_names, read_rows

# The closed list: a row is rejected for the first of these that fits.
REASONS = (
    "unreadable_row",
    "empty_question",
    "empty_answer",
    "question_too_long",
    "unverifiable_answer",
    "duplicate",
)


class EmptyDatasetError(SmolmathError):
    """Nothing was left after filtering."""


def process_dataset(key: str, raw: Path, out: Path, dataset: Dataset, params: ProcessParams) -> dict[str, Any]:
    """Write shards, rejected.parquet and manifest.json of one dataset; returns the manifest.

    Args: key: dataset key in params.yaml. raw: folder that fetch wrote. out: empty folder to write into.
    Raises: LayoutError, TableError for files that can't be read; EmptyDatasetError if no row is kept.
    """
    files = read_manifest(raw)["files"]
    layouts = {
        file["path"]: choose_layout(
            column_names(raw / file["path"]),
            name=dataset.layout,
            columns=dataset.columns,
            where=f"datasets.{key}: {file['path']}",
        )
        for file in files
    }
    thresholds = _limit_thresholds(raw, files, layouts, params)
    shards = _ShardWriter(out, params.shard_rows)
    rejected: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    seen: set[tuple[str | None, str]] = set()
    with progress(f"process {key}", sum(file["rows"] for file in files), "rows") as advance:
        for file in files:
            side, name, layout = file["side"], file["path"], layouts[file["path"]]
            for row_number, candidate, problem in _candidates(raw / name, layout):
                counts["raw"] += 1
                advance()
                if candidate is not None and not _selected(candidate, side, params.fraction, thresholds):
                    counts["not_selected"] += 1
                    continue
                row, reason, detail = _examine(key, candidate, problem, params)
                if row is not None and (side, row["id"]) in seen:
                    reason, detail = "duplicate", row["id"]
                if row is None or reason:
                    rejected.append({"raw_file": name, "raw_row": row_number, "reason": reason, "detail": detail})
                    continue
                seen.add((side, row["id"]))
                shards.add({**row, "raw_file": name, "raw_row": row_number})
    shards.close()
    write_table(out / "rejected.parquet", rejected, REJECTED)
    reasons = Counter(row["reason"] for row in rejected)
    manifest: dict[str, Any] = {
        "dataset": key,
        "rows": {
            "raw": counts["raw"],
            "kept": shards.rows,
            "rejected": len(rejected),
            "not_selected": counts["not_selected"],
        },
        "rejected_by_reason": {reason: reasons[reason] for reason in REASONS if reasons[reason]},
        "layouts": {name: layout.name for name, layout in layouts.items()},
        "sides": {file["path"]: file["side"] for file in files},
        "shards": shards.written,
    }
    assert counts["raw"] == shards.rows + len(rejected) + counts["not_selected"], manifest
    if not shards.rows:
        raise EmptyDatasetError(
            f"datasets.{key}: none of {counts['raw']} rows is left after filtering ({dict(reasons)}, "
            f"{counts['not_selected']} not selected). Change `process` or the dataset's layout."
        )
    write_manifest(out, manifest)
    return manifest


def _candidates(path: Path, layout: Layout) -> Iterator[tuple[int, Candidate | None, str]]:
    for number, row, problem in read_rows(path, layout.columns):
        yield number, None if row is None else layout.read(row), problem


def _examine(
    key: str, candidate: Candidate | None, problem: str, params: ProcessParams
) -> tuple[dict[str, Any] | None, str, str]:
    """(problem without its place, "", "") or (None, reason, detail)."""
    if candidate is None:
        return None, "unreadable_row", problem
    question, answer = _text(candidate.question), _text(candidate.reference_answer)
    if not question:
        return None, "empty_question", ""
    if not answer:
        return None, "empty_answer", ""
    if len(question) > params.max_question_chars:
        return None, "question_too_long", f"{len(question)} characters"
    if not is_verifiable(answer):
        return None, "unverifiable_answer", answer[:200]
    return (
        {
            "id": problem_id(question),
            "dataset": key,
            "question": question,
            "reference_answer": answer,
            "reasoning": _text(candidate.reasoning) or None,
            "source": _text(candidate.source) or None,
        },
        "",
        "",
    )


def _text(value: Any) -> str:
    """Trimmed text; numbers as written; nothing else is text. Lone surrogates, which can't be stored, are replaced."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).encode("utf-8", "replace").decode("utf-8").strip()


def _draw(question: Any) -> float:
    """A number in [0, 1) that hangs on the question alone, so that a larger fraction contains the smaller one."""
    digest = hashlib.sha256(f"select:{normalise_question(_text(question))}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _limit_thresholds(
    raw: Path, files: list[dict[str, Any]], layouts: dict[str, Layout], params: ProcessParams
) -> dict[str | None, float]:
    """For each side the draw of its `limit`-th lowest question; a first pass over the rows, only with a limit."""
    if params.limit is None:
        return {}
    draws: dict[str | None, set[float]] = {}
    for file in files:
        for _, candidate, _ in _candidates(raw / file["path"], layouts[file["path"]]):
            if candidate is not None and (u := _draw(candidate.question)) < params.fraction:
                draws.setdefault(file["side"], set()).add(u)
    return {side: max(heapq.nsmallest(params.limit, found)) for side, found in draws.items()}


def _selected(candidate: Candidate, side: str | None, fraction: float, thresholds: dict[str | None, float]) -> bool:
    if fraction == 1 and not thresholds:
        return True
    u = _draw(candidate.question)
    return u < fraction and u <= thresholds.get(side, 1.0)


class _ShardWriter:
    """Problems into shard-00000.parquet and on, `shard_rows` each, without holding more than one shard."""

    def __init__(self, out: Path, shard_rows: int) -> None:
        self.out, self.shard_rows, self.rows = out, shard_rows, 0
        self.written: list[dict[str, Any]] = []
        self._buffer: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._buffer.append(row)
        self.rows += 1
        if len(self._buffer) == self.shard_rows:
            self._flush()

    def close(self) -> None:
        if self._buffer:
            self._flush()

    def _flush(self) -> None:
        path = self.out / f"shard-{len(self.written):05d}.parquet"
        pq.write_table(pa.Table.from_pylist(self._buffer, schema=PROBLEMS), path, compression="zstd")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.written.append(
            {"file": path.name, "rows": len(self._buffer), "bytes": os.path.getsize(path), "sha256": digest}
        )
        self._buffer.clear()
