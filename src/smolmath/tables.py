"""Rows of raw data files: parquet, jsonl (also .json lines) and csv, plain or gzipped.

A row that cannot be read is given back as such, to be rejected with its reason; a file that is not what its name says
is an error, since half a file read in silence would be a silent loss.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.errors import SmolmathError

KINDS = (".parquet", ".jsonl", ".json", ".csv")


class TableError(SmolmathError):
    """A data file that is no table, or not the table that was asked for."""


def kind_of(path: Path) -> str:
    """`.parquet`, `.jsonl` or `.csv`, by name without `.gz`. Raises: TableError."""
    suffixes = [s for s in path.suffixes if s in KINDS]
    if not suffixes or path.suffix not in (*KINDS, ".gz"):
        raise TableError(
            f"{path}: not a data file that smolmath reads. It takes .parquet, .jsonl and .csv, also with .gz."
        )
    return ".jsonl" if suffixes[-1] == ".json" else suffixes[-1]


def column_names(path: Path) -> list[str]:
    """The columns of a file; of jsonl, the keys of its first row. Raises: TableError if it is unreadable or empty."""
    kind = kind_of(path)
    if kind == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    with _text(path) as lines:
        if kind == ".csv":
            header = next(csv.reader(lines), [])
            if not header:
                raise TableError(f"{path}: the file is empty.")
            return header
        first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise TableError(f"{path}: the file is empty.")
    try:
        row = json.loads(first)
    except json.JSONDecodeError as error:
        raise TableError(f"{path}:1: not JSON lines ({error.msg}). Each line must hold one JSON object.") from None
    if not isinstance(row, dict):
        raise TableError(f"{path}:1: a {type(row).__name__}, not an object. Each line must hold one JSON object.")
    return list(row)


def count_rows(path: Path) -> int:
    """Rows in the file, unreadable ones counted."""
    if kind_of(path) == ".parquet":
        return int(_parquet(path).metadata.num_rows)
    if kind_of(path) == ".jsonl":  # a row a line, which need not be parsed to be counted
        with _text(path) as lines:
            return sum(bool(line.strip()) for line in lines)
    return sum(1 for _ in read_rows(path, None))


def read_rows(path: Path, columns: Sequence[str] | None) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """(row number from 0, row, "") of every row; row None and the reason where it can't be read.

    Args: columns: those to read, null where a row lacks one; None: all.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        number = 0
        for batch in _parquet(path).iter_batches(1024, columns=None if columns is None else list(columns)):
            for row in batch.to_pylist():
                yield number, row, ""
                number += 1
        return
    reader = _csv_rows if kind == ".csv" else _json_rows
    for number, (row, problem) in enumerate(reader(path)):
        if row is not None and columns is not None:
            row = {name: row.get(name) for name in columns}
        yield number, row, problem


def _json_rows(path: Path) -> Iterator[tuple[dict[str, Any] | None, str]]:
    with _text(path) as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                line.encode()  # a byte that is no UTF-8 was read as a lone surrogate
                row = json.loads(line)
            except UnicodeEncodeError:
                yield None, "invalid UTF-8"
            except json.JSONDecodeError as error:
                yield None, f"not JSON: {error.msg} at column {error.colno}"
            except RecursionError:
                yield None, "not JSON: nested too deeply"
            except ValueError as error:  # a number of more digits than Python reads
                yield None, f"not readable: {error}"
            else:
                yield (row, "") if isinstance(row, dict) else (None, f"a {type(row).__name__}, not an object")


def _csv_rows(path: Path) -> Iterator[tuple[dict[str, Any] | None, str]]:
    csv.field_size_limit(2**31 - 1)
    with _text(path) as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                yield None, f"{len(cells)} cells under {len(header)} columns"
            else:
                yield dict(zip(header, cells, strict=True)), ""


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    opener = gzip.open if path.suffix == ".gz" else open
    with (
        opener(path, "rb") as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        try:
            yield text
        except (gzip.BadGzipFile, EOFError) as error:
            raise TableError(f"{path}: not a readable gzip file ({error}). Fetch or copy it again.") from None


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).split(". ")[0]
        raise TableError(f"{path}: not a readable parquet file ({reason}). Fetch or copy it again.") from None
