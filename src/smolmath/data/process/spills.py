"""A piece examined: its problems and rejections in files of their own, and what the merge needs of it.

A worker writes them and only the keys go to the parent. They are whole or not there, so that a run that was killed
goes on from the pieces that it had finished; the folder belongs to the inputs (a stage's state does) and lies where
all workers see it. Rows are counted from the piece's beginning: in a jsonl file nobody knows yet how many stand before
it.
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smolmath.data.examine import DETAIL_CHARS, Examined, Examiner, Rejection, Work, storable
from smolmath.data.process.pieces import Piece
from smolmath.records import REJECTED

# What duplicates are found by, 64 bytes a row with near duplicates and 16 without. `group` is a hash of what two rows
# must share to be duplicates of any kind: the numbers of their questions, or without near duplicates the id.
_EXACT = [("id", np.uint64), ("row", np.uint32), ("group", np.uint32)]
_NEAR = [("bands", np.uint64, (4,)), ("minima", np.uint8, (16,))]
Keys = npt.NDArray[Any]  # (N,) of such records


@dataclass(frozen=True)
class Outcome:
    """What became of a piece; its rows are those of `keys` (the problems), the rejected and the not selected ones."""

    rows: int
    not_selected: int
    mended: int
    keys: Keys  # in the rows' order


def _outcome(counts: npt.NDArray[np.int64], keys: Keys) -> Outcome:
    rows, not_selected, mended = counts.tolist()
    return Outcome(rows, not_selected, mended, keys)


@dataclass(frozen=True)
class Spills:
    """The files of examined pieces."""

    folder: Path
    schema: pa.Schema  # of the problems

    def problems(self, piece: int) -> Iterator[pa.RecordBatch]:
        return _read(self._path(piece, "problems"))

    def rejected(self, piece: int) -> Iterator[pa.RecordBatch]:
        return _read(self._path(piece, "rejected"))

    def outcome(self, piece: int) -> Outcome | None:
        """What became of a piece that is finished, else None."""
        try:
            with np.load(self._path(piece, "keys.npz")) as arrays:
                return _outcome(arrays["counts"], arrays["keys"])
        except FileNotFoundError:
            return None

    def write(self, piece: int, examined: Iterator[Examined], *, file: str, near: bool) -> Outcome:
        """Args: examined: the piece's batches, in order. file: its name. near: whether its keys hold signatures."""
        counts, keys = np.zeros(3, np.int64), [np.empty(0, key_type(near=near))]
        with ExitStack() as files:
            problems = files.enter_context(_written(self._path(piece, "problems"), self.schema))
            rejections = files.enter_context(_written(self._path(piece, "rejected"), REJECTED))
            for batch in examined:
                problems.write_batch(batch.problems)
                rejections.write_batch(rejection_batch(file, sorted(batch.rejected)))
                keys.append(_keys(batch))
                counts += [batch.rows, batch.not_selected, batch.mended]
        outcome = _outcome(counts, np.concatenate(keys))
        # Last: where the keys are, the rest is.
        with whole_file(self._path(piece, "keys.npz")) as part, part.open("wb") as keys_file:
            np.savez(keys_file, counts=counts, keys=outcome.keys)
        return outcome

    def _path(self, piece: int, what: str) -> Path:
        return self.folder / f"{piece:06d}.{what}"


@dataclass(frozen=True)
class Examination:
    """Examines pieces, each once: what it sends back of a finished one is what stands on disk."""

    raw: Path
    spills: Spills
    examiner: Examiner

    def __call__(self, piece: Piece) -> Outcome:
        if (outcome := self.spills.outcome(piece.number)) is not None:
            return outcome
        works = (Work(piece.file, piece.side, batch) for batch in piece.batches(self.raw))
        near = self.examiner.params.near_duplicates is not None
        return self.spills.write(piece.number, map(self.examiner, works), file=piece.file, near=near)


def rejection_batch(file: str, rejected: Sequence[Rejection]) -> pa.RecordBatch:
    columns = {
        "raw_file": [file] * len(rejected),
        "raw_row": [number for number, _, _ in rejected],
        "reason": [reason for _, reason, _ in rejected],
        "detail": [storable(detail[:DETAIL_CHARS]) for _, _, detail in rejected],
    }
    return pa.RecordBatch.from_pydict(columns, schema=REJECTED)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write a file that is renamed to `path` when it is whole.

    The name is this writer's own: a worker that a cluster has given up may still write when its work is done again.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    except pa.ArrowInvalid as error:
        # A table that could not be written cannot be closed either: the first error says why (a full disk).
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    finally:
        part.unlink(missing_ok=True)


def key_type(*, near: bool) -> np.dtype[Any]:
    return np.dtype(_EXACT + _NEAR if near else _EXACT)


def _keys(examined: Examined) -> Keys:
    keys = np.empty(len(examined.ids), key_type(near=examined.near is not None))
    keys["id"] = examined.ids
    keys["row"] = examined.problems["raw_row"].to_numpy()
    keys["group"] = examined.ids >> np.uint64(32)
    if examined.near is not None:
        keys["group"] = examined.near.numbers
        keys["bands"], keys["minima"] = examined.near.keys, examined.near.minima
    return keys


@contextmanager
def _written(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchStreamWriter]:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with whole_file(path) as part, pa.ipc.new_stream(str(part), schema, options=options) as writer:
        yield writer


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
        yield from reader
