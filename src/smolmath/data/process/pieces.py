"""Raw files cut into pieces, each read by the worker that examines it.

Pieces depend on the files and the columns that are read, never on how many workers there are. A parquet file is cut
at its row groups, a jsonl file at any byte (a line belongs to the piece that it begins in). Of csv, of gzipped files
and of a row group that is larger than a piece, the rows before a piece are read and passed over, which costs a
fraction of examining them; so that it stays one, such a file or group makes `MAX_PASSED_OVER` pieces at most.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmath.data import tables
from smolmath.data.tables import Batch, Span

PIECE_ROWS, PIECE_BYTES = 2_000, 32_000_000  # whichever is reached first; bytes before compression
MAX_PASSED_OVER = 8


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one raw file."""

    number: int  # in the order of the rows
    file: str
    side: str | None  # the source's own
    span: Span
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}, piece {self.number}"

    def batches(self, raw: Path) -> Iterator[Batch]:
        """Its rows, counted from 0. Raises: TableError."""
        return tables.read_batches(raw / self.file, self.columns, self.span)


def cut(raw: Path, files: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, ...]]) -> list[Piece]:
    """The pieces of all files, in order; together they hold every row once.

    Args: files: of the raw manifest: path, side and rows of each. columns: those to read, by path.
    """
    pieces: list[Piece] = []
    for file in files:
        for span in _spans(raw / file["path"], file["rows"], columns[file["path"]]):
            pieces.append(Piece(len(pieces), file["path"], file["side"], span, columns[file["path"]]))
    return pieces


def _spans(path: Path, rows: int, columns: tuple[str, ...]) -> list[Span]:
    if tables.kind_of(path) == ".parquet":
        borders = _parquet_borders(tables.row_groups(path, columns))
    else:
        size = path.stat().st_size
        if tables.can_seek(path):
            borders = _even(size, _pieces(rows, size))
        else:
            borders = _even(rows, min(MAX_PASSED_OVER, _pieces(rows, size)))
    # The last one has no end: a file that is broken behind its last row is still read to there.
    return list(zip(borders[:-1], [*borders[1:-1], None], strict=True))


def _parquet_borders(groups: list[tuple[int, int]]) -> list[int]:
    borders, first, size = [0], 0, 0  # size: bytes since the last border
    for rows, group_bytes in groups:
        if first > borders[-1] and (first + rows - borders[-1] > PIECE_ROWS or size + group_bytes > PIECE_BYTES):
            borders.append(first)
            size = 0
        parts = min(MAX_PASSED_OVER, _pieces(rows, group_bytes))
        borders += [first + at for at in _even(rows, parts)[1:-1]]
        first += rows
        size = size + group_bytes if parts == 1 else group_bytes // parts
    return [*borders, first]


def _pieces(rows: int, size: int) -> int:
    return max(1, math.ceil(rows / PIECE_ROWS), math.ceil(size / PIECE_BYTES))


def _even(total: int, parts: int) -> list[int]:
    """`parts` + 1 borders from 0 to `total`."""
    return [total * part // parts for part in range(parts + 1)]
