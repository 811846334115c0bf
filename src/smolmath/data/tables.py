"""Rows of raw data files: parquet, jsonl (also .json lines) and csv, plain or gzipped.

A row that cannot be read is given back as such, to be rejected with its reason; a file that is not what its name says
is an error, since half a file read in silence would be a silent loss. Files are read in batches of bounded size that
are decoded where they are used: reading is one process's work, decoding can be many's.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, AnyStr, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smolmath.errors import SmolmathError

KINDS = (".parquet", ".jsonl", ".json", ".csv")
MAX_CELL_LINES = 200  # of a csv row; one of more is looked at
BATCH_ROWS, BATCH_BYTES = 2_000, 4_000_000  # of a batch, whichever comes first
MAX_LINE = 1 << 26  # bytes or characters; a gzip file of a few kB may hold one line that fills the memory

Row = tuple[int, dict[str, Any] | None, str]  # row number from 0, row, ""; or number, None, why it can't be read
# From one row to before another; None: to the end. Of a jsonl file (`can_seek`) bytes: the lines that begin there.
Span = tuple[int, int | None]
WHOLE: Span = (0, None)


class TableError(SmolmathError):
    """A data file that is no table, or not the table that was asked for."""


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of one file, as they lie there."""

    first: int  # number of the first row, in what was read of the file
    count: int
    columns: tuple[str, ...] | None  # those to keep, null where a row lacks one; None: all
    payload: bytes | list[bytes] | list[list[str]]  # Arrow stream, lines of JSON, or cells with their header first

    def rows(self) -> Iterator[Row]:
        """Every row, decoded."""
        for number, (row, problem) in enumerate(self._decoded(), self.first):
            if row is not None and self.columns is not None:
                row = {name: row.get(name) for name in self.columns}
            yield number, row, problem

    def _decoded(self) -> Iterator[tuple[dict[str, Any] | None, str]]:
        if isinstance(self.payload, bytes):
            table = pa.ipc.open_stream(self.payload).read_all()
            try:
                rows = _arrow_rows(table)
            except (UnicodeDecodeError, OverflowError, ValueError):  # of one value: row by row, to find whose
                yield from (_arrow_row(table.slice(number, 1)) for number in range(len(table)))
            else:
                yield from ((row, "") for row in rows)
            return
        header: list[str] | None = None
        for line in self.payload:
            if isinstance(line, bytes):
                yield _json_row(line)
            elif header is None:
                header = line
            else:
                yield _csv_row(header, line)


def kind_of(path: Path) -> str:
    """`.parquet`, `.jsonl` or `.csv`, by name without `.gz`. Raises: TableError."""
    suffixes = [s for s in path.suffixes if s in KINDS]
    if not suffixes or path.suffix not in (*KINDS, ".gz"):
        raise TableError(
            f"{path}: not a data file that smolmath reads. It takes .parquet, .jsonl and .csv, also with .gz."
        )
    return ".jsonl" if suffixes[-1] == ".json" else suffixes[-1]


def column_types(path: Path) -> dict[str, str]:
    """Type of each column; of jsonl, what the rows of its first batch hold.

    Raises: TableError if the file is unreadable or empty, or none of those rows is an object.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        schema = _parquet(path).schema_arrow
        _refuse_repeated(path, schema.names)
        return {field.name: str(field.type) for field in schema}
    batch = next(read_batches(path, None), None)
    if batch is None:
        raise TableError(f"{path}: the file is empty.")
    if kind == ".csv":
        header: list[str] = batch.payload[0]  # type: ignore[assignment]  # cells, as of any csv file
        _refuse_repeated(path, header)
        return dict.fromkeys(header, "text")
    rows = list(batch.rows())
    types: dict[str, str] = {}
    for _, row, _ in rows:
        for name, value in (row or {}).items():
            if types.get(name, "null") == "null":
                types[name] = _JSON_TYPES[type(value)]
    if not types:
        raise TableError(f"{path}:1: {rows[0][2] or 'an empty object'}. Each line must hold one JSON object.")
    return types


def _refuse_repeated(path: Path, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise TableError(f"{path}: several columns are called {', '.join(repeated)}. Give each a name of its own.")


def column_names(path: Path) -> list[str]:
    """The columns of a file, as `column_types`."""
    return list(column_types(path))


def count_rows(path: Path) -> int:
    """Rows in the file, unreadable ones counted, without decoding them."""
    if kind_of(path) == ".parquet":
        return int(_parquet(path).metadata.num_rows)
    return sum(batch.count for batch in read_batches(path, None))


def read_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """Every row of the file; see `read_batches`."""
    for batch in read_batches(path, columns):
        yield from batch.rows()


def read_batches(path: Path, columns: Sequence[str] | None, span: Span = WHOLE) -> Iterator[Batch]:
    """The rows of a file, or of a span of it, in batches that depend on the file and the span alone.

    Args: columns: those to read; None: all. span: its rows are counted from 0.
    Raises: TableError if the file is not what its name says, or ends too early.
    """
    kind, kept = kind_of(path), None if columns is None else tuple(columns)
    if kind == ".parquet":
        yield from _parquet_batches(path, kept, span)
    elif can_seek(path):
        yield from _json_batches(path, kept, span)
    else:
        batches = _csv_batches(path, kept) if kind == ".csv" else _json_batches(path, kept, WHOLE)
        yield from batches if span == WHOLE else _within(batches, span)


def can_seek(path: Path) -> bool:
    """Whether a row can be found from any byte on: in a csv file it might lie within quotes."""
    return kind_of(path) == ".jsonl" and path.suffix != ".gz"


def row_groups(path: Path, columns: Sequence[str] | None) -> list[tuple[int, int]]:
    """(rows, uncompressed bytes of the columns) of each row group of a parquet file."""
    metadata = _parquet(path).metadata
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    return [(int(group.num_rows), _bytes_of(group, columns)) for group in groups]


def _within(batches: Iterator[Batch], span: Span) -> Iterator[Batch]:
    """The rows of a span, of batches of lines: what stands before is read and passed over."""
    start, stop = span
    for batch in batches:
        if stop is not None and batch.first >= stop:
            return
        begins = max(0, start - batch.first)
        ends = batch.count if stop is None else min(batch.count, stop - batch.first)
        if begins < ends:
            header, lines = (
                (batch.payload[:1], batch.payload[1:]) if len(batch.payload) > batch.count else ([], batch.payload)
            )
            payload: Any = [*header, *lines[begins:ends]]
            yield replace(batch, first=batch.first + begins - start, count=ends - begins, payload=payload)


def _parquet_batches(path: Path, columns: tuple[str, ...] | None, span: Span) -> Iterator[Batch]:
    first = 0
    try:
        for read in _arrow_batches(_parquet(path), columns, span):
            for batch in _bounded(read):
                stream = io.BytesIO()
                with pa.ipc.new_stream(stream, batch.schema) as writer:
                    writer.write_batch(batch)
                yield Batch(first, batch.num_rows, columns, stream.getvalue())
                first += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken_parquet(path, error) from None


def _arrow_batches(file: pq.ParquetFile, columns: Sequence[str] | None, span: Span) -> Iterator[pa.RecordBatch]:
    """The rows of a span; those of its first row group that stand before it are decoded and passed over."""
    start, stop = span[0], file.metadata.num_rows if span[1] is None else span[1]
    begins = 0  # row of the file that a group or batch begins with
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        if begins + group.num_rows <= start or begins >= stop:
            begins += group.num_rows
            continue
        at_once = min(BATCH_ROWS, max(1, BATCH_BYTES * group.num_rows // max(1, _bytes_of(group, columns))))
        for batch in file.iter_batches(at_once, row_groups=[number], columns=columns and list(columns)):
            before, ends = max(0, start - begins), min(batch.num_rows, stop - begins)
            begins += batch.num_rows
            if before < ends:
                yield batch.slice(before, ends - before)
            if begins >= stop:
                return


def _bytes_of(group: pq.RowGroupMetaData, columns: Sequence[str] | None) -> int:
    """Bytes of a row group's columns, before they were compressed."""
    chunks = [group.column(c) for c in range(group.num_columns)]
    wanted = [c for c in chunks if columns is None or c.path_in_schema.split(".")[0] in columns]
    return sum(int(chunk.total_uncompressed_size) for chunk in wanted)


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch, halved where its rows are heavier than the mean of their row group, or were stored once for many."""
    if batch.num_rows < 2 or batch.nbytes <= 2 * BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _bounded(batch.slice(0, half))
    yield from _bounded(batch.slice(half))


def _json_batches(path: Path, columns: tuple[str, ...] | None, span: Span) -> Iterator[Batch]:
    first, size, lines = 0, 0, []
    with _binary(path) as file:
        for line in _lines(path, file, span):
            if not (line := line.removeprefix(b"\xef\xbb\xbf").strip()):
                continue
            lines.append(line)
            size += len(line)
            if len(lines) == BATCH_ROWS or size >= BATCH_BYTES:
                yield Batch(first, len(lines), columns, lines)
                first, size, lines = first + len(lines), 0, []
    if lines:
        yield Batch(first, len(lines), columns, lines)


def _lines(path: Path, file: BinaryIO, span: Span) -> Iterator[bytes]:
    """The lines that begin within a span of bytes. Raises: TableError at one that is too long."""
    start, stop = span
    at = 0
    if start:
        file.seek(start - 1)
        at = start - 1 + len(_line(path, file))  # of the line before, or its end alone
    while (stop is None or at < stop) and (line := _line(path, file)):
        yield line
        at += len(line)


def _line(path: Path, file: IO[AnyStr]) -> AnyStr:
    line = file.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise TableError(f"{path}: a line of more than {MAX_LINE:,} characters. Remove or break it.")
    return line


def _arrow_rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    for field in table.schema:
        if field.type in (pa.float16(), pa.float32()):  # 3.14, not 3.140000104904175
            shortest = np.float16 if field.type == pa.float16() else np.float32
            for row in rows:
                row[field.name] = None if row[field.name] is None else float(str(shortest(row[field.name])))
    return rows


def _arrow_row(row: pa.Table) -> tuple[dict[str, Any] | None, str]:
    try:
        return _arrow_rows(row)[0], ""
    except UnicodeDecodeError:
        return None, "invalid UTF-8"
    except (OverflowError, ValueError) as error:
        return None, f"not readable: {error}"


def _json_row(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        row = json.loads(line.decode(), parse_constant=lambda _: None)  # NaN and Infinity are no values
    except UnicodeDecodeError:
        return None, "invalid UTF-8"
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        return None, "not JSON: nested too deeply"
    except ValueError as error:  # a number of more digits than Python reads
        return None, f"not readable: {error}"
    return (row, "") if isinstance(row, dict) else (None, f"a {type(row).__name__}, not an object")


_JSON_TYPES = {str: "text", int: "number", float: "number", bool: "true or false", type(None): "null"} | {
    list: "list",
    dict: "object",
}


def _csv_batches(path: Path, columns: tuple[str, ...] | None) -> Iterator[Batch]:
    csv.field_size_limit(MAX_LINE)
    with _binary(path) as file, io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        # strict: a quote that is never closed would swallow the rest of the file as one cell
        reader = csv.reader(iter(partial(_line, path, text), ""), strict=True)
        try:
            header = next(filter(None, reader), [])
        except csv.Error as error:
            raise TableError(f"{path}:1: the header is not csv ({error}). Mend its quotes.") from None
        first, size, lines = 0, 0, [header]
        while True:
            begins = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                if "unexpected end" in str(error) or reader.line_num > begins:
                    raise TableError(
                        f"{path}:{begins}: a quoted cell begins in this row and is not closed in it: the lines to "
                        f"{reader.line_num} would be lost in it. Close the quote."
                    ) from None
                cells = [f"\udc00{error}"]  # no text of a file: `_csv_row` gives it as the reason
            if cells is None:
                break
            if reader.line_num - begins >= MAX_CELL_LINES and _swallowed(header, cells):
                raise TableError(
                    f"{path}:{begins}: a row of {reader.line_num - begins + 1} lines that look like rows themselves, "
                    "as a quote makes that is not closed in its row. Close the quote."
                )
            if cells:
                lines.append(cells)
                size += sum(map(len, cells))
            if len(lines) > BATCH_ROWS or size >= BATCH_BYTES:
                yield Batch(first, len(lines) - 1, columns, lines)
                first, size, lines = first + len(lines) - 1, 0, [header]
    if header:
        yield Batch(first, len(lines) - 1, columns, lines)


def _swallowed(header: list[str], cells: list[str]) -> bool:
    """Whether a row of many lines is several in one: ragged, or most of its longest cell's lines make rows."""
    if len(cells) != len(header):
        return True
    lines = max(cells, key=len).splitlines()
    return len(header) > 1 and 2 * sum(line.count(",") == len(header) - 1 for line in lines) > len(lines)


def _csv_row(header: list[str], cells: list[str]) -> tuple[dict[str, Any] | None, str]:
    if cells[0].startswith("\udc00"):
        return None, f"not csv: {cells[0][1:]}"
    try:
        "".join(cells).encode()  # a byte that is no UTF-8 was read as a lone surrogate
    except UnicodeEncodeError:
        return None, "invalid UTF-8"
    if len(cells) != len(header):
        return None, f"{len(cells)} cells under {len(header)} columns"
    return dict(zip(header, cells, strict=True)), ""


@contextmanager
def _binary(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            yield file  # type: ignore[misc]  # a GzipFile is one in all that is used
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise TableError(f"{path}: not a readable gzip file ({error}). Fetch or copy it again.") from None


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        # Else all that was read is held until the file is closed, and of a row group whole columns at once.
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise _broken_parquet(path, error) from None


def _broken_parquet(path: Path, error: Exception) -> TableError:
    reason = str(error).split(". ")[0]
    return TableError(f"{path}: not a readable parquet file ({reason}). Fetch or copy it again.")
