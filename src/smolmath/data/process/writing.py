"""Shards and rejected.parquet, written by workers from the spilled pieces.

Each file is a function of the pieces and of which of their rows are duplicates.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smolmath.data.examine import Rejection
from smolmath.data.process.merging import Dropped
from smolmath.data.process.pieces import Piece
from smolmath.data.process.spills import Spills, rejection_batch, whole_file
from smolmath.records import REJECTED, TableWriter

Places = npt.NDArray[np.int64]  # of rows, counted through the files in their order


@dataclass(frozen=True)
class Part:
    """The kept rows `first` to before `last` of a piece, counted without those that are not kept."""

    piece: int
    shift: int  # from a row of the piece to one of its file
    dropped: npt.NDArray[np.uint32]  # rows of the piece
    first: int
    last: int

    def read(self, spills: Spills) -> Iterator[pa.RecordBatch]:
        seen = 0
        for batch in spills.problems(self.piece):
            kept = batch.filter(pa.array(~np.isin(batch["raw_row"].to_numpy(), self.dropped)))
            first, last = max(0, self.first - seen), min(kept.num_rows, self.last - seen)
            seen += kept.num_rows
            if first < last:
                yield _shifted(kept.slice(first, last - first), self.shift)


@dataclass(frozen=True)
class Shard:
    """A file of problems."""

    number: int
    parts: tuple[Part, ...]

    def write(self, out: Path, spills: Spills) -> tuple[dict[str, Any], Counter[str]]:
        """(what the manifest says of the file, {"with_reasoning": of its problems})."""
        counts: Counter[str] = Counter()
        with whole_file(out / f"shard-{self.number:05d}.parquet") as path:
            with TableWriter(path, spills.schema) as writer:
                for part in self.parts:
                    for batch in part.read(spills):
                        writer.add(batch)
                        counts["with_reasoning"] += batch.num_rows - batch["reasoning"].null_count
            entry = writer.entry()
        return entry | {"file": f"shard-{self.number:05d}.parquet"}, counts


@dataclass(frozen=True)
class Rejections:
    """The file of rejected rows: what stood no test of its own, and the duplicates."""

    pieces: Sequence[Piece]
    starts: Places  # (pieces + 1,)
    files: Sequence[tuple[str, int]]  # each with the place of its first row
    dropped: Dropped  # in the rows' order

    def write(self, out: Path, spills: Spills) -> tuple[dict[str, Any], Counter[str]]:
        """(what the manifest says of the file, its rows by reason)."""
        counts: Counter[str] = Counter()
        with whole_file(out / "rejected.parquet") as path:
            with TableWriter(path, REJECTED) as writer:
                borders, firsts = np.searchsorted(self.dropped["row"], self.starts), dict(self.files)
                for index, piece in enumerate(self.pieces):
                    first = int(self.starts[index]) - firsts[piece.file]
                    rejected = [
                        (first + row["raw_row"], row["reason"], row["detail"])
                        for batch in spills.rejected(piece.number)
                        for row in batch.to_pylist()
                    ]
                    rejected += map(self._rejection, self.dropped[borders[index] : borders[index + 1]])
                    counts.update(reason for _, reason, _ in rejected)
                    writer.add(rejection_batch(piece.file, sorted(rejected)))
            entry = writer.entry()
        return entry | {"file": "rejected.parquet"}, counts

    def _rejection(self, duplicate: Any) -> Rejection:
        _, row = self._place(duplicate["row"])
        return (
            row,
            "near_duplicate" if duplicate["near"] else "duplicate",
            "of {} row {}".format(*self._place(duplicate["of"])),
        )

    def _place(self, place: np.uint32) -> tuple[str, int]:
        """File and row in it."""
        name, first = self.files[int(np.searchsorted(self._firsts, place, side="right")) - 1]
        return name, int(place) - first

    @cached_property
    def _firsts(self) -> Places:
        return np.array([first for _, first in self.files])


@dataclass(frozen=True)
class Plan:
    """Which rows go into which file.

    Args: rows, problems: (pieces,) of each piece; problems are what stood the tests of a row alone.
    """

    pieces: Sequence[Piece]
    rows: Places
    problems: Places
    dropped: Dropped  # in the rows' order

    @property
    def kept(self) -> int:
        return int(self.problems.sum()) - len(self.dropped)

    def files(self, shard_rows: int) -> Iterator[Shard | Rejections]:
        """The rejections first, which may take longest, and the shards in their order."""
        starts = np.concatenate([[0], np.cumsum(self.rows)])
        firsts: dict[str, int] = {}
        for piece, start in zip(self.pieces, starts.tolist(), strict=False):
            firsts.setdefault(piece.file, start)
        yield Rejections(self.pieces, starts, list(firsts.items()), self.dropped)
        borders = np.searchsorted(self.dropped["row"], starts)
        kept = np.concatenate([[0], np.cumsum(self.problems - np.diff(borders))])
        for number, begins in enumerate(range(0, self.kept, shard_rows)):
            ends = min(begins + shard_rows, self.kept)
            parts = []
            for index in range(int(np.searchsorted(kept, begins, side="right")) - 1, int(np.searchsorted(kept, ends))):
                parts.append(
                    Part(
                        self.pieces[index].number,
                        int(starts[index]) - firsts[self.pieces[index].file],
                        (self.dropped["row"][borders[index] : borders[index + 1]] - starts[index]).astype(np.uint32),
                        max(0, begins - int(kept[index])),
                        min(ends, int(kept[index + 1])) - int(kept[index]),
                    )
                )
            yield Shard(number, tuple(parts))


def write(out: Path, spills: Spills, file: Shard | Rejections) -> tuple[dict[str, Any], Counter[str]]:
    """A worker's share: what the manifest says of the file, and its counts."""
    return file.write(out, spills)


def _shifted(batch: pa.RecordBatch, by: int) -> pa.RecordBatch:
    """With rows counted from their file's beginning."""
    column = batch.schema.get_field_index("raw_row")
    rows = pa.array(batch["raw_row"].to_numpy() + by)
    return pa.RecordBatch.from_arrays(
        [rows if index == column else batch.column(index) for index in range(batch.num_columns)], schema=batch.schema
    )
